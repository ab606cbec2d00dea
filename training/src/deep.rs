//! The deep tier in training: vectors of an encoder beside the features of the fast tier, both scores stacked and
//! calibrated as one, and the band around the fast probability inside which the encoder is worth its time.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use artifact::{DeepPair, DeepTier, TierChoice, read_encoder, stacked};
use calibration::{Band, LogisticRow, Prior, fit_logistic};
use classifier::NetworkConfig;
use corpus::Example;
use encoder::{Encoder, EncoderError, EncoderFiles, EncoderOptions, TunedOn, encoder_text};
use evaluation::Outcomes;
use evaluation::routing::full_sweep;
use policy::{Objective, goes_strong, select, straddles};
use types::{ModelPair, WinProbability};

use crate::calibrate::{CrossFit, Fitting, HeldOut, Scored, pair_scores};
use crate::fit::{Observer, Prepared, fit};
use crate::pipeline::{DEFAULT_STRONG_CALL_RATE, Plan};

/// Coverages of the band that are tried: from the fast tier alone to all but every query encoded.
const COVERAGES: [f64; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0];

/// The share of what the deep tier gains that the chosen coverage keeps.
const KEPT: f64 = 0.5;

/// Which encoder, and how often it is asked.
#[derive(Debug, Clone)]
pub struct DeepPlan {
    /// The checkpoint as it will be served: layers cut, rounded.
    pub files: EncoderFiles,
    /// sha256 of the weights it was made from.
    pub source: String,
    /// The coverage of the band; `None`: the least that keeps [`KEPT`] of the gain.
    pub coverage: Option<f64>,
    /// The labels the checkpoint was tuned on, if any.
    pub tuned_on: Option<TunedOn>,
    /// Whether the caller vouches that they are of none of the rows here.
    pub tuned_elsewhere: bool,
}

/// A deep tier as trained.
#[derive(Debug)]
pub struct TrainedDeep {
    /// The tier.
    pub tier: DeepTier,
    /// sha256 of the checkpoint.
    pub source: String,
    /// The coverage chosen.
    pub coverage: f64,
    /// What it was chosen among, by pair.
    pub choices: BTreeMap<String, Vec<TierChoice>>,
}

/// The encoder's vector of every example, computed on every core.
///
/// # Errors
/// When the tokenizer fails on a text.
pub fn embed(encoder: &Encoder, examples: &[Example]) -> Result<Vec<Vec<f32>>, EncoderError> {
    let texts: Vec<String> = examples.iter().map(|e| encoder_text(&e.query)).collect();
    encoder.embed_texts(&texts)
}

/// Fits the deep tier on the rows the fast tier was fitted on, and stacks and calibrates both on `fast`: the fast
/// tier's held-out scores.
///
/// # Errors
/// When the encoder is refused, or a fit or a calibration fails.
#[expect(clippy::too_many_arguments, reason = "a fit has that many independent inputs; each is one word")]
pub fn fit_deep(
    fitting: &Fitting<'_>,
    fast: &Scored,
    fast_probabilities: &[Vec<WinProbability>],
    plan: &Plan,
    deep: &DeepPlan,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
    say: &mut dyn FnMut(&str),
) -> Result<TrainedDeep> {
    let encoder = read_encoder(&deep.files, &EncoderOptions::default(), plan.backend.into())?;
    say(&format!("encoding {} rows: {}", fitting.examples.len(), encoder.describe()));
    let vectors = embed(&encoder, fitting.examples)?;
    let network = NetworkConfig { embedding: encoder.width(), ..plan.network.clone() };
    let prepared = Prepared { embeddings: Some(vectors), ..fitting.prepared.clone() };
    let fitting = Fitting { prepared: &prepared, network: &network, ..*fitting };
    let (classifier, report) = fit(
        &prepared,
        fitting.fit_rows,
        fitting.dev_rows,
        &network,
        &plan.fit,
        fitting.device,
        None,
        interrupt,
        observer,
    )?;
    say(&format!("deep tier: {} epochs, the best was {}", report.epochs, report.best_epoch));
    let cross_fit = if fast.folds > 0 { CrossFit::Folds(fast.folds) } else { CrossFit::Off };
    let scored = fitting.held_out(&classifier, &plan.pairs, cross_fit, interrupt, say)?;
    let mut read = Vec::with_capacity(plan.pairs.len());
    for ((pair, fast), deep) in plan.pairs.iter().zip(&fast.held_out).zip(&scored.held_out) {
        if fast.rows != deep.rows {
            bail!("{pair}: the tiers were not scored on the same rows; train again without interrupting");
        }
        read.push(Stacked::fit(pair, fast, deep, &fitting)?);
    }
    let stacked = read.iter().map(|s| s.out_of_fold.clone()).collect();
    let stacked = Scored { held_out: stacked, folds: scored.folds };
    let calibrators = fitting.calibrate(&stacked, &plan.pairs, &plan.calibration, say)?;
    let mut choices = BTreeMap::new();
    let mut tables = Vec::new();
    for ((calibrator, stacked), fast) in calibrators.iter().zip(&read).zip(fast_probabilities) {
        let deep = stacked.out_of_fold.probabilities(calibrator, fitting.examples);
        let rows = TierRows::new(&calibrator.pair, &stacked.out_of_fold, fitting.examples, fast, &deep);
        let table = COVERAGES.map(|coverage| rows.at(coverage)).into_iter().collect::<Result<Vec<_>>>()?;
        choices.insert(calibrator.pair.to_string(), table);
        tables.push(deep);
    }
    let of_default = plan.pairs.first().and_then(|pair| choices.get(&pair.to_string()));
    let coverage = match deep.coverage {
        Some(coverage) => coverage,
        None => choose(of_default.context("no pair to serve")?),
    };
    let pairs = calibrators.into_iter().zip(&read).zip(fast_probabilities.iter().zip(&tables));
    let pairs = pairs.map(|((calibrator, stacked), (fast, deep))| DeepPair {
        stack: stacked.weights,
        band: Band::fit(fast, deep, coverage),
        calibrator,
    });
    let tier = DeepTier::new(encoder, deep.files.clone(), classifier, pairs.collect());
    Ok(TrainedDeep { tier, source: deep.source.clone(), coverage, choices })
}

/// The weights of the two scores of a pair, and the stacked scores of rows the weights were not fitted on.
struct Stacked {
    weights: [f64; 2],
    out_of_fold: HeldOut,
}

const STACK_FOLDS: usize = 5;

impl Stacked {
    /// Logistic regression of the graded gain on both scores (Wolpert 1992, "Stacked generalization", section 2);
    /// scores for calibration come from weights of the other folds.
    fn fit(pair: &ModelPair, fast: &HeldOut, deep: &HeldOut, fitting: &Fitting<'_>) -> Result<Self> {
        let row = |i: usize| LogisticRow {
            x: vec![fast.scores[i].logit(), deep.scores[i].logit(), 1.0],
            offset: 0.0,
            label: gain(pair, &fitting.examples[fast.rows[i]], fitting.config.tie_value),
            weight: fast.weights[i],
        };
        let rows: Vec<LogisticRow> = (0..fast.rows.len()).map(row).collect();
        let weights = weights(&rows);
        let folds = fast.folds(fitting.examples, STACK_FOLDS, fitting.config.seed);
        let mut out_of_fold = fast.clone();
        for fold in 0..STACK_FOLDS {
            let others = rows.iter().zip(&folds).filter(|(_, f)| **f != fold).map(|(row, _)| row.clone());
            let of_others = self::weights(&others.collect::<Vec<_>>());
            for i in (0..rows.len()).filter(|i| folds[*i] == fold) {
                let score = stacked(of_others, fast.scores[i], deep.scores[i]);
                out_of_fold.scores[i] = score.with_context(|| format!("{pair}: a score is not finite"))?;
            }
        }
        Ok(Self { weights, out_of_fold })
    }
}

/// The weights of both scores; the deep one alone where the rows cannot tell, or would trust neither.
fn weights(rows: &[LogisticRow]) -> [f64; 2] {
    // A weak prior at the deep score alone keeps two scores that agree from cancelling each other.
    let prior = |mean| Prior { mean, precision: 1.0 };
    match fit_logistic(rows, &[prior(0.0), prior(1.0), Prior::FREE]).as_deref() {
        Ok([fast, deep, _]) if fast + deep > 0.0 => [*fast, *deep],
        _ => [0.0, 1.0],
    }
}

/// 1 when strong is strictly better, `tie_value` on a tie, 0 otherwise.
fn gain(pair: &ModelPair, example: &Example, tie_value: f64) -> f64 {
    match pair_scores(example, pair) {
        Some((weak, strong)) if strong > weak => 1.0,
        Some((weak, strong)) if strong < weak => 0.0,
        _ => tie_value,
    }
}

/// Rows of one pair with the probabilities of both tiers.
struct TierRows<'a> {
    weak: Vec<f64>,
    strong: Vec<f64>,
    fast: &'a [WinProbability],
    deep: &'a [WinProbability],
}

impl<'a> TierRows<'a> {
    fn new(
        pair: &ModelPair,
        held_out: &HeldOut,
        examples: &[Example],
        fast: &'a [WinProbability],
        deep: &'a [WinProbability],
    ) -> Self {
        let scores = held_out.rows.iter().map(|r| pair_scores(&examples[*r], pair).unwrap_or((1.0, 1.0)));
        let (weak, strong) = scores.unzip();
        Self { weak, strong, fast, deep }
    }

    /// What a coverage costs and gives at the default strong-call rate.
    fn at(&self, coverage: f64) -> Result<TierChoice> {
        let band = Band::fit(self.fast, self.deep, coverage);
        let held: Vec<WinProbability> =
            self.fast.iter().zip(self.deep).map(|(fast, deep)| band.hold(*fast, *deep)).collect();
        let outcomes = Outcomes { weak: &self.weak, strong: &self.strong, costs: None };
        let chosen = select(&Objective::StrongCallRate(DEFAULT_STRONG_CALL_RATE), &held, &outcomes)?;
        let threshold = chosen.threshold.high();
        let n = held.len().max(1) as f64;
        let asked = self.fast.iter().filter(|fast| straddles(band.around(**fast), threshold)).count();
        let quality: f64 = (0..held.len())
            .map(|i| if goes_strong(held[i], threshold) { self.strong[i] } else { self.weak[i] })
            .sum();
        let scores: Vec<f64> = held.iter().map(|p| p.get()).collect();
        let apgr = full_sweep(&scores, &self.weak, &self.strong).ok().map(|curve| curve.apgr());
        Ok(TierChoice { coverage, deep_share: asked as f64 / n, quality: quality / n, apgr })
    }
}

/// The least coverage that keeps [`KEPT`] of what the widest gains over the fast tier alone.
fn choose(choices: &[TierChoice]) -> f64 {
    let figure = |choice: &TierChoice| choice.apgr.unwrap_or(choice.quality);
    let (Some(fast), Some(deep)) = (choices.first().map(figure), choices.last().map(figure)) else {
        return 0.0;
    };
    if deep <= fast {
        return 0.0;
    }
    let enough = fast + KEPT * (deep - fast);
    choices.iter().find(|choice| figure(choice) >= enough).map_or(1.0, |choice| choice.coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(coverage: f64, apgr: f64) -> TierChoice {
        TierChoice { coverage, deep_share: coverage, quality: 0.5, apgr: Some(apgr) }
    }

    #[test]
    fn the_least_coverage_that_keeps_the_gain_is_chosen() {
        let curve = [choice(0.0, 0.60), choice(0.3, 0.68), choice(0.6, 0.695), choice(1.0, 0.70)];
        assert_eq!(choose(&curve), 0.3);
        assert_eq!(
            choose(&[choice(0.0, 0.6), choice(1.0, 0.59)]),
            0.0,
            "a tier that gains nothing is not asked"
        );
    }

    #[test]
    fn two_scores_that_agree_do_not_cancel() {
        let row = |x: f64, label| LogisticRow { x: vec![x, x, 1.0], offset: 0.0, label, weight: 1.0 };
        let rows: Vec<LogisticRow> =
            (0..40).map(|i| row(f64::from(i % 7) - 3.0, f64::from(u8::from(i % 7 > 2)))).collect();
        let [fast, deep] = weights(&rows);
        assert!(fast + deep > 0.0 && deep > 0.0, "{fast} {deep}");
        assert_eq!(weights(&[]), [0.0, 1.0]);
    }
}
