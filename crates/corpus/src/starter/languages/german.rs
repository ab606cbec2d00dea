//! German.

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "de", share: 4, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}Was ist die Hauptstadt von {land}?{tail}",
        "{lead}Wer hat {erfindung} erfunden, und wann ungefähr?{tail}",
        "{lead}Welche Sprachen spricht man in {land}, und welche Währung gilt dort?{tail}",
        "{lead}Wie weit ist es von {city} nach {city}?{tail}",
    ],
    translation: &[
        "Übersetze ins {sprache}: „{kontext}“{tail}",
        "{lead}Wie sagt man „{satz}“ auf {sprache}?{tail}",
        "Bitte übersetze diesen Brief an {firm} ins {sprache}: {kontext*2..4}{tail}",
    ],
    summarising: &[
        "Fasse den Text zusammen: {kontext*4..9}{tail}",
        "{gruss} Kannst du das für {leute} zusammenfassen? {kontext*5..12}{tail}",
        "{kontext*3..7}\n\nZusammenfassung bitte.{tail}",
    ],
    rewriting: &[
        "Formuliere das {art} um: „{kontext*1..3}“{tail}",
        "{gruss} Mach diesen Satz kürzer: „{kontext} {kontext}“{tail}",
        "Schreib das so um, dass es {leute} verstehen: „{kontext*1..4}“{tail}",
    ],
    email: &[
        "{lead}Schreibe eine E-Mail an {person} bei {firm}, {zweck}.{tail}",
        "{lead}Antworte {art} auf diese Mail von {surname}: „{kontext*1..3}“{tail}",
        "{lead}Ich brauche einen Betreff und zwei Zeilen, {zweck}.{tail}",
    ],
    faq: &[
        "{lead}Wie kann ich {anliegen}?{tail}",
        "{lead}Meine Bestellung {code} ist noch nicht in {city} angekommen. Wo ist sie?{tail}",
        "{lead}Kann ich das {gadget} nach {10..60} Tagen zurückgeben?{tail}",
    ],
    chit_chat: &[
        "{gruss} Wie war dein {wochentag}? {gefuehl}",
        "{gefuehl} Und du, {person}?",
        "{gruss} Erzähl mir einen Witz über {thema}. {gefuehl}",
        "{person} und ich reden seit {wochentag} über {thema}. {gefuehl}",
    ],
    cooking: &[
        "{lead}Was kann ich aus {zutat}, {zutat} und {zutat} kochen?{tail}",
        "{lead}Ich suche ein Rezept mit {zutat} für {2..12} Personen.{tail}",
        "{lead}Wie lange muss ich {zutat} kochen, und passt {zutat} dazu?{tail}",
    ],
    planning: &[
        "{lead}Plane eine Reise von {2..14} Tagen nach {city}{wunsch}.{tail}",
        "{lead}Mach einen Plan für {anlass} mit {5..80} Gästen{wunsch}{wunsch}.{tail}",
        "{lead}Ich möchte in {3..20} Wochen alles über {thema} lernen{wunsch}. Wie gehe ich vor?{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} hat {12..95} {dinge@t}. {schritt*1..3} Wie viele {dinge@t} hat {person@p} jetzt?{tail}",
        "{lead}{person@p} kauft {12..95} {dinge@t} für je {money} Euro. {schritt*2..5} Wie viele bleiben übrig?{tail}",
    ],
    code_script: &[
        "{lead}Schreibe eine Funktion in {skript}, die {aufgabe}.{tail}",
        "{lead}Wie mache ich ein Programm in {skript}, das {aufgabe} und {aufgabe}?{tail}",
    ],
    history_comparison: &[
        "{lead}Vergleiche {epoche} mit {epoche}: Ursachen, Verlauf und Folgen.{tail}",
        "{lead}Welche Rolle spielte {thema} für {epoche}, und was war anders als {year}?{tail}",
    ],
    contract: &[
        "{lead}Im Vertrag steht: „{klausel*1..3}“ Darf {firm} vorzeitig kündigen?{tail}",
        "{lead}Wer haftet nach diesem Vertrag? „{klausel*2..4}“{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}, {person} und {person} wohnen nebeneinander. {hinweis*2..6} Wer wohnt in der Mitte?{tail}",
        "{lead}Löse das Rätsel. {hinweis*3..7} Welche Aussage muss stimmen?{tail}",
    ],
});

const RULES: &[Rule] = &[
    (
        "tail",
        &[
            "",
            "",
            "",
            " {kurz}",
            " {schritte}",
            " {streng}",
            " {format}",
            " {grenze}",
            " {grenze} {format}",
            " Danke!",
        ],
    ),
    ("kurz", &["Nur die Antwort, bitte.", "Bitte ganz kurz.", "Nur die Antwort, ohne Erklärung."]),
    (
        "schritte",
        &[
            "Erkläre jeden Schritt.",
            "Zeig den Rechenweg Schritt für Schritt.",
            "Bitte Schritt für Schritt erklären.",
        ],
    ),
    (
        "streng",
        &[
            "Begründe jede Aussage streng und bedenke alle Sonderfälle.",
            "Bedenke alle Sonderfälle und begründe sie streng.",
        ],
    ),
    (
        "format",
        &[
            "Gib das Ergebnis als JSON-Objekt aus.",
            "Gib das Ergebnis als Tabelle aus.",
            "Antworte nur in gültigem JSON.",
        ],
    ),
    (
        "grenze",
        &[
            "Verwende genau {3..7} Stichpunkte.",
            "Verwende genau {40..120} Wörter.",
            "Schreibe genau {2..6} Sätze.",
        ],
    ),
    (
        "lead",
        &["", "", "", "{gruss} ", "{gruss} {grund} ", "{grund} ", "Zum Hintergrund: {kontext*2..6}\n\n"],
    ),
    ("gruss", &["Hallo!", "Guten Morgen,", "Kurze Frage:", "Hi,", "Entschuldige die Störung.", "Moin!"]),
    (
        "grund",
        &[
            "{person} aus {city} will das wissen.",
            "Das kam am {wochentag} auf.",
            "Ich brauche es für {anlass}.",
            "Bei {firm} wusste es keiner.",
            "Ich komme seit {wochentag} nicht weiter.",
        ],
    ),
    (
        "kontext",
        &[
            "Unser Team bei {firm} ist im Frühjahr nach {city} gezogen.",
            "{person} hat am {wochentag} angerufen und nach {thema} gefragt.",
            "Das Budget beträgt {money} Euro, aber niemand hat unterschrieben.",
            "Seit {wochentag} regnet es, deshalb fällt {anlass} aus.",
            "In der Gruppe sind {3..40} Leute, die meisten aus {city}.",
            "Der Bericht erwähnt {thema} zweimal.",
            "{person} und {person} haben schon beim Mittagessen darüber gesprochen.",
            "Das {gadget} haben wir nach einer Woche zurückgeschickt.",
        ],
    ),
    (
        "system",
        &[
            "Du bist ein hilfreicher Assistent von {firm}.",
            "Du hilfst {leute} bei Fragen zu {thema}. Antworte {art}.",
            "Heute ist {wochentag}. Antworte {art}.",
        ],
    ),
    ("opening", &["Kannst du mir etwas über {thema} erzählen?", "Hallo, bist du da?", "Kennst du {city}?"]),
    (
        "reply",
        &[
            "Gern. Was genau möchtest du wissen?",
            "Ja, ich bin da. Wie kann ich helfen?",
            "Natürlich, {thema} ist ein weites Feld.",
        ],
    ),
    ("wochentag", &["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]),
    (
        "land",
        &[
            "Portugal", "Kenia", "Japan", "Kanada", "Finnland", "Ägypten", "Peru", "Norwegen", "Indien",
            "Polen", "Chile", "Island",
        ],
    ),
    (
        "erfindung",
        &[
            "das Telefon",
            "den Reißverschluss",
            "das Mikroskop",
            "die Glühbirne",
            "den Buchdruck",
            "das Fahrrad",
            "das Barometer",
        ],
    ),
    ("sprache", &["Englische", "Französische", "Spanische", "Italienische", "Polnische", "Schwedische"]),
    (
        "satz",
        &[
            "Wo ist der Bahnhof?",
            "Ich bin allergisch gegen Nüsse.",
            "Zwei Karten für {wochentag}, bitte.",
            "Das Licht in meinem Zimmer geht nicht.",
        ],
    ),
    ("leute", &["Anfänger", "Kinder", "neue Kolleginnen", "Rentner", "Studierende", "Eltern"]),
    ("art", &["freundlich", "förmlich", "knapp", "herzlich", "sachlich", "höflich", "locker"]),
    (
        "zweck",
        &[
            "um den Termin auf {wochentag} zu verschieben",
            "um mich für die Blumen zu bedanken",
            "um das Angebot über {money} Euro abzulehnen",
            "um zu {anlass} einzuladen",
            "um mich über das {gadget} zu beschweren",
        ],
    ),
    (
        "anliegen",
        &[
            "mein Passwort zurücksetzen",
            "meine Lieferadresse ändern",
            "mein Abo kündigen",
            "eine Rechnung herunterladen",
            "das {gadget} umtauschen",
            "mein Konto löschen",
        ],
    ),
    (
        "gefuehl",
        &[
            "Mir ist langweilig in {city}.",
            "Ich freue mich so auf {wochentag}!",
            "Die Arbeit bei {firm} war lang heute.",
            "Magst du {thema}?",
            "Ich könnte jeden Tag {zutat} essen.",
            "Draußen regnet es schon wieder.",
        ],
    ),
    (
        "thema",
        &[
            "Solarstrom",
            "Vulkane",
            "Schach",
            "Bienen",
            "Inflation",
            "Jazz",
            "Sauerteig",
            "Impfungen",
            "Bahnreisen",
            "Recycling",
            "Schlaf",
        ],
    ),
    (
        "zutat",
        &[
            "Reis",
            "Linsen",
            "Kartoffeln",
            "Tofu",
            "Eier",
            "Pilze",
            "Kichererbsen",
            "Spinat",
            "Nudeln",
            "Kürbis",
        ],
    ),
    (
        "wunsch",
        &[
            "",
            "",
            ", für höchstens {money} Euro",
            ", ohne Flug",
            ", alles mit der Bahn",
            ", mit einem freien {wochentag}",
        ],
    ),
    (
        "anlass",
        &[
            "die Hochzeit",
            "den Workshop",
            "die Prüfung",
            "das Sommerfest",
            "den Elternabend",
            "das Quiz im Verein",
        ],
    ),
    ("dinge", &["Äpfel", "Stifte", "Karten", "Stühle", "Kisten", "Murmeln", "Briefmarken", "Tassen"]),
    (
        "schritt",
        &[
            "Dann verschenkt {person@p} {2..11} davon an {person}.",
            "Dann bringt {person} noch {2..9} Schachteln mit je {4..12} Stück.",
            "Dann geht die Hälfte unterwegs verloren.",
            "Dann kommen {3..19} dazu und {2..8} gehen kaputt.",
        ],
    ),
    ("skript", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "aufgabe",
        &[
            "eine CSV-Datei einliest",
            "doppelte Einträge entfernt",
            "die Wörter eines Textes zählt",
            "alle Fotos nach Datum umbenennt",
            "zwei sortierte Listen mischt",
            "jeden {wochentag} eine Erinnerung schickt",
        ],
    ),
    (
        "epoche",
        &[
            "die Französische Revolution",
            "den Untergang Roms",
            "die Industrialisierung",
            "den Wiener Kongress",
            "die Hanse",
            "den Kalten Krieg",
            "die Reformation",
        ],
    ),
    (
        "klausel",
        &[
            "Beide Seiten können mit einer Frist von {30..90} Tagen schriftlich kündigen.",
            "Die Haftung ist auf {money} Euro je Schadensfall begrenzt.",
            "Kleinreparaturen bis {money} Euro trägt der Mieter.",
            "Gerichtsstand ist {city}.",
            "Die Gewährleistung beträgt {6..36} Monate.",
        ],
    ),
    (
        "hinweis",
        &[
            "{person} wohnt nicht neben {person}.",
            "Wer Tee trinkt, hat keinen Hund.",
            "{person} ist älter als {person}.",
            "Genau eine Person mag {zutat}.",
            "Das rote Haus steht links vom grünen.",
            "{person} lügt am {wochentag} immer.",
        ],
    ),
];
