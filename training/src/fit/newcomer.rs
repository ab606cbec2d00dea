//! A model that joins a fitted classifier: its abilities are fitted to its outcomes while the network stays as it
//! is. A few dozen outcomes carry two short vectors; they would not carry a network.

use std::cmp::Ordering;

use calibration::{CalibrationError, LogisticRow, Prior, fit_logistic};
use classifier::{Ability, Classifier};
use corpus::{Example, Winner};
use types::ModelName;

/// Least variance of an ability over the known models, in squared logits per unit of the latent vector: two
/// models that happen to agree must not hold a third one down.
const LEAST_VARIANCE: f64 = 0.05;

/// Variance of the prior of a bias, in squared logits: a base rate is learned from few rows.
const BIAS_VARIANCE: f64 = 4.0;

/// How often a model appears in rows: with an outcome, or in a comparison.
pub fn rows_about(model: &ModelName, examples: &[Example], rows: &[usize]) -> usize {
    let compared =
        |e: &Example| e.evidence.preferences.iter().any(|p| p.model_a == *model || p.model_b == *model);
    rows.iter()
        .filter(|r| examples[**r].evidence.outcomes.contains_key(model) || compared(&examples[**r]))
        .count()
}

/// Fits the abilities of `model` to the rows that say something about it: success from its scores, preference
/// from every comparison with a model that `classifier` knows, in both directions (Rao-Kupper, methods section
/// 1.2). The prior is normal around the mean of the known models, as wide as they differ.
///
/// # Errors
/// When numbers are of absurd size; the prior keeps every fit finite.
pub fn fit_newcomer(
    classifier: &Classifier,
    model: &ModelName,
    examples: &[Example],
    rows: &[usize],
) -> Result<Ability, CalibrationError> {
    let known: Vec<&Ability> = classifier.models().iter().filter_map(|m| classifier.ability(m)).collect();
    let (mut success, mut preference) = (Vec::new(), Vec::new());
    let mut scratch = classifier.scratch();
    for example in rows.iter().map(|r| &examples[*r]) {
        classifier.read(&example.query, &mut scratch);
        let latent = scratch.latent();
        let mut x: Vec<f64> = latent.iter().map(|z| f64::from(*z)).collect();
        x.push(1.0);
        if let Some(score) = example.evidence.outcomes.get(model) {
            success.push(LogisticRow { x: x.clone(), offset: 0.0, label: *score, weight: example.weight });
        }
        let met = comparisons(example, model, classifier);
        let weight = example.weight / (2 * met.len()).max(1) as f64;
        for (other, outcome) in met {
            let other = f64::from(other.strength(latent));
            let tie = f64::from(classifier.tie());
            let wins = |sign: f64, won: bool| LogisticRow {
                x: x.iter().map(|x| sign * x).collect(),
                offset: -sign * other - tie,
                label: f64::from(u8::from(won)),
                weight,
            };
            preference.push(wins(1.0, outcome == Ordering::Greater));
            preference.push(wins(-1.0, outcome == Ordering::Less));
        }
    }
    let (success, success_bias) = fitted(&success, &priors(&known, |a| (&a.success, a.success_bias)))?;
    let (preference, preference_bias) =
        fitted(&preference, &priors(&known, |a| (&a.preference, a.preference_bias)))?;
    Ok(Ability { success, success_bias, preference, preference_bias })
}

/// The known models that `model` is compared with in a row, and how it did.
fn comparisons<'a>(
    example: &Example,
    model: &ModelName,
    classifier: &'a Classifier,
) -> Vec<(&'a Ability, Ordering)> {
    let mut met = Vec::new();
    if let Some(own) = example.evidence.outcomes.get(model) {
        for (other, score) in &example.evidence.outcomes {
            met.extend(classifier.ability(other).map(|ability| (ability, own.total_cmp(score))));
        }
    }
    for preference in &example.evidence.preferences {
        let (other, first) = if preference.model_a == *model {
            (&preference.model_b, true)
        } else if preference.model_b == *model {
            (&preference.model_a, false)
        } else {
            continue;
        };
        let outcome = match (preference.winner, first) {
            (Winner::Tie | Winner::TieBothBad, _) => Ordering::Equal,
            (Winner::A, true) | (Winner::B, false) => Ordering::Greater,
            (Winner::A, false) | (Winner::B, true) => Ordering::Less,
        };
        met.extend(classifier.ability(other).map(|ability| (ability, outcome)));
    }
    met
}

/// One prior for each entry of a vector, then one for its bias.
fn priors(known: &[&Ability], of: impl Fn(&Ability) -> (&[f32], f32)) -> Vec<Prior> {
    let n = known.len().max(1) as f64;
    let latent = known.first().map_or(0, |a| of(a).0.len());
    let entry = |d: usize| {
        let values: Vec<f64> = known.iter().map(|a| f64::from(of(a).0[d])).collect();
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Prior { mean, precision: 1.0 / variance.max(LEAST_VARIANCE) }
    };
    let bias = known.iter().map(|a| f64::from(of(a).1)).sum::<f64>() / n;
    let bias = Prior { mean: bias, precision: 1.0 / BIAS_VARIANCE };
    (0..latent).map(entry).chain([bias]).collect()
}

fn fitted(rows: &[LogisticRow], priors: &[Prior]) -> Result<(Vec<f32>, f32), CalibrationError> {
    let mut found: Vec<f32> = fit_logistic(rows, priors)?.into_iter().map(|v| v as f32).collect();
    let bias = found.pop().unwrap_or_default();
    Ok((found, bias))
}
