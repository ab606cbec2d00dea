//! Italian.

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "it", share: 2, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}Qual è la capitale {delpaese}?{tail}",
        "{lead}Chi ha inventato {invenzione}, e più o meno quando?{tail}",
        "{lead}Quale moneta si usa nel paese di {city}, e quali lingue si parlano?{tail}",
        "{lead}Quanto dista {city} da {city}?{tail}",
    ],
    translation: &[
        "Traduci in {lingua}: «{contesto}»{tail}",
        "{lead}Come si dice «{frase}» in {lingua}?{tail}",
        "Per favore traduci questa lettera a {firm} in {lingua}: {contesto*2..4}{tail}",
    ],
    summarising: &[
        "Riassumi questo testo: {contesto*4..9}{tail}",
        "{saluto} Puoi riassumere questo per {gente}? {contesto*5..12}{tail}",
        "{contesto*3..7}\n\nUn riassunto, per favore.{tail}",
    ],
    rewriting: &[
        "Riscrivi questo con un tono {tono}: «{contesto*1..3}»{tail}",
        "{saluto} Accorcia questa frase: «{contesto} {contesto}»{tail}",
        "Riformula questo per {gente}: «{contesto*1..4}»{tail}",
    ],
    email: &[
        "{lead}Scrivi una mail a {person} di {firm} {scopo}.{tail}",
        "{lead}Rispondi con un tono {tono} a questa mail di {surname}: «{contesto*1..3}»{tail}",
        "{lead}Mi servono un oggetto e due righe {scopo}.{tail}",
    ],
    faq: &[
        "{lead}Come posso {richiesta}?{tail}",
        "{lead}Il mio ordine {code} non è arrivato a {city}. Dov'è?{tail}",
        "{lead}Posso restituire il {gadget} dopo {10..60} giorni?{tail}",
    ],
    chit_chat: &[
        "{saluto} Com'è andata {giorno}? {umore}",
        "{umore} E tu, {person}?",
        "{saluto} Raccontami una barzelletta sul tema: {tema}. {umore}",
        "{person} e io parliamo sempre di {tema}. {umore}",
    ],
    cooking: &[
        "{lead}Che cosa posso cucinare con {cibo}, {cibo} e {cibo}?{tail}",
        "{lead}Cerco una ricetta con {cibo} per {2..12} persone.{tail}",
        "{lead}Quanto tempo devono cuocere riso e {cibo}, e si possono congelare con {cibo}?{tail}",
    ],
    planning: &[
        "{lead}Organizza un viaggio di {2..14} giorni a {city}{desiderio}.{tail}",
        "{lead}Fai un piano per {festa} con {5..80} invitati{desiderio}{desiderio}.{tail}",
        "{lead}Voglio imparare tutto su {tema} in {3..20} settimane{desiderio}. Come faccio?{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} ha {12..95} {cose@t}. {passo*1..3} Quante {cose@t} ha adesso {person@p}?{tail}",
        "{lead}{person@p} compra {12..95} {cose@t} a {money} euro l'una. {passo*2..5} Quante ne restano?{tail}",
    ],
    code_script: &[
        "{lead}Scrivi una funzione in {script} che {compito}.{tail}",
        "{lead}Come faccio un programma in {script} che {compito} e che {compito}?{tail}",
    ],
    history_comparison: &[
        "{lead}Confronta {epoca} con {epoca}: cause, corso e conseguenze.{tail}",
        "{lead}Che cosa è cambiato in tema di {tema} tra il {year} e {epoca}?{tail}",
    ],
    contract: &[
        "{lead}Il contratto dice: «{clausola*1..3}» {firm} può recedere prima?{tail}",
        "{lead}Chi risponde secondo questo contratto? «{clausola*2..4}»{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}, {person} e {person} abitano in case vicine. {indizio*2..6} Chi abita in mezzo?{tail}",
        "{lead}Risolvi l'indovinello. {indizio*3..7} Quale affermazione deve essere vera?{tail}",
    ],
});

const RULES: &[Rule] = &[
    (
        "tail",
        &[
            "",
            "",
            "",
            " {breve}",
            " {passi}",
            " {rigore}",
            " {formato}",
            " {limite}",
            " {limite} {formato}",
            " Grazie!",
        ],
    ),
    (
        "breve",
        &[
            "Solo la risposta, per favore.",
            "Molto breve, per favore.",
            "Solo la risposta, senza spiegazioni.",
        ],
    ),
    ("passi", &["Spiega ogni passo.", "Mostra il ragionamento passo per passo.", "Spiega passo per passo."]),
    (
        "rigore",
        &[
            "Giustifica con rigore ogni affermazione e tutti i casi limite.",
            "Con rigore: giustifica tutti i casi limite.",
        ],
    ),
    (
        "formato",
        &[
            "Restituisci il risultato come oggetto JSON.",
            "Metti il risultato in una tabella.",
            "Rispondi solo in JSON valido.",
        ],
    ),
    (
        "limite",
        &[
            "Usa esattamente {3..7} punti.",
            "Usa esattamente {40..120} parole.",
            "Scrivi esattamente {2..6} frasi.",
        ],
    ),
    (
        "lead",
        &[
            "",
            "",
            "",
            "{saluto} ",
            "{saluto} {motivo} ",
            "{motivo} ",
            "Ecco il contesto: {contesto*2..6}\n\n",
        ],
    ),
    ("saluto", &["Ciao!", "Buongiorno,", "Una domanda veloce:", "Buonasera,", "Scusa il disturbo.", "Ehi,"]),
    (
        "motivo",
        &[
            "{person}, di {city}, vuole saperlo.",
            "Ne abbiamo parlato {giorno}.",
            "Mi serve per {festa}.",
            "Da {firm} non lo sapeva nessuno.",
            "Ci giro intorno da {giorno}.",
        ],
    ),
    (
        "contesto",
        &[
            "Il nostro gruppo di {firm} si è spostato a {city} in primavera.",
            "{person} ha chiamato {giorno} per parlare di {tema}.",
            "Il budget è di {money} euro, ma nessuno ha firmato.",
            "Piove da {giorno}, perciò {festa} è rinviata.",
            "Siamo in {3..40}, quasi tutti di {city}.",
            "Il rapporto parla due volte di {tema}.",
            "{person} e {person} ne hanno già parlato a pranzo.",
            "Abbiamo restituito il {gadget} dopo una settimana.",
        ],
    ),
    (
        "system",
        &[
            "Sei l'assistente dei clienti di {firm}.",
            "Aiuti {gente} in tema di {tema}. Usa un tono {tono}.",
            "Oggi è {giorno}. Usa un tono {tono}.",
        ],
    ),
    ("opening", &["Mi racconti qualcosa in tema di {tema}?", "Ciao, ci sei?", "Conosci {city}?"]),
    (
        "reply",
        &[
            "Certo. Che cosa vuoi sapere?",
            "Sì, ci sono. Come posso aiutare?",
            "Volentieri, {person}. Qual è la domanda?",
        ],
    ),
    ("giorno", &["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"]),
    (
        "delpaese",
        &[
            "del Portogallo",
            "del Kenya",
            "del Giappone",
            "del Canada",
            "della Finlandia",
            "dell'Egitto",
            "del Perù",
            "della Norvegia",
            "dell'India",
            "del Cile",
            "dell'Islanda",
        ],
    ),
    (
        "invenzione",
        &[
            "il telefono",
            "la cerniera lampo",
            "il microscopio",
            "la lampadina",
            "la stampa",
            "la bicicletta",
            "il barometro",
        ],
    ),
    ("lingua", &["inglese", "tedesco", "francese", "spagnolo", "polacco", "svedese"]),
    (
        "frase",
        &[
            "Dov'è la stazione?",
            "Sono allergica alle noci.",
            "Due biglietti per {giorno}, per favore.",
            "La luce in camera non funziona.",
        ],
    ),
    ("gente", &["principianti", "bambini", "nuovi colleghi", "pensionati", "studenti", "famiglie"]),
    ("tono", &["amichevole", "formale", "caloroso", "neutro", "cortese", "leggero", "fermo"]),
    (
        "scopo",
        &[
            "per spostare l'incontro a {giorno}",
            "per ringraziare dei fiori",
            "per rifiutare l'offerta di {money} euro",
            "per invitare a {city}",
            "per lamentarmi del {gadget}",
        ],
    ),
    (
        "richiesta",
        &[
            "reimpostare la password",
            "cambiare l'indirizzo di consegna",
            "disdire l'abbonamento",
            "scaricare la fattura",
            "cambiare il {gadget}",
            "cancellare il mio account",
        ],
    ),
    (
        "umore",
        &[
            "Mi annoio a {city}.",
            "Non vedo l'ora che sia {giorno}!",
            "Oggi il lavoro da {firm} è stato lungo.",
            "Ti piace parlare di {tema}?",
            "Potrei mangiare {cibo} ogni giorno.",
            "Piove di nuovo.",
        ],
    ),
    (
        "tema",
        &[
            "energia solare",
            "vulcani",
            "scacchi",
            "api",
            "inflazione",
            "jazz",
            "lievito madre",
            "vaccini",
            "treni",
            "riciclo",
        ],
    ),
    (
        "cibo",
        &["lenticchie", "patate", "tofu", "uova", "funghi", "ceci", "spinaci", "zucca", "cipolle", "piselli"],
    ),
    (
        "desiderio",
        &[
            "",
            "",
            ", per {money} euro al massimo",
            ", senza aereo",
            ", tutto in treno",
            ", con il {giorno} libero",
        ],
    ),
    (
        "festa",
        &["la festa della scuola", "la riunione", "la prova", "la merenda", "la gara", "la finale del club"],
    ),
    ("cose", &["mele", "penne", "carte", "sedie", "scatole", "biglie", "candele", "tazze"]),
    (
        "passo",
        &[
            "Poi {person@p} ne regala {2..11} a {person}.",
            "Poi {person} porta {2..9} scatole da {4..12} pezzi.",
            "Poi la metà si perde per strada.",
            "Poi ne arrivano {3..19} e se ne rompono {2..8}.",
        ],
    ),
    ("script", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "compito",
        &[
            "legge un file CSV",
            "toglie i doppioni",
            "conta le parole di un testo",
            "rinomina le foto per data",
            "unisce due liste ordinate",
            "manda un avviso ogni {giorno}",
        ],
    ),
    (
        "epoca",
        &[
            "la Rivoluzione francese",
            "la caduta di Roma",
            "la rivoluzione industriale",
            "la guerra fredda",
            "la Riforma",
            "la Grande Depressione",
            "il Risorgimento",
        ],
    ),
    (
        "clausola",
        &[
            "Ciascuna parte può recedere per iscritto con {30..90} giorni di preavviso.",
            "La responsabilità è limitata a {money} euro per sinistro.",
            "Le piccole riparazioni fino a {money} euro sono a carico dell'inquilino.",
            "Il foro competente è quello di {city}.",
            "La garanzia dura {6..36} mesi.",
        ],
    ),
    (
        "indizio",
        &[
            "{person} non abita accanto a {person}.",
            "Chi beve tè non ha un cane.",
            "{person} ha più anni di {person}.",
            "Solo una persona mangia {cibo}.",
            "La casa rossa è a sinistra di quella verde.",
            "{person} mente sempre di {giorno}.",
        ],
    ),
];
