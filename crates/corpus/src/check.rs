//! Whether data can teach a pair, which rows are wanted, and a name for what was read.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use types::{ModelName, ModelPair};

use crate::{CorpusError, Example, Winner};

/// What the rows say about a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// Rows that compare the two.
    pub rows: usize,
    /// Strong strictly better.
    pub strong_wins: usize,
    /// Equally good or equally bad.
    pub ties: usize,
    /// Weak strictly better.
    pub weak_wins: usize,
}

/// Counts what the rows say about a pair and refuses what no classifier can be fitted on.
///
/// # Errors
/// When a model never occurs, there are fewer than `minimum_rows` comparisons, or strong always or
/// never wins.
pub fn check_pair(
    examples: &[Example],
    pair: &ModelPair,
    minimum_rows: usize,
) -> Result<PairCounts, CorpusError> {
    let refuse = |reason: String| Err(CorpusError::Pair { pair: pair.clone(), reason });
    let known = occurrences(examples);
    for model in [pair.strong(), pair.weak()] {
        if !known.contains_key(model) {
            return refuse(format!(
                "{model} never occurs in this data; models there are: {}",
                ranked(&known)
            ));
        }
    }
    let mut counts = PairCounts::default();
    for example in examples {
        count(example, pair, &mut counts);
    }
    if counts.rows < minimum_rows {
        return refuse(format!("{} rows compare the two, a fit needs {minimum_rows}", counts.rows));
    }
    if counts.strong_wins == 0 {
        return refuse("strong is never strictly better: there is nothing to route for".to_owned());
    }
    if counts.strong_wins == counts.rows {
        return refuse("strong is always strictly better: there is no query that weak can keep".to_owned());
    }
    Ok(counts)
}

fn count(example: &Example, pair: &ModelPair, counts: &mut PairCounts) {
    let outcomes = &example.evidence.outcomes;
    let mut add = |order: std::cmp::Ordering| {
        counts.rows += 1;
        *match order {
            std::cmp::Ordering::Greater => &mut counts.strong_wins,
            std::cmp::Ordering::Equal => &mut counts.ties,
            std::cmp::Ordering::Less => &mut counts.weak_wins,
        } += 1;
    };
    if let (Some(strong), Some(weak)) = (outcomes.get(pair.strong()), outcomes.get(pair.weak())) {
        add(strong.total_cmp(weak));
    }
    for preference in &example.evidence.preferences {
        let forward = preference.model_a == *pair.strong() && preference.model_b == *pair.weak();
        let backward = preference.model_b == *pair.strong() && preference.model_a == *pair.weak();
        if forward || backward {
            add(match preference.winner {
                Winner::Tie | Winner::TieBothBad => std::cmp::Ordering::Equal,
                Winner::A if forward => std::cmp::Ordering::Greater,
                Winner::B if backward => std::cmp::Ordering::Greater,
                Winner::A | Winner::B => std::cmp::Ordering::Less,
            });
        }
    }
}

fn occurrences(examples: &[Example]) -> BTreeMap<&ModelName, usize> {
    let mut known: BTreeMap<&ModelName, usize> = BTreeMap::new();
    for example in examples {
        let preferred = example.evidence.preferences.iter().flat_map(|p| [&p.model_a, &p.model_b]);
        for model in example.evidence.outcomes.keys().chain(preferred) {
            *known.entry(model).or_default() += 1;
        }
    }
    known
}

fn ranked(known: &BTreeMap<&ModelName, usize>) -> String {
    let mut all: Vec<_> = known.iter().collect();
    all.sort_by_key(|(model, count)| (std::cmp::Reverse(**count), **model));
    all.iter().map(|(model, count)| format!("{model} ({count})")).collect::<Vec<_>>().join(", ")
}

/// Keeps the rows with the wanted tags: of each key (`role` in `role:train`) named in `only`, a row
/// must carry one of the tags; it must carry none of `without`.
pub fn select(mut examples: Vec<Example>, only: &[String], without: &[String]) -> Vec<Example> {
    let key = |tag: &str| tag.split(':').next().unwrap_or(tag).to_owned();
    let mut wanted: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for tag in only {
        wanted.entry(key(tag)).or_default().push(tag);
    }
    examples.retain(|example| {
        wanted.values().all(|tags| tags.iter().any(|tag| example.has_slice(tag)))
            && !without.iter().any(|tag| example.has_slice(tag))
    });
    examples
}

/// sha256 over queries and evidence, hex; the same whatever the order of rows, the format they came
/// in, how they were grouped, and whether answers were read.
pub fn fingerprint<'a>(examples: impl IntoIterator<Item = &'a Example>) -> String {
    digest(examples, false)
}

/// [`fingerprint`] over the answers too.
pub fn answer_fingerprint<'a>(examples: impl IntoIterator<Item = &'a Example>) -> String {
    digest(examples, true)
}

fn digest<'a>(examples: impl IntoIterator<Item = &'a Example>, answers: bool) -> String {
    let mut rows: Vec<[u8; 32]> = examples.into_iter().map(|example| row_digest(example, answers)).collect();
    rows.sort_unstable();
    let mut hasher = Sha256::new();
    for row in rows {
        hasher.update(row);
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn row_digest(example: &Example, answers: bool) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut field = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (role, text) in example.query.parts() {
        field(role.as_str());
        field(text);
    }
    for (model, score) in &example.evidence.outcomes {
        field(model.as_str());
        field(&format!("{score:?}"));
    }
    for (model, answer) in example.evidence.answers.iter().filter(|_| answers) {
        field(model.as_str());
        field(&answer.text);
        field(&format!("{:?}", answer.signals));
    }
    for preference in &example.evidence.preferences {
        field(preference.model_a.as_str());
        field(preference.model_b.as_str());
        field(&format!("{:?}", preference.winner));
    }
    field(&format!("{:?}", example.weight));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starter;

    fn pair(strong: &str, weak: &str) -> ModelPair {
        ModelPair::new(ModelName::new(strong).unwrap(), ModelName::new(weak).unwrap()).unwrap()
    }

    fn reason(examples: &[Example], pair: &ModelPair, rows: usize) -> String {
        check_pair(examples, pair, rows).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_taught_is_refused_with_the_reason() {
        let mut examples = starter::generate(300, 1);
        let known = pair("starter-large", "starter-small");
        let counts = check_pair(&examples, &known, 100).unwrap();
        assert_eq!(counts.rows, counts.strong_wins + counts.ties + counts.weak_wins);
        let text = reason(&examples, &pair("starter-large", "absent"), 100);
        assert!(text.contains("absent never occurs") && text.contains("starter-small (300)"), "{text}");
        assert!(reason(&examples, &known, 301).contains("300 rows compare the two, a fit needs 301"));
        for example in &mut examples {
            example.evidence.outcomes.insert(known.strong().clone(), 0.0);
        }
        assert!(reason(&examples, &known, 100).contains("never strictly better"));
    }

    #[test]
    fn tags_of_one_key_mean_either_and_other_keys_both() {
        let examples = starter::generate(500, 1);
        let tags = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let german = select(examples.clone(), &tags(&["language:de"]), &[]);
        let both = select(examples.clone(), &tags(&["language:de", "language:fr"]), &[]);
        let french = select(examples.clone(), &tags(&["language:fr"]), &[]);
        assert!(!german.is_empty() && both.len() == german.len() + french.len());
        assert_eq!(select(examples.clone(), &[], &tags(&["simulated"])), []);
        let none = select(examples, &tags(&["language:de", "family:nowhere"]), &[]);
        assert_eq!(none, []);
    }

    #[test]
    fn a_fingerprint_knows_content_not_order() {
        let mut examples = starter::generate(50, 1);
        let before = fingerprint(&examples);
        examples.reverse();
        examples[3].group = Some("elsewhere".into());
        assert_eq!(fingerprint(&examples), before);
        let whole = answer_fingerprint(&examples);
        let model = ModelName::new("starter-small").unwrap();
        examples[0].evidence.answers.insert(model, crate::Answer::default());
        assert_eq!(fingerprint(&examples), before, "the same data, read with its answers");
        assert_ne!(answer_fingerprint(&examples), whole);
        examples[0].weight = 2.0;
        assert_ne!(fingerprint(&examples), before);
    }
}
