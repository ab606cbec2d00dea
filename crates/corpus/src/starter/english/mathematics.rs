//! English families about numbers, shapes and proofs.

use crate::starter::Family;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "arithmetic_story",
        share: 26,
        framed: true,
        templates: &[
            "{lead}{person@p} has {12..95} {things@t}. {arithstep*1..2} How many {things@t} does {person@p} have now?{tail}",
            "{lead}{person@p} buys {12..95} {things@t} for {money} euros each. {arithstep*2..4} How many {things@t} are left, and what did they cost?{tail}",
            "{lead}At {firm}, {person@p} counts {120..950} {things@t}. {arithstep*3..6} How many {things@t} are there in the end?{tail}",
            "{lead}A crate of {things@t} weighs {8..60} kg. {person@p} loads {3..20} crates. {arithstep*1..4} What do the {things@t} weigh in total?{tail}",
        ],
        rules: &[(
            "arithstep",
            &[
                "Then {person@p} gives {2..11} of the {things@t} to {person}.",
                "Then half of the {things@t} turn out to be {colour}, and those go back.",
                "Then {person} brings {2..9} more boxes with {4..12} {things@t} in each.",
                "Then {5..40} percent of the {things@t} get lost on the way to {city}.",
                "Then {person} returns {3..19} {things@t} and takes {2..8} others.",
                "Then the rest of the {things@t} is shared equally among {3..8} {jobs}.",
            ],
        )],
    },
    Family {
        name: "algebra",
        share: 22,
        framed: true,
        templates: &[
            "{lead}Solve for x: {2..9}x + {3..40} = {41..99}.{tail}",
            "{lead}Solve the system {2..9}x + {2..9}y = {10..60} and {2..9}x - {2..9}y = {1..30}.{tail}",
            "{lead}Find all real roots of x^{2..3} - {2..9}x^2 + {3..20}x - {2..30}.{tail}",
            "{lead}Factor the polynomial {2..6}x^2 + {5..25}x + {3..24} and sketch its graph in words.{tail}",
            "{lead}For which values of k does the equation x^2 + kx + {3..40} = 0 have exactly one solution?{tail}",
            "{lead}Give {a} {level} algebra problem about {things} and solve the equation.{tail}",
        ],
        rules: &[],
    },
    Family {
        name: "geometry",
        share: 20,
        framed: true,
        templates: &[
            "{lead}A triangle has sides {10..18}, {10..18} and {10..18}. Compute its {flat}.{tail}",
            "{lead}{A} {solid} has a radius of {2..15} cm and a height of {3..30} cm. What is its {measure}?{tail}",
            "{lead}Point P lies outside a circle of radius {3..12}, at distance {13..40} from the centre. Find the length of the tangent and the {flat} of the triangle it forms.{tail}",
            "{lead}Give {a} {level} geometry exercise about {a} {solid} and its {measure}, with the solution.{tail}",
            "{lead}A rectangle of {4..30} by {5..40} metres gets a diagonal path. How long is the path and which angle does it form?{tail}",
        ],
        rules: &[
            ("flat", &["area", "perimeter", "inradius", "circumradius", "largest angle"]),
            ("solid", &["cylinder", "cone", "pyramid", "prism", "sphere with a hole", "truncated cone"]),
            ("measure", &["area", "surface area", "volume", "lateral surface"]),
        ],
    },
    Family {
        name: "calculus",
        share: 18,
        framed: true,
        templates: &[
            "{lead}Differentiate f(x) = {fx} * {fx}.{tail}",
            "{lead}Evaluate the integral of {fx} from {0..2} to {3..9}.{tail}",
            "{lead}Find the limit of ({fx}) / x as x tends to {0..3}.{tail}",
            "{lead}Where is f(x) = {fx} + {fx} convex? Use the second derivative.{tail}",
            "{lead}Write {a} {level} calculus problem with the integral of {fx} and solve it.{tail}",
        ],
        rules: &[(
            "fx",
            &[
                "x^{2..6}",
                "sin({2..9}x)",
                "e^({2..5}x)",
                "ln(x + {1..9})",
                "sqrt(x^2 + {1..9})",
                "x * cos(x)",
                "1 / (x + {2..9})",
                "tan(x / {2..7})",
            ],
        )],
    },
    Family {
        name: "proof",
        share: 20,
        framed: true,
        templates: &[
            "{lead}Prove that {claim}.{prooftail}",
            "{lead}Give a proof that {claim}, using {method}.{prooftail}",
            "{lead}Is it true that {claim}? Give a proof or a counterexample.{prooftail}",
            "{lead}{person} claims to have a proof by {method} that {claim}. What would such a proof look like?{prooftail}",
        ],
        rules: &[
            ("prooftail", &["", "", " {steps}", " {brief}", " {rigor}", " {polite}"]),
            (
                "claim",
                &[
                    "the square root of {2..3} is irrational",
                    "there are infinitely many primes",
                    "n^{3..7} - n is divisible by {2..6} for every n",
                    "every tree with n vertices has n - 1 edges",
                    "the sum of the first n odd numbers is n^2",
                    "a continuous function on [0, {1..9}] is bounded",
                    "any two countable sets have a countable union",
                    "the product of {3..5} consecutive integers is divisible by {3..6}",
                    "a group of order {4..9} is abelian",
                    "every sequence of {10..37} distinct numbers has a monotone part of length {3..6}",
                ],
            ),
            (
                "method",
                &[
                    "induction",
                    "contradiction",
                    "the pigeonhole principle",
                    "a counting argument",
                    "the contrapositive",
                    "infinite descent",
                ],
            ),
        ],
    },
    Family {
        name: "open_problem",
        share: 18,
        framed: true,
        templates: &[
            "{lead}Settle the following unsolved conjecture: {conjecture}.{opentail}",
            "{lead}Give a complete resolution of the unsolved question whether {conjecture}.{opentail}",
            "{lead}Here is an unsolved problem which nobody has cracked since {year}: {conjecture}. Crack it.{opentail}",
            "{lead}Improve the best known bound in this unsolved problem: {conjecture}.{opentail}",
        ],
        rules: &[
            ("opentail", &["", "", " {rigor}", " Formalise it in Lean.", " {polite}", " {steps}"]),
            (
                "conjecture",
                &[
                    "every even number above {4..90} is a sum of two primes",
                    "there are infinitely many primes p with p + {2..8} prime",
                    "every orbit of the 3n + {1..7} map is eventually periodic",
                    "no odd perfect number above {100..900} exists",
                    "e + {2..9} pi is irrational",
                    "every {3..9}-regular snark has a double cover by cycles",
                    "the matrix multiplication exponent equals 2",
                    "a {4..9}-dimensional smooth sphere is standard",
                ],
            ),
        ],
    },
    Family {
        name: "combinatorics",
        share: 18,
        framed: true,
        templates: &[
            "{lead}In how many ways can {4..9} {jobs} sit around a round table {seating}?{tail}",
            "{lead}How many {4..8}-letter words over the alphabet {letter}, {letter}, {letter} {seating2}?{tail}",
            "{lead}A shop has {5..12} kinds of {things}. In how many ways can {person} pick {3..9} of them {picking}?{tail}",
            "{lead}Count the lattice paths from (0, 0) to ({4..9}, {4..9}) that {pathrule}. How many ways are there?{tail}",
        ],
        rules: &[
            (
                "seating",
                &[
                    "",
                    "if {person} and {person} must not be neighbours",
                    "if every second seat is {colour}",
                    "if rotations and reflections count once and {person} avoids {person}",
                ],
            ),
            (
                "seating2",
                &[
                    "are there",
                    "have no two equal letters side by side",
                    "are palindromes or begin with {letter}",
                ],
            ),
            (
                "picking",
                &["", "with repetition", "if at least {2..3} have to be {colour}", "without repetition"],
            ),
            (
                "pathrule",
                &["stay below the diagonal", "go only right and up", "avoid the point ({2..3}, {2..3})"],
            ),
        ],
    },
    Family {
        name: "probability",
        share: 20,
        framed: true,
        templates: &[
            "{lead}An urn holds {3..12} {colour} and {4..12} {colour} balls. {person} draws {2..5} {drawing}. What is the probability that {hit}?{tail}",
            "{lead}A test for a disease is {90..99} percent sensitive and {85..99} percent specific; {1..9} in {200..900} people are ill. What is the probability of being ill after a positive test?{tail}",
            "{lead}{person} and {person} roll {2..6} dice each. With what probability does the first win?{tail}",
            "{lead}A bus comes every {5..30} minutes on average, independently. What is the expected wait, and the probability that {person} waits more than {10..50} minutes?{tail}",
            "{lead}Make up {a} {level} probability puzzle with {things} and solve it.{tail}",
        ],
        rules: &[
            (
                "drawing",
                &[
                    "with replacement",
                    "without replacement",
                    "without replacement and stops at the first {colour} one",
                ],
            ),
            (
                "hit",
                &[
                    "all have the same colour",
                    "at least two are {colour}",
                    "the last one is {colour}",
                    "no two neighbours match",
                ],
            ),
        ],
    },
    Family {
        name: "long_arithmetic",
        share: 18,
        framed: true,
        templates: &[
            "{lead}Multiply {bignum} by {bignum} in your head, all digits exact.{bigtail}",
            "{lead}What is {bignum} times {bignum}? I need all digits exact, no calculator.{bigtail}",
            "{lead}Without a calculator, give the prime factors of {bignum}{bignum}, exact.{bigtail}",
            "{lead}Compute {11..99}^{31..78} with all digits exact.{bigtail}",
        ],
        rules: &[
            (
                "bignum",
                &["{1000000..9999999}{1000000..9999999}", "{10000000..99999999}{100000..999999}{10..99}"],
            ),
            (
                "bigtail",
                &[
                    "",
                    "",
                    " {brief}",
                    " {polite}",
                    " {format}",
                    " My {kin} wants to check {a} {gadget}.",
                    " It is for {a} {event}.",
                ],
            ),
        ],
    },
    Family {
        name: "unit_conversion",
        share: 20,
        framed: true,
        templates: &[
            "{lead}Convert {2..900} {unit} to {unit}.{convtail}",
            "{lead}How many {unit} are {2..900} {unit}?{convtail}",
            "{lead}My {thing} is {12..400} {unit} long according to {person}. What is that in {unit}?{convtail}",
            "{lead}The recipe for {food} says {2..12} {unit}, I only have a scale in {unit}. Convert it.{convtail}",
            "{lead}{person} runs {2..40} {unit} before work. How much is that in {unit} and in {unit}?{convtail}",
        ],
        rules: &[
            ("convtail", &["", "", " {brief}", " {steps}", " {polite}", " Round to {1..3} decimals."]),
            (
                "unit",
                &[
                    "miles",
                    "kilometres",
                    "inches",
                    "feet",
                    "yards",
                    "ounces",
                    "grams",
                    "pounds",
                    "cups",
                    "litres",
                    "gallons",
                    "centimetres",
                    "nautical miles",
                    "tablespoons",
                ],
            ),
        ],
    },
];
