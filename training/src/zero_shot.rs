//! Ranking the outcomes of a pair the artifact has never met, on data nothing was fitted on: what a stranger can
//! expect before any label of his own. Rankings only: a probability would speak of another pair.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Interval, PairCalibrator, PairMetrics, ZeroShotMetrics};
use classifier::GeneralAxis;
use corpus::Example;
use evaluation::{EvaluationError, auroc, routing};
use features::{Extractor, Features};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::ModelPair;

use crate::calibrate::label;
use crate::measure::{estimate, prompt_length};
use crate::tiers::Tiers;

/// Figures by name, of one scorer.
pub type Figures = BTreeMap<String, Interval>;

/// The scorer that costs nothing.
pub const LENGTH: &str = "prompt_length";

/// Scores of every row, none of which saw its outcome: `classifier` is the probability for `scored_as`, `general`
/// the general axis where the artifact has one, `prompt_length` the baseline.
pub fn scores(
    (tiers, general): (Tiers<'_>, Option<&GeneralAxis>),
    scored_as: &PairCalibrator,
    examples: &[&Example],
) -> Vec<(&'static str, Vec<f64>)> {
    let mut scratch = tiers.scratch();
    let probability =
        |e: &&Example| tiers.read(e, scored_as, &mut scratch).map_or(f64::NAN, |tiered| tiered.deep.get());
    let mut all = vec![("classifier", examples.iter().map(probability).collect())];
    if let Some(axis) = general {
        let mut extractor = Extractor::new(tiers.classifier.config().features.clone());
        let mut features = Features::default();
        let place = |e: &&Example| {
            extractor.extract(&e.query, &mut features);
            f64::from(axis.read(&features))
        };
        all.push(("general", examples.iter().map(place).collect()));
    }
    all.push((LENGTH, examples.iter().map(|e| prompt_length(&e.query)).collect()));
    all
}

/// AUROC and, where the scores of both models are known on every row, APGR of each scorer, and how far it lies above
/// that of prompt length on the same resamples (`apgr_over_length`).
///
/// # Errors
/// When the rows hold one outcome only.
pub fn rank(
    scorers: &[(&'static str, Vec<f64>)],
    examples: &[&Example],
    pair: &ModelPair,
    seed: u64,
) -> Result<BTreeMap<&'static str, Figures>, EvaluationError> {
    let labels: Vec<bool> = examples.iter().map(|e| label(e, pair).unwrap_or(false)).collect();
    let groups: Vec<&str> = examples.iter().map(|e| e.group.as_deref().unwrap_or(&e.id)).collect();
    let outcome = |e: &Example, m| e.evidence.outcomes.get(m).copied();
    let quality: Vec<(f64, f64)> = examples
        .iter()
        .filter_map(|e| Some((outcome(e, pair.weak())?, outcome(e, pair.strong())?)))
        .collect();
    let apgr = |scores: &[f64], rows: &[usize]| {
        let (weak, strong): (Vec<f64>, Vec<f64>) =
            rows.iter().map(|r| quality.get(*r).copied()).collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let scores: Vec<f64> = rows.iter().map(|r| scores[*r]).collect();
        Some(routing::full_sweep(&scores, &weak, &strong).ok()?.apgr())
    };
    let lengths = scorers.iter().find(|(name, _)| *name == LENGTH).map(|(_, lengths)| lengths);
    let mut all = BTreeMap::new();
    for (name, scores) in scorers {
        auroc(scores, &labels)?;
        let ranked = |rows: &[usize]| {
            let pick = |r: &usize| (scores[*r], labels[*r]);
            let (scores, labels): (Vec<f64>, Vec<bool>) = rows.iter().map(pick).unzip();
            auroc(&scores, &labels).ok()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut figures = Figures::new();
        figures.extend(estimate(&groups, ranked, &mut rng)?.map(|f| ("auroc".to_owned(), f)));
        if quality.len() == examples.len() {
            let recovered = |rows: &[usize]| apgr(scores, rows);
            figures.extend(estimate(&groups, recovered, &mut rng)?.map(|f| ("apgr".to_owned(), f)));
        }
        if let Some(lengths) = lengths.filter(|_| quality.len() == examples.len() && *name != LENGTH) {
            let over = |rows: &[usize]| Some(apgr(scores, rows)? - apgr(lengths, rows)?);
            let over = estimate(&groups, over, &mut rng)?;
            figures.extend(over.map(|f| ("apgr_over_length".to_owned(), f)));
        }
        all.insert(*name, figures);
    }
    Ok(all)
}

/// Ranks a pair's outcomes over all rows, or by the values of the slice key `task` where there are some.
///
/// # Errors
/// When a slice holds one outcome only.
pub fn zero_shot(
    (tiers, general): (Tiers<'_>, Option<&GeneralAxis>),
    scored_as: &PairCalibrator,
    data: &str,
    examples: &[Example],
    pair: &ModelPair,
    seed: u64,
) -> Result<Vec<ZeroShotMetrics>, EvaluationError> {
    let rows: Vec<&Example> = examples.iter().filter(|e| label(e, pair).is_some()).collect();
    let tasks: BTreeSet<&str> =
        rows.iter().flat_map(|e| &e.slices).filter(|s| s.starts_with("task:")).map(String::as_str).collect();
    let mut all = Vec::new();
    for slice in if tasks.is_empty() { BTreeSet::from([""]) } else { tasks } {
        let of_slice: Vec<&Example> =
            rows.iter().filter(|e| slice.is_empty() || e.has_slice(slice)).copied().collect();
        let wins = of_slice.iter().filter(|e| label(e, pair) == Some(true)).count();
        let ranked = rank(&scores((tiers, general), scored_as, &of_slice), &of_slice, pair, seed)?;
        let scorers = ranked.into_iter().map(|(name, figures)| (name.to_owned(), figures)).collect();
        let (pair, rows) = (pair.to_string(), of_slice.len());
        let base_rate = wins as f64 / rows.max(1) as f64;
        let metrics = PairMetrics { pair, rows, base_rate, scorers };
        all.push(ZeroShotMetrics { data: format!("{data} {slice}").trim_end().to_owned(), metrics });
    }
    Ok(all)
}
