//! What an encoder would know and a catalogue cannot: that an `ankle` and a `wrist` are the same kind of thing. A
//! small English lexicon of everyday subjects; words of one subject share a feature. Subjects are those of requests
//! in general, not of any catalogue, and words stand in their base form.

use std::sync::LazyLock;

use features::hash::WordHash;

/// Endings that a word may carry beyond its base form, and what the base form then ends in.
const ENDINGS: [(&str, &str); 9] = [
    ("", ""),
    ("s", ""),
    ("es", ""),
    ("d", ""),
    ("ed", ""),
    ("ing", ""),
    ("ing", "e"),
    ("ies", "y"),
    ("ly", ""),
];

/// Subjects by name, and the words that speak of them.
const SUBJECTS: &[(&str, &str)] = &[
    (
        "payment",
        "invoice bill charge pay payment receipt refund card credit debit visa mastercard paypal checkout \
        transaction payout deposit bank transfer statement overdue prepaid voucher coupon promo fee",
    ),
    (
        "price",
        "price cost cheap expensive discount tax vat dollar euro pound cent rate quote budget spend spent owe \
        money amount save afford worth",
    ),
    (
        "account",
        "account subscription subscribe membership plan tier trial seat workspace login password username \
        profile renewal renew upgrade downgrade cancel billing billed customer enterprise annual monthly yearly quota",
    ),
    (
        "language",
        "english german french spanish italian portuguese dutch polish russian ukrainian turkish arabic hebrew \
        hindi urdu bengali chinese mandarin cantonese japanese korean vietnamese thai indonesian swedish norwegian danish \
        finnish icelandic greek latin czech slovak hungarian romanian bulgarian croatian serbian catalan basque irish \
        welsh swahili persian tagalog malay sanskrit estonian latvian lithuanian",
    ),
    (
        "translating",
        "translate translation translator interpret pronounce pronunciation meaning phrase idiom native \
        bilingual localise localize subtitle transliterate dialect vocabulary say",
    ),
    (
        "programming language",
        "python java javascript typescript rust golang kotlin swift ruby php perl scala haskell \
        bash powershell sql html css cpp csharp lua julia matlab cobol fortran erlang elixir react angular vue django \
        flask spring node npm pip cargo cmake gcc clang pytest junit webpack",
    ),
    (
        "code",
        "code function method class variable loop array pointer string integer boolean compile compiler syntax \
        algorithm recursion recursive thread async callback closure regex parser parse library package module import \
        dependency interface struct enum object inheritance generic template script program programming developer \
        refactor snippet library script mutex lambda iterator null undefined constant debug debugger",
    ),
    (
        "software failure",
        "bug error exception crash fail failure traceback stacktrace segfault segmentation overflow leak \
        deadlock timeout hang broken warning",
    ),
    (
        "software tools",
        "git github gitlab commit merge branch rebase repository repo docker container kubernetes \
        dockerfile pipeline deploy deployment server api endpoint http json yaml xml linux terminal shell command \
        database postgres mysql sqlite redis query index cache unit test mock linter formatter ide editor version build \
        install workflow",
    ),
    (
        "arithmetic",
        "sum plus minus times multiply divide division subtract addition percent percentage fraction decimal \
        remainder quotient square root cube power exponent factorial modulo digit",
    ),
    (
        "algebra and calculus",
        "equation solve integral integrate derivative differentiate limit polynomial factor \
        factorise factorize matrix determinant eigenvalue vector series converge convergence sequence logarithm log sine \
        cosine tangent sin cos tan function variable quadratic linear inequality expression simplify compute calculate",
    ),
    (
        "geometry",
        "triangle circle radius diameter circumference perimeter area volume angle polygon rectangle hexagon \
        pentagon sphere cone cylinder diagonal hypotenuse parallel",
    ),
    (
        "proof",
        "prove proof theorem lemma induction contradiction irrational prime divisor divisible integer conjecture \
        axiom corollary infinitely",
    ),
    (
        "chance",
        "probability chance dice die coin flip odds expected random draw likely likelihood permutation combination \
        roll",
    ),
    (
        "law",
        "law legal lawful illegal lawyer attorney solicitor court judge lawsuit sue claim liable liability contract \
        clause agreement binding breach statute regulation gdpr compliance licence license trademark copyright patent \
        infringement defamation tenant landlord lease sublet evict eviction custody divorce inheritance inherit heir will \
        testament probate warrant police arrest fine prosecute notary indemnity arbitration settlement jurisdiction \
        plaintiff defendant rights consent minor nda prenuptial negligence",
    ),
    (
        "employment",
        "employer employee employment job boss salary wage fire dismissal dismiss redundancy redundant resign \
        notice contract leave overtime colleague coworker recruiter interview hire career",
    ),
    (
        "body",
        "head neck throat tonsil shoulder arm elbow wrist hand finger chest breast back spine hip leg knee ankle foot \
        toe belly stomach abdomen heart lung liver kidney gallbladder bladder skin eye ear nose mouth tooth gum muscle \
        joint bone blood brain nerve thyroid armpit mole",
    ),
    (
        "illness",
        "headache migraine fever cough cold flu covid rash itch itchy pain ache sore hurt swell swollen swelling \
        nausea vomit diarrhoea diarrhea dizzy dizziness numb numbness bleed bleeding bruise burn cramp infection \
        inflammation inflamed symptom disease diabetes cancer asthma allergy allergic gout anaemia anemia hypertension \
        insomnia depression anxiety heartburn reflux lump fracture sprain tick contagious chronic acute sick illness ill",
    ),
    (
        "treatment",
        "doctor physician nurse hospital clinic surgery operation medicine medication drug pill tablet dose \
        dosage prescription prescribe antibiotic amoxicillin penicillin ibuprofen paracetamol aspirin antihistamine \
        antidepressant insulin vaccine vaccination shot therapy treatment treat remedy diagnosis diagnose mri xray scan \
        blood pressure pregnant pregnancy breastfeeding recovery side effect melatonin ferritin cholesterol heart rate",
    ),
    (
        "summary",
        "summarise summarize summary summarisation tldr gist recap condense shorten shorter brief briefly abstract \
        overview synopsis takeaway essential highlight nutshell digest key point main outline bullet concise abridge sum \
        boil",
    ),
    (
        "document",
        "article paper report document transcript essay chapter book thread text passage paragraph section page \
        memo minutes notes manuscript study newsletter brochure policy press release lecture podcast author email mail \
        letter discussion conversation meeting",
    ),
    (
        "data",
        "data dataset csv spreadsheet excel table column row cell pivot vlookup chart plot graph histogram dashboard \
        scatter heatmap kpi metric record export log sample survey respondent entries",
    ),
    (
        "statistics",
        "mean median average percentile quantile variance deviation correlation correlate correlated regression \
        outlier anomaly anomalies significant significance hypothesis distribution trend forecast predict prediction \
        seasonality cluster segment confidence interval pvalue",
    ),
    (
        "business figures",
        "sales revenue profit margin growth churn conversion traffic quarter region channel order demand \
        retention funnel cohort lift bounce session department",
    ),
    (
        "creative writing",
        "poem poetry haiku limerick sonnet rhyme lyrics song rap story tale novel fiction character \
        villain hero plot dialogue scene fantasy thriller bedtime verse metaphor setting",
    ),
    (
        "copywriting",
        "slogan tagline headline title caption blog post linkedin advert ad brand product description name \
        catchy toast speech invitation farewell birthday wedding anniversary congratulation cover letter application \
        recommendation apology note card",
    ),
    (
        "editing",
        "rewrite rephrase reword proofread polish grammar spelling tone wording style formal informal friendly \
        polite confident sincere improve correct draft compose write edit",
    ),
    (
        "greeting",
        "hi hello hey morning evening afternoon night bye goodbye thanks thank welcome cheers weekend please",
    ),
    (
        "about the assistant",
        "human robot bot ai machine assistant yourself feelings real alive sleep chatbot sentient made \
        created built",
    ),
    (
        "chatting",
        "chat joke funny laugh lol haha bored lonely sad happy nice cool company talk tired mood friend",
    ),
    (
        "weather",
        "weather rain snow sun sunny wind storm temperature forecast hot cold humid cloud degrees umbrella",
    ),
    (
        "food",
        "recipe cook bake bread cake pasta pizza salad soup meat chicken fish egg cheese butter milk flour sugar salt \
        wine beer coffee tea vegetable fruit tomato onion garlic oven fridge restaurant dinner lunch breakfast grill \
        dough lasagne chocolate rice tofu",
    ),
    (
        "travel",
        "flight airport hotel train bus ticket luggage passport visa trip travel holiday vacation tour tourist beach \
        hiking trail museum station metro route airline layover kayak",
    ),
    (
        "sport",
        "football soccer rugby tennis cricket basketball league match score goal team player race marathon cup \
        champion championship final olympic formula coach",
    ),
    (
        "home",
        "kitchen bathroom bedroom room wall ceiling paint carpet dishwasher washing radiator heating tap screw garage \
        door window lamp light furniture garden lawn clean stain wax iron sew button",
    ),
    ("animals", "dog cat puppy kitten rabbit bird penguin shark hedgehog bee horse cow animal pet vet"),
    (
        "plants",
        "plant tomato orchid basil tree leaf leaves flower rose seed soil repot prune cherry blossom garden",
    ),
    (
        "entertainment",
        "film movie cinema series season episode actor actress show game board boss level play music band \
        guitar piano violin concert album jazz",
    ),
    (
        "science and history",
        "planet moon sun mars jupiter star telescope eclipse galaxy ocean mountain fossil dinosaur \
        century war empire king queen inventor invented capital population tallest deepest oldest largest",
    ),
    ("vehicles", "car bike bicycle tyre tire engine chain brake motor fuel petrol truck traffic parking"),
];

/// Words by hash with the feature of their subject, ascending; a word of two subjects stands twice.
static WORDS: LazyLock<Vec<(u64, u64)>> = LazyLock::new(|| {
    let of_subject = |(name, words): &(&str, &'static str)| {
        let subject = "subject: ".bytes().chain(name.bytes()).fold(WordHash::new(), WordHash::byte).finish();
        words.split_whitespace().map(move |word| (WordHash::text(word), subject))
    };
    let mut words: Vec<(u64, u64)> = SUBJECTS.iter().flat_map(of_subject).collect();
    words.sort_unstable();
    words.dedup();
    words
});

/// Calls `visit` with the feature of each subject that a lower-case word speaks of.
pub(super) fn each_subject(word: &[char], mut visit: impl FnMut(u64)) {
    for (ending, base_ending) in ENDINGS {
        let kept = word.len().saturating_sub(ending.len());
        // No base form is shorter than this once an ending was taken off it.
        if !ending.is_empty() && kept < 3 || !word[kept..].iter().copied().eq(ending.chars()) {
            continue;
        }
        let base = word[..kept].iter().copied().chain(base_ending.chars());
        let hash = base.fold(WordHash::new(), WordHash::char).finish();
        let first = WORDS.partition_point(|entry| entry.0 < hash);
        let found = WORDS[first..].iter().take_while(|entry| entry.0 == hash);
        let mut any = false;
        for (_, subject) in found {
            visit(*subject);
            any = true;
        }
        if any {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(word: &str) -> Vec<u64> {
        let mut out = Vec::new();
        each_subject(&word.chars().collect::<Vec<_>>(), |subject| out.push(subject));
        out
    }

    #[test]
    fn forms_of_words_share_the_subject_of_their_base() {
        assert_eq!(subjects("ankle"), subjects("wrists"));
        assert_eq!(subjects("allergies"), subjects("fever"));
        assert_eq!((subjects("merging"), subjects("merged").len()), (subjects("merge"), 1));
        assert!(subjects("quetzal").is_empty() && subjects("s").is_empty() && subjects("").is_empty());
        assert_eq!(subjects("contract").len(), 2);
    }

    #[test]
    fn words_are_in_lower_case() {
        for (name, words) in SUBJECTS {
            assert!(words.split_whitespace().all(|w| w.chars().all(|c| c.is_ascii_lowercase())), "{name}");
        }
    }
}
