//! Fits the general axis (`classifier::GeneralAxis`): what separates the stronger half of the models that answered a
//! query from the weaker half, beyond what its category does.
//!
//! Three choices make it travel to other models and other data (docs/experiments.md has what each is worth). The
//! target is a mean over many models, which a single pair's luck does not move. The mean of a row's category is
//! taken out of it: which subjects are hard is a matter of the models, what makes a question hard within its subject
//! is less so. And prompt length, which these data do not bear out and other data do, has as much say as all that was
//! learned: both are added in units of their standard deviation (unit weights: Dawes 1979, "The robust beauty of
//! improper linear models").

use std::collections::HashMap;

use classifier::{GeneralAxis, NgramTable};
use features::SURFACE_LEN;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::FitConfig;
use super::ridge::{Design, Penalties};
use super::start::Moments;
use super::targets::Prepared;

/// Penalty of n-grams.
const WIDE: f64 = 20.0;

/// Penalty of surface features.
const SURFACE: f64 = 100.0;

/// Position of `log_bytes` in the surface features.
const LENGTH: usize = 0;

/// Groups of categories that are scored by a regression which saw none of their rows.
const FOLDS: usize = 5;

/// Rows with two models' answers at least, to say anything in general.
const MINIMUM_ROWS: usize = 100;

/// Fits the axis on every row with scores of two models or more; `None` when fewer than 100 are, or these never differ.
pub(crate) fn fit_general(data: &Prepared, config: &FitConfig) -> Option<GeneralAxis> {
    let rows: Vec<usize> = (0..data.answers.len()).filter(|r| data.answers[*r].len() > 1).collect();
    if rows.len() < MINIMUM_ROWS {
        return None;
    }
    let categories: Vec<usize> = rows.iter().map(|r| data.category[*r]).collect();
    let within = |values: Vec<f64>| less_category_means(values, &categories);
    let targets = within(half_gaps(data, &rows));
    let ngrams = rows.iter().map(|r| data.features[*r].ngrams.as_slice());
    let ngrams = NgramTable::fit(ngrams, config.minimum_rows_per_ngram, config.most_ngrams);
    let moments = Moments::of(&rows, SURFACE_LEN, |r, j| data.features[r].surface[j]);
    let surface = |row: usize| moments.surface(&data.features[row]).collect();
    let penalties = Penalties { wide: WIDE, dense: vec![(SURFACE_LEN, SURFACE)] };
    let design = Design::new(data, &rows, &ngrams, surface, &penalties);
    let target = |i: usize| Some((targets[i], f64::from(data.weights[rows[i]])));

    let mut unseen = vec![0.0; rows.len()];
    for held in folds_of_categories(&categories, config.seed) {
        let others = (0..rows.len()).map(|i| target(i).filter(|_| !held[i])).collect::<Vec<_>>();
        let found = design.solve(&others);
        (0..rows.len()).filter(|i| held[*i]).for_each(|i| unseen[i] = design.read(i, &found));
    }
    let lengths = rows.iter().map(|r| f64::from(data.features[*r].surface[LENGTH])).collect();
    let (learned, length) = (deviation(&within(unseen)), deviation(&within(lengths)));
    if learned <= 0.0 || length <= 0.0 {
        return None;
    }
    let mut axis = design.solve(&(0..rows.len()).map(target).collect::<Vec<_>>());
    axis.scale(learned.recip());
    axis.dense[LENGTH] += (length * f64::from(moments.scale[LENGTH])).recip() as f32;
    let values = within((0..rows.len()).map(|i| design.read(i, &axis)).collect());
    axis.scale(deviation(&values).recip());
    let Moments { mean: surface_mean, scale: surface_scale } = moments;
    Some(GeneralAxis { ngrams, wide: axis.wide, surface_mean, surface_scale, surface: axis.dense })
}

/// Mean score of the stronger half of the models that answered less that of the weaker half, row by row.
fn half_gaps(data: &Prepared, rows: &[usize]) -> Vec<f64> {
    let strength = strengths(data, rows);
    let gap = |row: &usize| {
        let mut answers = data.answers[*row].clone();
        answers.sort_by(|a, b| strength[&a.0].total_cmp(&strength[&b.0]));
        let (weaker, stronger) = answers.split_at(answers.len() / 2);
        mean(stronger) - mean(weaker)
    };
    rows.iter().map(gap).collect()
}

fn mean(answers: &[(usize, f32)]) -> f64 {
    answers.iter().map(|(_, score)| f64::from(*score)).sum::<f64>() / answers.len().max(1) as f64
}

/// How far each model lies above the mean of those that answered the same rows.
fn strengths(data: &Prepared, rows: &[usize]) -> HashMap<usize, f64> {
    let mut sums: HashMap<usize, (f64, f64)> = HashMap::new();
    for row in rows {
        let usual = mean(&data.answers[*row]);
        for (model, score) in &data.answers[*row] {
            let (sum, n) = sums.entry(*model).or_default();
            *sum += f64::from(*score) - usual;
            *n += 1.0;
        }
    }
    sums.into_iter().map(|(model, (sum, n))| (model, sum / n)).collect()
}

fn less_category_means(mut values: Vec<f64>, categories: &[usize]) -> Vec<f64> {
    let mut sums: HashMap<usize, (f64, f64)> = HashMap::new();
    for (value, category) in values.iter().zip(categories) {
        let (sum, n) = sums.entry(*category).or_default();
        *sum += value;
        *n += 1.0;
    }
    for (value, category) in values.iter_mut().zip(categories) {
        let (sum, n) = sums[category];
        *value -= sum / n;
    }
    values
}

/// Which rows each fold holds: whole categories, drawn by the seed; single rows where all are of one category.
fn folds_of_categories(categories: &[usize], seed: u64) -> Vec<Vec<bool>> {
    let kinds = categories.iter().max().map_or(0, |most| most + 1);
    let one = categories.iter().all(|c| *c == categories[0]);
    let mut fold: Vec<usize> = (0..if one { categories.len() } else { kinds }).collect();
    fold.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let of = |i: usize| fold[if one { i } else { categories[i] }] % FOLDS;
    (0..FOLDS).map(|held| (0..categories.len()).map(|i| of(i) == held).collect()).collect()
}

/// Root mean square of values whose category means are zero.
fn deviation(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use corpus::{Evidence, Example};
    use features::{Extractor, FeatureConfig, Features};
    use rand::RngExt;
    use types::{ModelName, Query};

    use super::*;

    /// Rows of two categories, the second much harder; within each, a query that says "tangled" separates the models.
    fn examples(n: usize) -> Vec<Example> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let row = |i: usize| {
            let (hard, tangled) = (i.is_multiple_of(2), rng.random_bool(0.5));
            let mut words: Vec<String> = (0..6).map(|_| format!("w{}", rng.random_range(0..40))).collect();
            words.push((if hard { "proof" } else { "recipe" }).to_owned());
            words.push((if tangled { "tangled" } else { "plain" }).to_owned());
            let score = |strength: f64, rng: &mut ChaCha8Rng| {
                let p = if tangled { strength } else { 0.5 } - if hard { 0.3 } else { 0.0 };
                f64::from(u8::from(rng.random_bool(p)))
            };
            let outcomes = [("a", 0.4), ("b", 0.45), ("c", 0.9), ("d", 0.95)]
                .map(|(model, strength)| (ModelName::new(model).unwrap(), score(strength, &mut rng)));
            Example {
                id: i.to_string(),
                query: Query::text(words.join(" ")),
                evidence: Evidence { outcomes: BTreeMap::from(outcomes), ..Evidence::default() },
                weight: 1.0,
                slices: vec![(if hard { "category:maths" } else { "category:food" }).to_owned()],
                group: None,
                timestamp_us: None,
                fold: None,
                true_win_probability: None,
            }
        };
        (0..n).map(row).collect()
    }

    fn fitted(n: usize) -> Option<GeneralAxis> {
        let data = Prepared::new(&examples(n), &[], &[], &FeatureConfig::default(), 0.5);
        fit_general(&data, &FitConfig::default())
    }

    #[test]
    fn it_finds_what_separates_models_and_not_which_category_is_hard() {
        let axis = fitted(2_000).unwrap();
        let mut extractor = Extractor::new(FeatureConfig::default());
        let mut read = |text: &str| {
            let mut features = Features::default();
            extractor.extract(&Query::text(text), &mut features);
            axis.read(&features)
        };
        // Texts of one length each, so that length says nothing.
        let tangled = read("w1 w2 w3 recipe tangled") - read("w1 w2 w3 recipe plainly");
        let category = read("w1 w2 w3 tangled proofs") - read("w1 w2 w3 tangled recipe");
        assert!(tangled > 0.3, "{tangled}");
        assert!(category.abs() < tangled / 3.0, "{category} {tangled}");
        let longer = read("w1 w2 w3 w1 w2 w3 w1 w2 w3 recipe tangled") - read("w1 w2 w3 recipe tangled");
        assert!(longer > 0.0, "length has its say: {longer}");
    }

    #[test]
    fn a_unit_is_a_deviation_within_a_category() {
        let axis = fitted(2_000).unwrap();
        let data = Prepared::new(&examples(2_000), &[], &[], &FeatureConfig::default(), 0.5);
        let values = data.features.iter().map(|f| f64::from(axis.read(f))).collect();
        let spread = deviation(&less_category_means(values, &data.category));
        assert!((spread - 1.0).abs() < 0.02, "{spread}");
    }

    #[test]
    fn too_little_says_nothing() {
        assert!(fitted(60).is_none(), "few rows");
        let mut one: Vec<Example> = examples(300);
        one.iter_mut().for_each(|e| e.evidence.outcomes.retain(|m, _| m.as_str() == "a"));
        let data = Prepared::new(&one, &[], &[], &FeatureConfig::default(), 0.5);
        assert!(fit_general(&data, &FitConfig::default()).is_none(), "one model separates nothing");
    }

    #[test]
    fn folds_hold_whole_categories() {
        let categories: Vec<usize> = (0..100).map(|i| i % 12).collect();
        let folds = folds_of_categories(&categories, 1);
        for i in 0..100 {
            assert_eq!(folds.iter().filter(|held| held[i]).count(), 1, "each row once");
        }
        for held in &folds {
            for category in 0..12 {
                let of: Vec<bool> =
                    (0..100).filter(|i| categories[*i] == category).map(|i| held[i]).collect();
                assert!(of.iter().all(|h| *h == of[0]), "a category is held out as a whole");
            }
        }
    }
}
