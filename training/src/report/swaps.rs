//! The same probability on other pairs of the data: what is left of a ranking when the models are swapped.

use std::collections::BTreeMap;

use anyhow::Result;
use artifact::Interval;
use corpus::Example;
use evaluation::auroc;
use evaluation::bootstrap::percentile_intervals;
use evaluation::routing::full_sweep;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{ModelName, ModelPair};

use super::{Gap, LEVEL, Swap};
use crate::calibrate::pair_scores;
use crate::operating_point::Rows;

/// Pairs of the table at most, those with the most rows first.
const MOST_PAIRS: usize = 12;

/// Models whose pairs are looked at, those with the most rows first.
const MOST_MODELS: usize = 8;

/// Rows that a pair has at least.
const LEAST_ROWS: usize = 100;

const RESAMPLES: usize = 300;

/// Rows of one pair: probability, scores of weak and of strong, group.
#[derive(Default)]
struct PairRows<'a> {
    p: Vec<f64>,
    weak: Vec<f64>,
    strong: Vec<f64>,
    groups: Vec<&'a str>,
}

/// How the probability of `own` ranks the outcomes of other pairs, the model that is better on average as strong.
///
/// # Errors
/// When the bootstrap is undefined, which rows of two groups exclude.
pub fn pair_swaps(rows: &Rows, examples: &[Example], own: &ModelPair, seed: u64) -> Result<Vec<Swap>> {
    let mut answered: BTreeMap<&ModelName, usize> = BTreeMap::new();
    for model in rows.examples.iter().flat_map(|r| examples[*r].evidence.outcomes.keys()) {
        *answered.entry(model).or_default() += 1;
    }
    let mut models: Vec<(&ModelName, usize)> = answered.into_iter().collect();
    models.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    models.truncate(MOST_MODELS);
    let mut pairs: Vec<(ModelPair, usize)> = Vec::new();
    for (i, (a, _)) in models.iter().enumerate() {
        for (b, _) in &models[i + 1..] {
            let pair = ModelPair::new((*a).clone(), (*b).clone())?;
            pairs.extend(right_way_round(rows, examples, pair)?.filter(|(pair, _)| pair != own));
        }
    }
    pairs.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.to_string().cmp(&b.0.to_string())));
    pairs.truncate(MOST_PAIRS);
    let mut swaps = Vec::with_capacity(pairs.len());
    for (pair, _) in &pairs {
        // The rows of one pair at a time: those of all would not fit beside a million examples.
        swaps.extend(swap(pair, &PairRows::new(rows, examples, pair), seed)?);
    }
    Ok(swaps)
}

/// The pair with the model that is better on average as strong, and its number of rows; `None` when they are few.
fn right_way_round(rows: &Rows, examples: &[Example], pair: ModelPair) -> Result<Option<(ModelPair, usize)>> {
    let scores = rows.examples.iter().filter_map(|row| pair_scores(&examples[*row], &pair));
    let (n, ahead) = scores.fold((0, 0.0), |(n, ahead), (weak, strong)| (n + 1, ahead + strong - weak));
    if n < LEAST_ROWS {
        return Ok(None);
    }
    let right = if ahead < 0.0 { ModelPair::new(pair.weak().clone(), pair.strong().clone())? } else { pair };
    Ok(Some((right, n)))
}

impl<'a> PairRows<'a> {
    fn new(rows: &Rows, examples: &'a [Example], pair: &ModelPair) -> Self {
        let mut found = Self::default();
        for (row, p) in rows.examples.iter().zip(&rows.probabilities) {
            let example = &examples[*row];
            let Some((weak, strong)) = pair_scores(example, pair) else { continue };
            found.p.push(p.get());
            found.weak.push(weak);
            found.strong.push(strong);
            found.groups.push(example.group.as_deref().unwrap_or(&example.id));
        }
        found
    }
}

/// `None` where one outcome never happens, so that nothing can be ranked.
fn swap(pair: &ModelPair, rows: &PairRows<'_>, seed: u64) -> Result<Option<Swap>> {
    let figures = |sample: &[usize]| {
        let pick = |of: &[f64]| sample.iter().map(|r| of[*r]).collect::<Vec<f64>>();
        let (p, weak, strong) = (pick(&rows.p), pick(&rows.weak), pick(&rows.strong));
        let labels: Vec<bool> = strong.iter().zip(&weak).map(|(s, w)| s > w).collect();
        let gap = strong.iter().zip(&weak).map(|(s, w)| s - w).sum::<f64>() / p.len() as f64;
        // Where the gap is no gap APGR is undefined, and left out below.
        let apgr = full_sweep(&p, &weak, &strong).map_or(0.0, |c| c.apgr());
        [Some(gap), auroc(&p, &labels).ok(), Some(apgr)]
    };
    let all: Vec<usize> = (0..rows.p.len()).collect();
    let [Some(gap), Some(auroc), Some(apgr)] = figures(&all) else { return Ok(None) };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let intervals = percentile_intervals(&rows.groups, figures, RESAMPLES, LEVEL, &mut rng)?;
    let estimate = |value, i: usize| Interval { value, lower: intervals[i].lower, upper: intervals[i].upper };
    let (gap, auroc, apgr) = (estimate(gap, 0), estimate(auroc, 1), estimate(apgr, 2));
    let recoverable = Gap::new(f64::NAN, f64::NAN, gap).recoverable;
    let apgr = recoverable.then_some(apgr);
    Ok(Some(Swap { pair: pair.to_string(), rows: rows.p.len(), gap, auroc, apgr }))
}
