//! What the starter corpus promises, measured.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::*;

/// Everything a row says, in one line.
fn line(example: &Example) -> String {
    format!("{example:?}\n")
}

fn default_corpus() -> Vec<Example> {
    generate(DEFAULT_ROWS, 7)
}

fn tag<'e>(example: &'e Example, prefix: &str) -> &'e str {
    example.slices.iter().find_map(|s| s.strip_prefix(prefix)).expect("every row has its slices")
}

fn word_count(example: &Example) -> usize {
    example.query.parts().map(|(_, text)| text.split_whitespace().count()).sum()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first: String = generate(100, 7).iter().map(line).collect();
    let longer: String = generate(200, 7).iter().take(100).map(line).collect();
    assert_eq!(first, longer, "a longer corpus begins with the rows of a shorter one");
    assert_ne!(first, generate(100, 8).iter().map(line).collect::<String>());
    let hash = Sha256::digest(first.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "0879e549518dd5080267eb918488448c29b677e363c547c6f874030406640429");
}

#[test]
fn the_tables_know_every_slot_they_name() {
    for language in languages() {
        for family in language.families.iter().flat_map(|group| group.iter()) {
            let rules = scopes(language, family);
            let mut templates: Vec<&'static str> = family.templates.to_vec();
            templates
                .extend(rules.iter().flat_map(|scope| scope.iter()).flat_map(|(_, options)| options.iter()));
            for template in templates {
                for seed in 0..6 {
                    let mut dice = Dice::new(seed, 0);
                    let mut writer = Writer::new(&mut dice, rules.clone());
                    let text = writer.expand(template);
                    let missing = writer.missing();
                    assert_eq!(missing, None, "{} {}: {template}", language.code, family.name);
                    let doubled = text.contains("  ") && !text.contains("```");
                    assert!(!text.contains("[[") && !doubled, "{template:?} gave {text:?}");
                }
            }
        }
    }
}

#[test]
fn rows_are_varied_and_no_skeleton_dominates() {
    let corpus = default_corpus();
    assert_eq!(corpus.len(), DEFAULT_ROWS);
    let texts: BTreeSet<String> = corpus.iter().map(|e| without_digits(&e.query)).collect();
    let distinct = texts.len() as f64 / corpus.len() as f64;
    let (mut instances, mut templates) = (BTreeSet::new(), BTreeMap::<&str, usize>::new());
    for example in &corpus {
        let instance = example.group.as_deref().expect("every row has a group");
        let (template, _) = instance.rsplit_once('-').expect("the fingerprint comes last");
        instances.insert(instance);
        *templates.entry(template).or_default() += 1;
    }
    let (largest, rows) = templates.iter().max_by_key(|(_, rows)| **rows).expect("rows exist");
    println!("distinct {distinct:.4}, {} instances of {} templates", instances.len(), templates.len());
    println!("largest {largest} with {rows} rows");
    assert!(distinct >= 0.97, "{distinct}");
    assert!(*rows <= corpus.len() / 100, "{largest}: {rows}");
    assert!(instances.len() >= corpus.len() / 4 && templates.len() >= 400);
}

#[test]
fn every_family_and_language_and_length_occurs() {
    let corpus = default_corpus();
    let families: BTreeSet<&str> = corpus.iter().map(|e| tag(e, "family:")).collect();
    let pairs: BTreeSet<(&str, &str)> =
        corpus.iter().map(|e| (tag(e, "language:"), tag(e, "family:"))).collect();
    let declared: usize = languages().iter().flat_map(|l| l.families).map(|group| group.len()).sum();
    assert!(families.len() >= 36, "{families:?}");
    assert_eq!(pairs.len(), declared, "a family of some language never occurs");
    let lengths: Vec<usize> = corpus.iter().map(word_count).collect();
    println!(
        "{} families, {declared} with languages; words {:?}..{:?}",
        families.len(),
        lengths.iter().min(),
        lengths.iter().max()
    );
    assert!(lengths.iter().any(|n| *n <= 6) && lengths.iter().any(|n| *n >= 300));
    assert!(lengths.iter().filter(|n| **n >= 100).count() >= corpus.len() / 20);
    let turns = corpus.iter().filter(|e| e.query.parts().count() > 1).count();
    assert!((corpus.len() / 10..corpus.len() / 2).contains(&turns), "{turns} chats and system prompts");
    let ids: BTreeSet<&str> = corpus.iter().map(|e| e.id.as_str()).collect();
    assert_eq!(ids.len(), corpus.len());
    assert_eq!(corpus[0].id, "starter-000001");
    for example in &corpus {
        assert!(example.slices.is_sorted() && example.has_slice("simulated"));
        assert_eq!(example.evidence.outcomes.len(), MODELS.len());
    }
}

#[test]
fn the_truth_is_spread_wide() {
    let mut truth: Vec<f64> = default_corpus().iter().filter_map(|e| e.true_win_probability).collect();
    truth.sort_by(f64::total_cmp);
    let at = |share: f64| truth[(share * truth.len() as f64) as usize];
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    println!("mean {mean:.3}, quantiles {:?}", [0.05, 0.25, 0.5, 0.75, 0.95].map(at));
    assert!(at(0.05) <= 0.08 && at(0.95) >= 0.6);
    assert!((0.2..=0.35).contains(&mean), "{mean}");
}

/// Sums of independent draws stay within four and a half standard deviations of the truth: over
/// all rows, and in each tenth of the rows by true win probability.
#[test]
fn outcomes_follow_the_truth() {
    let mut corpus = generate(20_000, 11);
    corpus.sort_by(|a, b| {
        let truth = |e: &Example| e.true_win_probability.unwrap_or(f64::NAN);
        truth(a).total_cmp(&truth(b))
    });
    let [small, _, large] = MODELS.map(|name| ModelName::new(name).expect("a valid name"));
    for tenth in corpus.chunks(corpus.len() / 10).chain([corpus.as_slice()]) {
        let (mut expected, mut variance, mut wins) = (0.0, 0.0, 0.0);
        for example in tenth {
            let truth = example.true_win_probability.expect("every row is simulated");
            expected += truth;
            variance += truth * (1.0 - truth);
            let outcomes = &example.evidence.outcomes;
            assert!(outcomes.values().all(|o| *o == 0.0 || *o == 1.0));
            wins += outcomes[&large] * (1.0 - outcomes[&small]);
        }
        let deviations = (wins - expected) / f64::sqrt(variance);
        assert!(deviations.abs() < 4.5, "{wins} wins, {expected:.1} expected");
    }
}

#[test]
fn the_ladder_climbs_from_small_to_large() {
    let rungs: Vec<String> = ladder().expect("valid names").rungs().iter().map(ToString::to_string).collect();
    assert_eq!(rungs, MODELS);
    let corpus = default_corpus();
    let rates: Vec<f64> = ladder()
        .expect("valid names")
        .rungs()
        .iter()
        .map(|m| corpus.iter().map(|e| e.evidence.outcomes[m]).sum::<f64>() / corpus.len() as f64)
        .collect();
    println!("success rates {rates:?}");
    assert!(rates.is_sorted() && rates[2] - rates[0] > 0.2);
}
