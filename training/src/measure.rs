//! What a classifier is worth on rows nothing was fitted on, beside what costs nothing:
//! the base rate and the length of the prompt.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Interval, PairCalibrator, PairMetrics, ZeroShotMetrics};
use calibration::PlattScaling;
use corpus::Example;
use evaluation::bootstrap::percentile_interval;
use evaluation::{Summary, SummaryConfig, auroc, mean_absolute_error, routing};
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

/// AUROC and, where both outcomes of every row are known, APGR of scores that need not be
/// probabilities, with bootstrap intervals by group.
///
/// # Errors
/// When the rows hold one outcome only.
pub fn ranking(
    scores: &[f64],
    examples: &[&Example],
    pair: &ModelPair,
    seed: u64,
) -> Result<BTreeMap<String, Interval>, evaluation::EvaluationError> {
    let labels: Vec<bool> = examples.iter().map(|e| label(e, pair).unwrap_or(false)).collect();
    let groups: Vec<&str> = examples.iter().map(|e| e.group.as_deref().unwrap_or(&e.id)).collect();
    let outcome = |e: &Example, m| e.evidence.outcomes.get(m).copied();
    let quality: Option<Vec<(f64, f64)>> =
        examples.iter().map(|e| Some((outcome(e, pair.weak())?, outcome(e, pair.strong())?))).collect();
    let pick = |rows: &[usize]| rows.iter().map(|r| scores[*r]).collect::<Vec<_>>();
    let ranked =
        |rows: &[usize]| auroc(&pick(rows), &rows.iter().map(|r| labels[*r]).collect::<Vec<_>>()).ok();
    let recovered = |rows: &[usize]| {
        let (weak, strong): (Vec<f64>, Vec<f64>) = rows
            .iter()
            .map(|r| quality.as_ref().map(|q| q[*r]))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .unzip();
        Some(routing::full_sweep(&pick(rows), &weak, &strong).ok()?.apgr())
    };
    auroc(scores, &labels)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut figures = BTreeMap::new();
    figures.extend(estimate(&groups, ranked, &mut rng)?.map(|f| ("auroc".to_owned(), f)));
    figures.extend(estimate(&groups, recovered, &mut rng)?.map(|f| ("apgr".to_owned(), f)));
    Ok(figures)
}

/// A figure with its bootstrap interval by group. One that is undefined on the whole sample (no gap
/// to recover, preferences only) is left out, not made up.
fn estimate<G: Ord>(
    groups: &[G],
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
    rng: &mut ChaCha8Rng,
) -> Result<Option<Interval>, evaluation::EvaluationError> {
    let all: Vec<usize> = (0..groups.len()).collect();
    let Some(value) = statistic(&all) else { return Ok(None) };
    let interval = percentile_interval(groups, statistic, RESAMPLES, LEVEL, rng)?;
    Ok(Some(Interval { value, lower: interval.lower, upper: interval.upper }))
}

/// Ranks the outcomes of a pair the classifier does not know by its probability for `scored_as`,
/// over all rows and by the values of the slice key `task`.
///
/// # Errors
/// When a slice holds one outcome only.
pub fn zero_shot(
    tiers: Tiers<'_>,
    scored_as: &PairCalibrator,
    data: &str,
    examples: &[Example],
    pair: &ModelPair,
    seed: u64,
) -> Result<Vec<ZeroShotMetrics>, evaluation::EvaluationError> {
    let mut scratch = tiers.scratch();
    let mut score =
        |e: &Example| tiers.read(e, scored_as, &mut scratch).map_or(f64::NAN, |tiered| tiered.deep.get());
    let rows: Vec<(&Example, f64)> =
        examples.iter().filter(|e| label(e, pair).is_some()).map(|e| (e, score(e))).collect();
    let tasks: BTreeSet<&str> = rows
        .iter()
        .flat_map(|(e, _)| &e.slices)
        .filter(|s| s.starts_with("task:"))
        .map(String::as_str)
        .collect();
    let mut all = Vec::new();
    for slice in if tasks.is_empty() { BTreeSet::from([""]) } else { tasks } {
        let (of_slice, scores): (Vec<&Example>, Vec<f64>) =
            rows.iter().filter(|(e, _)| slice.is_empty() || e.has_slice(slice)).copied().unzip();
        let lengths: Vec<f64> = of_slice.iter().map(|e| prompt_length(&e.query)).collect();
        let wins = of_slice.iter().filter(|e| label(e, pair) == Some(true)).count();
        let scorers = BTreeMap::from([
            ("classifier".to_owned(), ranking(&scores, &of_slice, pair, seed)?),
            ("prompt_length".to_owned(), ranking(&lengths, &of_slice, pair, seed)?),
        ]);
        let (pair, rows) = (pair.to_string(), of_slice.len());
        let base_rate = wins as f64 / rows.max(1) as f64;
        let metrics = PairMetrics { pair, rows, base_rate, scorers };
        all.push(ZeroShotMetrics { data: format!("{data} {slice}").trim_end().to_owned(), metrics });
    }
    Ok(all)
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
