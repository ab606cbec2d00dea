//! What a classifier is worth on rows nothing was fitted on, beside what costs nothing:
//! the base rate and the length of the prompt.

use std::collections::BTreeMap;

use artifact::{Interval, PairCalibrator, PairMetrics};
use calibration::PlattScaling;
use corpus::Example;
use evaluation::bootstrap::percentile_interval;
use evaluation::{Summary, SummaryConfig, mean_absolute_error, routing};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{ModelPair, Query, Score};

use crate::calibrate::{HeldOut, label};
use crate::tiers::Tiers;

const RESAMPLES: usize = 1_000;
const LEVEL: f64 = 0.95;

/// Test rows of one pair with everything a figure needs.
#[derive(Debug, Default)]
pub struct Measured {
    /// Calibrated probabilities, of both tiers together where there are two.
    pub probabilities: Vec<f64>,
    /// The fast and the deep tier's own, where there are two.
    tiers: Vec<(f64, f64)>,
    /// Whether strong was strictly better.
    pub labels: Vec<bool>,
    groups: Vec<String>,
    lengths: Vec<f64>,
    /// Scores of weak and strong, where both are known.
    quality: Vec<(f64, f64)>,
    truth: Vec<f64>,
}

/// Length of a prompt in Unicode characters: the baseline every classifier must beat.
pub fn prompt_length(query: &Query) -> f64 {
    query.parts().map(|(_, text)| text.chars().count()).sum::<usize>() as f64
}

impl Measured {
    /// Scores and calibrates the rows that say something about the pair.
    pub fn new(
        tiers: Tiers<'_>,
        calibrator: &PairCalibrator,
        examples: &[Example],
        rows: &[usize],
        truth_pair: Option<&ModelPair>,
    ) -> Self {
        let pair = &calibrator.pair;
        let mut scratch = tiers.scratch();
        let mut measured = Self::default();
        for example in rows.iter().map(|r| &examples[*r]) {
            let Some(label) = label(example, pair) else { continue };
            let Some(tiered) = tiers.read(example, calibrator, &mut scratch) else { continue };
            measured.probabilities.push(tiered.held.get());
            if tiers.deep.is_some() {
                measured.tiers.push((tiered.fast.get(), tiered.deep.get()));
            }
            measured.labels.push(label);
            measured.groups.push(example.group.clone().unwrap_or_else(|| example.id.clone()));
            measured.lengths.push(prompt_length(&example.query));
            let outcomes = &example.evidence.outcomes;
            if let (Some(weak), Some(strong)) = (outcomes.get(pair.weak()), outcomes.get(pair.strong())) {
                measured.quality.push((*weak, *strong));
            }
            if truth_pair == Some(pair) {
                measured.truth.extend(example.true_win_probability);
            }
        }
        measured
    }

    /// Every figure of the pair. `length_map` calibrates `ln(1 + length)`, `base_rate` is that of
    /// the calibrate rows; both are fitted elsewhere.
    ///
    /// # Errors
    /// When a figure is undefined on these rows (none, or one outcome only).
    pub fn metrics(
        &self,
        pair: &ModelPair,
        length_map: Option<&PlattScaling>,
        base_rate: f64,
        seed: u64,
    ) -> Result<PairMetrics, evaluation::EvaluationError> {
        let mut scorers = BTreeMap::new();
        scorers.insert("classifier".to_owned(), self.figures(&self.probabilities, seed)?);
        if !self.tiers.is_empty() {
            let (fast, deep): (Vec<f64>, Vec<f64>) = self.tiers.iter().copied().unzip();
            scorers.insert("fast_tier".to_owned(), self.figures(&fast, seed)?);
            scorers.insert("deep_tier".to_owned(), self.figures(&deep, seed)?);
        }
        let constant = vec![base_rate; self.labels.len()];
        scorers.insert("base_rate".to_owned(), self.figures(&constant, seed)?);
        if let Some(map) = length_map {
            let p = |length: &f64| Score::new(length.ln_1p()).map_or(base_rate, |s| map.apply(s).get());
            let by_length: Vec<f64> = self.lengths.iter().map(p).collect();
            scorers.insert("prompt_length".to_owned(), self.figures(&by_length, seed)?);
        }
        let wins = self.labels.iter().filter(|y| **y).count();
        let base_rate = wins as f64 / self.labels.len().max(1) as f64;
        Ok(PairMetrics { pair: pair.to_string(), rows: self.labels.len(), base_rate, scorers })
    }

    fn figures(
        &self,
        p: &[f64],
        seed: u64,
    ) -> Result<BTreeMap<String, Interval>, evaluation::EvaluationError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = SummaryConfig { resamples: RESAMPLES, level: LEVEL, ..SummaryConfig::default() };
        let summary = Summary::compute(p, &self.labels, &self.groups, config, &mut rng)?;
        let stored = |e: evaluation::Estimate| Interval {
            value: e.value,
            lower: e.interval.lower,
            upper: e.interval.upper,
        };
        let mut figures = BTreeMap::from([
            ("brier".to_owned(), stored(summary.brier)),
            ("log_loss".to_owned(), stored(summary.log_loss)),
            ("ece".to_owned(), stored(summary.ece_equal_mass)),
            ("auroc".to_owned(), stored(summary.auroc)),
        ]);
        if self.quality.len() == p.len() {
            let apgr = |rows: &[usize]| self.apgr(p, rows);
            figures.extend(estimate(&self.groups, apgr, &mut rng)?.map(|f| ("apgr".to_owned(), f)));
        }
        if self.truth.len() == p.len() {
            let error = |rows: &[usize]| {
                let pick = |values: &[f64]| rows.iter().map(|r| values[*r]).collect::<Vec<_>>();
                mean_absolute_error(&pick(p), &pick(&self.truth)).ok()
            };
            figures.extend(estimate(&self.groups, error, &mut rng)?.map(|f| ("truth_mae".to_owned(), f)));
        }
        Ok(figures)
    }

    fn apgr(&self, p: &[f64], rows: &[usize]) -> Option<f64> {
        let scores: Vec<f64> = rows.iter().map(|r| p[*r]).collect();
        let (weak, strong): (Vec<f64>, Vec<f64>) = rows.iter().map(|r| self.quality[*r]).unzip();
        routing::full_sweep(&scores, &weak, &strong).ok().map(|curve| curve.apgr())
    }
}

/// A figure with its bootstrap interval by group. One that is undefined on the whole sample (no gap
/// to recover, preferences only) is left out, not made up.
pub(crate) fn estimate<G: Ord>(
    groups: &[G],
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
    rng: &mut ChaCha8Rng,
) -> Result<Option<Interval>, evaluation::EvaluationError> {
    let all: Vec<usize> = (0..groups.len()).collect();
    let Some(value) = statistic(&all) else { return Ok(None) };
    let interval = percentile_interval(groups, statistic, RESAMPLES, LEVEL, rng)?;
    Ok(Some(Interval { value, lower: interval.lower, upper: interval.upper }))
}

/// Calibrates prompt length as if it were a score, on the same rows as the classifier.
pub fn length_map(examples: &[Example], rows: &[usize], pair: &ModelPair) -> Option<PlattScaling> {
    let mut held_out = HeldOut::default();
    for row in rows {
        let example = &examples[*row];
        if let (Some(label), Ok(score)) =
            (label(example, pair), Score::new(prompt_length(&example.query).ln_1p()))
        {
            held_out.rows.push(*row);
            held_out.scores.push(score);
            held_out.labels.push(label);
            held_out.weights.push(example.weight);
        }
    }
    held_out.platt().ok().map(|fit| fit.map)
}
