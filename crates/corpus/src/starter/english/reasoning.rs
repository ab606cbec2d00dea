//! English families about thinking things through: puzzles, plans under constraints, sciences, data.

use crate::starter::Family;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "logic_puzzle",
        share: 22,
        framed: true,
        templates: &[
            "{lead}{person}, {person} and {person} own a {animal}, a {animal} and a {animal}. {premise*2..3} Who owns the {animal}?{tail}",
            "{lead}{2..4} neighbours live in houses of different colours. {premise*3..7} Who lives in the {colour} house?{tail}",
            "{lead}On an island, knights always tell the truth and knaves always lie. {liar*2..4} Who is a knight?{tail}",
            "{lead}Solve {a} {level} logic puzzle. {premise*2..6} Which statement must be true?{tail}",
        ],
        rules: &[
            (
                "premise",
                &[
                    "{person} does not live next to the {colour} house.",
                    "The {job} likes {food}.",
                    "{person} is older than the owner of the {animal}.",
                    "Exactly one of {person} and {person} drinks tea.",
                    "The {colour} house stands left of the {colour} one.",
                    "If the {job} has the {animal}, {person} has none.",
                    "Nobody from {city} keeps {a} {animal}.",
                ],
            ),
            (
                "liar",
                &[
                    "{person} says: \"{person} is a knave.\"",
                    "{person} says: \"We are of different kinds.\"",
                    "{person} says: \"At least {1..3} of us lie.\"",
                    "{person} stays silent.",
                ],
            ),
        ],
    },
    Family {
        name: "scheduling",
        share: 22,
        framed: true,
        templates: &[
            "{lead}Make a schedule for {3..9} {jobs} from {weekday} to {weekday}. {rule*2..4} Is there a valid schedule?{tail}",
            "{lead}We have {2..5} rooms and {4..12} talks on {weekday}. {rule*3..7} Find a schedule.{tail}",
            "{lead}{person}, {person} and {person} share one {gadget}. {rule*1..5} Who gets it when? Make a schedule.{tail}",
            "{lead}Plan the shifts at {firm} for {month}. {rule*4..9} Give the schedule for week {1..4}.{tail}",
        ],
        rules: &[(
            "rule",
            &[
                "{person} cannot work on {weekday}.",
                "No two {things} may be used at {clock}.",
                "The talk on {topic} must come before the talk on {topic}.",
                "Everybody needs {8..12} hours of rest.",
                "{person} only works together with {person}.",
                "At most {2..4} shifts per person.",
                "The {event} has to end by {clock}.",
                "{weekday} needs at least {2..4} people.",
            ],
        )],
    },
    Family {
        name: "physics",
        share: 22,
        framed: true,
        templates: &[
            "{lead}{A} {machine} of {2..90} kg slides down a slope of {10..50} degrees with friction 0.{1..6}. What is its acceleration?{tail}",
            "{lead}{person} throws a ball at {5..30} m/s from a height of {2..40} m. With which speed does it land{air}?{tail}",
            "{lead}A circuit has resistors of {2..90}, {2..90} and {2..90} ohm {wiring} at {5..48} V. Find the current.{tail}",
            "{lead}How much heat does it take to warm {2..60} litres of water by {10..70} kelvin, and how long with {1..5} kW?{tail}",
            "{lead}Set {a} {level} physics problem about {a} {machine} in free fall and solve for its speed.{tail}",
        ],
        rules: &[
            ("machine", &["crate", "sled", "trolley", "wooden block", "toolbox", "steel ball", "suitcase"]),
            ("air", &["", " without air", " with quadratic drag"]),
            ("wiring", &["in series", "in parallel", "in a bridge with an inductor"]),
        ],
    },
    Family {
        name: "chemistry",
        share: 20,
        framed: true,
        templates: &[
            "{lead}Balance the equation: {reactant} + {reactant} -> {reactant} + {product}.{tail}",
            "{lead}Balance this redox equation {medium}: {reactant} + {product} -> {product}.{tail}",
            "{lead}How many grams of {reactant} react with {2..80} g of {reactant}? Balance the equation first.{tail}",
            "{lead}What is the pH of {2..90} ml of 0.{1..9} molar {acid} in {1..5} litres of water?{tail}",
            "{lead}Give {a} {level} stoichiometry exercise with {reactant} and {acid}.{tail}",
        ],
        rules: &[
            (
                "reactant",
                &[
                    "C{2..9}H{6..20}",
                    "O2",
                    "Fe2O3",
                    "KMnO4",
                    "Al",
                    "NH3",
                    "CuSO4",
                    "CaCO3",
                    "H2O2",
                    "Na2S2O3",
                    "Zn",
                ],
            ),
            ("product", &["CO2", "H2O", "MnO2", "Fe", "NO", "CaCl2", "SO2", "ZnCl2"]),
            ("medium", &["in acidic solution", "in basic solution"]),
            ("acid", &["acetic acid", "hydrochloric acid", "phosphoric acid", "citric acid", "ammonia"]),
        ],
    },
    Family {
        name: "data_analysis",
        share: 22,
        framed: true,
        templates: &[
            "{lead}Monthly sales of {things} at {firm} were {100..900}, {100..900}, {100..900} and {100..900}. What is the trend, and what do you expect for {month}?{tail}",
            "{lead}We ran an A/B test: {200..900} of {4000..9000} visitors bought with version {letter}, {200..900} of {4000..9000} with version {letter}. Is the difference significant?{tail}",
            "{lead}The correlation between {quality} and {quality} in our data on {things} is 0.{10..90}.{pitfall} What may we conclude?{tail}",
            "{lead}Our data set of {2..90} thousand {things} has {5..40} percent missing values in \"{key}\".{pitfall} How should we handle it?{tail}",
            "{lead}Do {a} {level} analysis of these data: {20..99}, {20..99}, {20..99}, {20..99}, {100..400}. Is the last one an outlier?{tail}",
        ],
        rules: &[(
            "pitfall",
            &[
                "",
                "",
                " The sample was not random: only customers from {city} answered.",
                " Values are censored at {50..90} and clustered by city.",
                " The data were collected in {month}.",
            ],
        )],
    },
    Family {
        name: "table_reading",
        share: 22,
        framed: true,
        templates: &[
            "{lead}Look at the table:\n\n| name | city | {key} |\n|---|---|---|\n{row*2..4}\n\nWho has the highest {key}?{tail}",
            "{lead}From this table\n\n| who | where | {key} | \n|---|---|---|\n{row*4..9}\n\nadd up the last column for everyone from {city}.{tail}",
            "{lead}| name | city | points |\n|---|---|---|\n{row*3..8}\n\nWhich row of the table is wrong if nobody may have more than {50..90} points?{tail}",
        ],
        rules: &[(
            "row",
            &["| {person} | {city} | {10..99} |\n", "| {person} {surname} | {city} | {100..900} |\n"],
        )],
    },
    Family {
        name: "letter_counting",
        share: 16,
        framed: true,
        templates: &[
            "{lead}How many times does the letter {lower} occur in \"{phrase}\"?{cnttail}",
            "{lead}Spell \"{phrase}\" backwards, letter by letter.{cnttail}",
            "{lead}Which letter occurs most often in \"{phrase} {phrase}\", and how often?{cnttail}",
            "{lead}Give the {3..9}th letter of each word in \"{phrase} {phrase}\".{cnttail}",
        ],
        rules: &[
            ("lower", &["a", "e", "i", "l", "n", "o", "r", "s", "t"]),
            (
                "phrase",
                &[
                    "{colour} {things}",
                    "the {job} of {city}",
                    "{food} for {person}",
                    "{person} {surname}",
                    "no {animal} before {weekday}",
                    "{quality} and {quality}",
                ],
            ),
            ("cnttail", &["", "", " {brief}", " {steps}", " {polite}"]),
        ],
    },
    Family {
        name: "cipher",
        share: 17,
        framed: true,
        templates: &[
            "{lead}Decrypt this ciphertext without the key: {garble*6..12}{ciphtail}",
            "{lead}The following ciphertext was made with an unknown key of {5..12} letters: {garble*8..20} What does it say?{ciphtail}",
            "{lead}My {kin} left me a ciphertext in {a} {colour} envelope: {garble*5..14} Find the key and decrypt it.{ciphtail}",
        ],
        rules: &[
            ("garble", &["{gar}{gar}", "{gar}{gar}{gar}", "{gar}"]),
            ("gar", &["xq", "vz", "krp", "wj", "uzt", "qe", "bl", "hgx", "yo", "mdf", "ci", "zsn"]),
            ("ciphtail", &["", "", " It is about {topic}, I think.", " {steps}", " {polite}", " {format}"]),
        ],
    },
    Family {
        name: "chess",
        share: 16,
        framed: true,
        templates: &[
            "{lead}Chess: White has king {square}, rook {square}, bishop {square}; Black has king {square}, queen {square}, pawns {square} and {square}. Find the forced mate in {5..9}.{chesstail}",
            "{lead}In this chess position (king {square}, queen {square} against king {square}, two knights {square}, {square}) is there a forced mate in {6..12}?{chesstail}",
            "{lead}Find the only winning move in this chess study: White king {square}, knight {square}, pawn {square}; Black king {square}, bishop {square}. Then the forced mate.{chesstail}",
        ],
        rules: &[
            ("square", &["{file}{1..8}"]),
            ("file", &["a", "b", "c", "d", "e", "f", "g", "h"]),
            (
                "chesstail",
                &[
                    "",
                    "",
                    " {brief}",
                    " {polite}",
                    " {steps}",
                    " {person} and I have looked at it since {weekday}.",
                ],
            ),
        ],
    },
];
