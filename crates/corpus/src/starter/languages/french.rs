//! French.

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "fr", share: 3, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}Quelle est la capitale {dupays} ?{tail}",
        "{lead}Qui a inventé {invention}, et vers quelle année ?{tail}",
        "{lead}Quelle est la monnaie {dupays}, et quelles langues y parle-t-on ?{tail}",
        "{lead}Quelle distance y a-t-il entre {city} et {city} ?{tail}",
    ],
    translation: &[
        "Traduis en {langue} : « {contexte} »{tail}",
        "{lead}Comment dit-on « {phrase} » en {langue} ?{tail}",
        "Merci de traduire cette lettre à {firm} en {langue} : {contexte*2..4}{tail}",
    ],
    summarising: &[
        "Résume ce texte : {contexte*4..9}{tail}",
        "{salut} Peux-tu résumer ceci pour {gens} ? {contexte*5..12}{tail}",
        "{contexte*3..7}\n\nUn résumé, s'il te plaît.{tail}",
    ],
    rewriting: &[
        "Reformule sur un ton {ton} : « {contexte*1..3} »{tail}",
        "{salut} Raccourcis cette phrase : « {contexte} {contexte} »{tail}",
        "Réécris ceci pour {gens} : « {contexte*1..4} »{tail}",
    ],
    email: &[
        "{lead}Écris un courriel à {person} chez {firm} {but}.{tail}",
        "{lead}Réponds sur un ton {ton} à ce message de {surname} : « {contexte*1..3} »{tail}",
        "{lead}Il me faut un objet et deux lignes {but}.{tail}",
    ],
    faq: &[
        "{lead}Comment puis-je {demarche} ?{tail}",
        "{lead}Ma commande {code} n'est pas arrivée à {city}. Où est-elle ?{tail}",
        "{lead}Puis-je renvoyer le {gadget} après {10..60} jours ?{tail}",
    ],
    chit_chat: &[
        "{salut} Comment s'est passé ton {jour} ? {humeur}",
        "{humeur} Et toi, {person} ?",
        "{salut} Raconte-moi une blague sur {sujet}. {humeur}",
        "{person} et moi parlons {dusoir} depuis {jour}. {humeur}",
    ],
    cooking: &[
        "{lead}Que puis-je cuisiner avec {aliment}, {aliment} et {aliment} ?{tail}",
        "{lead}Je cherche une recette avec {aliment} pour {2..12} personnes.{tail}",
        "{lead}Combien de temps faut-il cuire {aliment}, et est-ce que cela va avec {aliment} ?{tail}",
    ],
    planning: &[
        "{lead}Prépare un voyage de {2..14} jours à {city}{souhait}.{tail}",
        "{lead}Fais un plan pour {fete} avec {5..80} invités{souhait}{souhait}.{tail}",
        "{lead}Je veux tout apprendre sur {sujet} en {3..20} semaines{souhait}. Comment m'y prendre ?{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} a {12..95} {choses@t}. {etape*1..3} Combien de {choses@t} reste-t-il à {person@p} ?{tail}",
        "{lead}{person@p} achète {12..95} {choses@t} à {money} euros pièce. {etape*2..5} Combien en reste-t-il ?{tail}",
    ],
    code_script: &[
        "{lead}Écris une fonction en {script} qui {tache}.{tail}",
        "{lead}Comment faire un programme en {script} qui {tache} et qui {tache} ?{tail}",
    ],
    history_comparison: &[
        "{lead}Compare {epoque} et {epoque} : causes, déroulement, conséquences.{tail}",
        "{lead}Quel rôle {sujet} a-t-il joué avant {epoque}, et qu'est-ce qui a changé depuis {year} ?{tail}",
    ],
    contract: &[
        "{lead}Le contrat dit : « {clause*1..3} » {firm} peut-il résilier avant terme ?{tail}",
        "{lead}Qui est responsable selon ce contrat ? « {clause*2..4} »{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}, {person} et {person} habitent côte à côte. {indice*2..6} Qui habite au milieu ?{tail}",
        "{lead}Résous cette énigme. {indice*3..7} Quelle affirmation est forcément vraie ?{tail}",
    ],
});

const RULES: &[Rule] = &[
    (
        "tail",
        &[
            "",
            "",
            "",
            " {bref}",
            " {etapes}",
            " {rigueur}",
            " {format}",
            " {limite}",
            " {limite} {format}",
            " Merci !",
        ],
    ),
    (
        "bref",
        &[
            "Juste la réponse, s'il te plaît.",
            "Très court, s'il te plaît.",
            "Juste la réponse, sans explication.",
        ],
    ),
    (
        "etapes",
        &["Explique chaque étape.", "Montre le raisonnement étape par étape.", "Détaille étape par étape."],
    ),
    (
        "rigueur",
        &[
            "Justifie rigoureusement chaque affirmation et tous les cas limites.",
            "Sois rigoureux : justifie tous les cas limites.",
        ],
    ),
    (
        "format",
        &[
            "Donne le résultat sous forme d'objet JSON.",
            "Donne le résultat sous forme de tableau.",
            "Réponds uniquement en JSON valide.",
        ],
    ),
    (
        "limite",
        &[
            "Utilise exactement {3..7} puces.",
            "Utilise exactement {40..120} mots.",
            "Écris exactement {2..6} phrases.",
        ],
    ),
    (
        "lead",
        &[
            "",
            "",
            "",
            "{salut} ",
            "{salut} {raison} ",
            "{raison} ",
            "Voici le contexte : {contexte*2..6}\n\n",
        ],
    ),
    (
        "salut",
        &["Bonjour !", "Salut,", "Petite question :", "Bonsoir,", "Excuse-moi de te déranger.", "Coucou !"],
    ),
    (
        "raison",
        &[
            "{person}, de {city}, veut le savoir.",
            "On en a parlé {jour}.",
            "J'en ai besoin pour {fete}.",
            "Personne ne le savait chez {firm}.",
            "Je tourne en rond depuis {jour}.",
        ],
    ),
    (
        "contexte",
        &[
            "Notre équipe chez {firm} s'est installée à {city} au printemps.",
            "{person} a appelé {jour} pour parler de la réunion.",
            "Le budget est de {money} euros, mais personne n'a signé.",
            "Il pleut depuis {jour}, alors {fete} est annulé pour l'instant, nous dit-on.",
            "Le groupe compte {3..40} personnes, surtout de {city}.",
            "Le rapport mentionne deux fois {sujet}.",
            "{person} et {person} en ont déjà discuté à midi.",
            "Nous avons renvoyé le {gadget} au bout d'une semaine.",
        ],
    ),
    (
        "system",
        &[
            "Tu es l'assistant des clients de {firm}.",
            "Tu aides {gens} sur {sujet}. Garde un ton {ton}.",
            "Nous sommes {jour}. Reste {ton}.",
        ],
    ),
    (
        "opening",
        &[
            "Peux-tu me parler un peu ? Par exemple de {city}.",
            "Bonjour, tu es là ?",
            "Que sais-tu sur {sujet} ?",
        ],
    ),
    (
        "reply",
        &[
            "Bien sûr. Que veux-tu savoir ?",
            "Oui, je suis là. Comment puis-je aider ?",
            "Avec plaisir, {person}. Quelle est la question ?",
        ],
    ),
    ("jour", &["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"]),
    (
        "dupays",
        &[
            "du Portugal",
            "du Kenya",
            "du Japon",
            "du Canada",
            "de la Finlande",
            "de l'Égypte",
            "du Pérou",
            "de la Norvège",
            "de l'Inde",
            "du Chili",
            "de l'Islande",
        ],
    ),
    (
        "invention",
        &[
            "le téléphone",
            "la fermeture éclair",
            "le microscope",
            "l'ampoule",
            "l'imprimerie",
            "la bicyclette",
            "le baromètre",
        ],
    ),
    ("langue", &["anglais", "allemand", "espagnol", "italien", "polonais", "suédois"]),
    (
        "phrase",
        &[
            "Où est la gare ?",
            "Je suis allergique aux noix.",
            "Deux billets pour {jour}, s'il vous plaît.",
            "La lumière de ma chambre ne marche pas.",
        ],
    ),
    (
        "gens",
        &[
            "des débutants",
            "des enfants",
            "de nouveaux collègues",
            "des retraités",
            "des étudiants",
            "des parents",
        ],
    ),
    ("ton", &["amical", "formel", "chaleureux", "neutre", "poli", "léger", "ferme"]),
    (
        "but",
        &[
            "pour déplacer le rendez-vous à {jour}",
            "pour remercier des fleurs",
            "pour refuser l'offre de {money} euros",
            "pour inviter à {city}",
            "pour se plaindre du {gadget}",
        ],
    ),
    (
        "demarche",
        &[
            "réinitialiser mon mot de passe",
            "changer mon adresse de livraison",
            "résilier mon abonnement",
            "télécharger ma facture",
            "échanger le {gadget}",
            "supprimer mon compte",
        ],
    ),
    (
        "humeur",
        &[
            "Je m'ennuie à {city}.",
            "J'ai hâte d'être {jour} !",
            "La journée chez {firm} a été longue.",
            "Tu aimes {sujet} ?",
            "Je pourrais manger {aliment} tous les jours.",
            "Il pleut encore.",
        ],
    ),
    ("dusoir", &["du film", "de cuisine", "de politique", "de vélo", "de musique", "de vacances"]),
    (
        "sujet",
        &[
            "le jazz",
            "le sommeil",
            "le recyclage",
            "le levain",
            "le commerce",
            "le climat",
            "le train",
            "le système immunitaire",
        ],
    ),
    (
        "aliment",
        &[
            "du riz",
            "des lentilles",
            "des pommes de terre",
            "du tofu",
            "des œufs",
            "des champignons",
            "des pois chiches",
            "des épinards",
            "des pâtes",
        ],
    ),
    (
        "souhait",
        &[
            "",
            "",
            ", pour {money} euros au plus",
            ", sans avion",
            ", tout en train",
            ", avec un {jour} libre",
        ],
    ),
    ("fete", &["le mariage", "l'atelier", "l'examen", "le pique-nique", "le concours", "le tournoi du club"]),
    ("choses", &["pommes", "crayons", "cartes", "chaises", "boîtes", "billes", "timbres", "tasses"]),
    (
        "etape",
        &[
            "Puis {person@p} en donne {2..11} à {person}.",
            "Puis {person} apporte {2..9} boîtes de {4..12} pièces.",
            "Puis la moitié se perd en route.",
            "Puis {3..19} s'ajoutent et {2..8} se cassent.",
        ],
    ),
    ("script", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "tache",
        &[
            "lit un fichier CSV",
            "supprime les doublons",
            "compte les mots d'un texte",
            "renomme les photos par date",
            "fusionne deux listes triées",
            "envoie un rappel chaque {jour}",
        ],
    ),
    (
        "epoque",
        &[
            "la Révolution française",
            "la chute de Rome",
            "la révolution industrielle",
            "le congrès de Vienne",
            "la guerre froide",
            "la Réforme",
            "la Grande Dépression",
        ],
    ),
    (
        "clause",
        &[
            "Chaque partie peut résilier par écrit avec un préavis de {30..90} jours.",
            "La responsabilité est limitée à {money} euros par sinistre.",
            "Les petites réparations jusqu'à {money} euros sont à la charge du locataire.",
            "Le tribunal compétent est celui de {city}.",
            "La garantie est de {6..36} mois.",
        ],
    ),
    (
        "indice",
        &[
            "{person} n'habite pas à côté de {person}.",
            "Qui boit du thé n'a pas de chien.",
            "{person} a quelques années de plus que {person}.",
            "Une seule personne aime manger {aliment}.",
            "La maison rouge est à gauche de la verte.",
            "{person} ment toujours le {jour}.",
        ],
    ),
];
