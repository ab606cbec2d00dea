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
/// 1.2). The prior of its success is normal around the mean of the known models, as wide as they differ. The prior of
/// its preference lies where a model of its success rate is expected among them: whom it beats on which queries is
/// mostly a matter of how good it is.
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
    let of_success: Vec<Vec<f64>> = known.iter().map(|a| column(&a.success, a.success_bias)).collect();
    let (found, success_bias) = fitted(&success, &priors(&of_success, None))?;
    let level = (!success.is_empty()).then_some(f64::from(success_bias));
    let levels: Vec<f64> = known.iter().map(|a| f64::from(a.success_bias)).collect();
    let of_preference: Vec<Vec<f64>> =
        known.iter().map(|a| column(&a.preference, a.preference_bias)).collect();
    let priors = priors(&of_preference, level.map(|level| (levels.as_slice(), level)));
    let (preference, preference_bias) = fitted(&preference, &priors)?;
    Ok(Ability { success: found, success_bias, preference, preference_bias })
}

/// A vector with its bias as the last entry.
fn column(vector: &[f32], bias: f32) -> Vec<f64> {
    vector.iter().chain([&bias]).map(|v| f64::from(*v)).collect()
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

/// One prior for each entry of the known models' vectors, the last of which is a bias: their mean, or with their
/// levels and the newcomer's, what a regression on the level expects.
fn priors(known: &[Vec<f64>], levels: Option<(&[f64], f64)>) -> Vec<Prior> {
    let entries = known.first().map_or(0, Vec::len);
    let entry = |d: usize| {
        let values: Vec<f64> = known.iter().map(|vector| vector[d]).collect();
        let (mean, variance) = expected(&values, levels);
        let variance = if d + 1 == entries { BIAS_VARIANCE } else { variance.max(LEAST_VARIANCE) };
        Prior { mean, precision: 1.0 / variance }
    };
    (0..entries).map(entry).collect()
}

/// Mean and variance of a value for a model of some level, given those of known models: the regression of value on
/// level, read within the known levels, since nobody knows what lies beyond the best of them.
fn expected(values: &[f64], levels: Option<(&[f64], f64)>) -> (f64, f64) {
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mean = mean_of(values);
    let unknown = (vec![0.0; values.len()], 0.0);
    let (levels, level) = levels.map_or(unknown, |(levels, level)| {
        let usual = mean_of(levels);
        let lowest = levels.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (levels.iter().map(|l| l - usual).collect(), level.max(lowest).min(highest) - usual)
    });
    let spread: f64 = levels.iter().map(|l| l * l).sum();
    let together: f64 = levels.iter().zip(values).map(|(l, v)| l * (v - mean)).sum();
    let slope = if spread > 0.0 { together / spread } else { 0.0 };
    let residuals: Vec<f64> =
        levels.iter().zip(values).map(|(l, v)| (v - mean - slope * l).powi(2)).collect();
    (mean + slope * level, mean_of(&residuals))
}

fn fitted(rows: &[LogisticRow], priors: &[Prior]) -> Result<(Vec<f32>, f32), CalibrationError> {
    let mut found: Vec<f32> = fit_logistic(rows, priors)?.into_iter().map(|v| v as f32).collect();
    let bias = found.pop().unwrap_or_default();
    Ok((found, bias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_level_the_mean_is_expected() {
        assert_eq!(expected(&[1.0, 3.0], None), (2.0, 1.0));
        assert_eq!(expected(&[], None), (0.0, 0.0));
    }

    #[test]
    fn a_level_moves_the_expectation_and_is_held_within_the_known_ones() {
        let (levels, values) = ([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]);
        let at = |level| expected(&values, Some((&levels, level)));
        assert_eq!(at(1.5), (4.0, 0.0), "on the line, nothing is left to chance");
        assert_eq!(at(9.0).0, 5.0, "as the best that is known");
        assert_eq!(at(-9.0).0, 1.0);
        let (mean, variance) = expected(&[1.0, 3.0], Some((&[0.5, 0.5], 0.7)));
        assert_eq!((mean, variance), (2.0, 1.0), "levels that do not differ say nothing");
    }
}
