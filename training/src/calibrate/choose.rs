//! Which map for which rows: by cross-validated log loss among the methods that the number of rows
//! allows. And the corrections of slices on top of the map.

use std::collections::BTreeMap;

use artifact::{CalibrationRecord, PairCalibrator};
use calibration::numeric::logit;
use calibration::{CalibrationError, Calibrator, Method, Sample, SliceOffsets, SliceRow};
use corpus::Example;
use evaluation::{EvaluationError, log_loss};
use thiserror::Error;
use types::{ModelPair, Score};

use super::HeldOut;

/// Folds of the cross-validation that chooses a map.
const FOLDS: usize = 5;

/// How a map is chosen and what is corrected on top of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// This method, or the one that the rows speak for.
    pub method: Option<Method>,
    /// Keys of slices that get a correction of their own (`category` for `category:law`), or whole tags.
    pub slices: Vec<String>,
    /// Variance of the prior of a correction, in squared logits, above 0.
    pub tau_squared: f64,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for Calibration {
    /// The best method, no corrections, variance 1.
    fn default() -> Self {
        Self { method: None, slices: Vec::new(), tau_squared: 1.0, seed: 1 }
    }
}

/// Why held-out rows could not be turned into a calibrator.
#[derive(Debug, Error)]
pub enum ChooseError {
    /// The rows do not carry the map.
    #[error(transparent)]
    Map(#[from] CalibrationError),
    /// The log loss of a fold is undefined.
    #[error("cross-validating the map: {0}")]
    Measure(#[from] EvaluationError),
}

/// A pair's calibrator and whether the score ranked backwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The calibrator with what is behind it.
    pub pair: PairCalibrator,
    /// See [`calibration::Fit::inverted`].
    pub inverted: bool,
}

impl Calibration {
    /// Chooses and fits a calibrator for held-out rows of `examples`.
    ///
    /// # Errors
    /// When there are too few rows, one outcome only, or the method asked for finds no optimum.
    pub fn fit(
        &self,
        pair: &ModelPair,
        held_out: &HeldOut,
        examples: &[Example],
        cross_fit_folds: usize,
        origin: &CalibrationRecord,
    ) -> Result<Chosen, ChooseError> {
        let HeldOut { scores, labels, weights, .. } = held_out;
        let sample = Sample::new(scores, labels, Some(weights))?;
        let folds = held_out.folds(examples, FOLDS, self.seed);
        let mut log_losses = BTreeMap::new();
        let mut best: Option<(f64, Method)> = None;
        let tried = self.method.as_ref().map_or(Method::candidates(sample.len()), std::slice::from_ref);
        for method in tried {
            // Where one method alone is in question there is nothing to choose.
            if tried.len() == 1 {
                best = Some((f64::NAN, *method));
                break;
            }
            let Some(loss) = cross_validated(held_out, &folds, *method)? else { continue };
            log_losses.insert(method.as_str().to_owned(), loss);
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, *method));
            }
        }
        let method = best.map_or(Method::Platt, |(_, method)| method);
        let fit = Calibrator::fit(&sample, method)?;
        let slices = self.offsets(&fit.calibrator, held_out, examples, &folds);
        let pair = PairCalibrator {
            pair: pair.clone(),
            calibrator: fit.calibrator,
            slices,
            log_losses,
            rows: sample.len(),
            positives: sample.positives(),
            cross_fit_folds,
            origin: of_pair(origin, pair),
        };
        Ok(Chosen { pair, inverted: fit.inverted })
    }

    /// Whether a tag is one of those that get a correction.
    fn corrects(&self, tag: &str) -> bool {
        let key = tag.split_once(':').map_or(tag, |(key, _)| key);
        self.slices.iter().any(|asked| asked == tag || asked == key)
    }

    fn offsets(
        &self,
        calibrator: &Calibrator,
        held_out: &HeldOut,
        examples: &[Example],
        folds: &[usize],
    ) -> SliceOffsets {
        if self.slices.is_empty() {
            return SliceOffsets::default();
        }
        let tags: Vec<Vec<String>> = held_out
            .rows
            .iter()
            .map(|row| examples[*row].slices.iter().filter(|tag| self.corrects(tag)).cloned().collect())
            .collect();
        let row = |i: usize| SliceRow {
            logit: logit(calibrator.apply(held_out.scores[i], 0.0).win_probability.get()),
            label: held_out.labels[i],
            weight: held_out.weights[i],
            slices: &tags[i],
            held_out: folds[i] == 0,
        };
        let rows: Vec<SliceRow<'_>> = (0..tags.len()).map(row).filter(|r| r.logit.is_finite()).collect();
        SliceOffsets::fit(&rows, self.tau_squared)
    }
}

/// An origin with the backends of the pair's own models.
fn of_pair(origin: &CalibrationRecord, pair: &ModelPair) -> CalibrationRecord {
    let mut origin = origin.clone();
    origin.backends.retain(|model, _| [pair.strong(), pair.weak()].iter().any(|m| m.as_str() == model));
    origin
}

/// Mean log loss of rows whose fold the map did not see; `None` when it finds no optimum on some fold.
fn cross_validated(
    held_out: &HeldOut,
    folds: &[usize],
    method: Method,
) -> Result<Option<f64>, EvaluationError> {
    let (mut p, mut y) = (Vec::new(), Vec::new());
    for fold in 0..FOLDS {
        let of = |inside: bool| (0..folds.len()).filter(move |i| (folds[*i] == fold) == inside);
        let scores: Vec<Score> = of(false).map(|i| held_out.scores[i]).collect();
        let labels: Vec<bool> = of(false).map(|i| held_out.labels[i]).collect();
        let weights: Vec<f64> = of(false).map(|i| held_out.weights[i]).collect();
        let sample = Sample::new(&scores, &labels, Some(&weights));
        let Ok(fit) = sample.and_then(|sample| Calibrator::fit(&sample, method)) else { return Ok(None) };
        for i in of(true) {
            p.push(fit.calibrator.apply(held_out.scores[i], 0.0).win_probability.get());
            y.push(held_out.labels[i]);
        }
    }
    log_loss(&p, &y).map(Some)
}
