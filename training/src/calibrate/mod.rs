//! Held-out scores → calibrators. A calibrator never sees a score of a row its classifier was
//! fitted on: scores come from the calibrate split, and, where that is small, also from
//! cross-fitting (methods section 2.3).

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

mod choose;

use artifact::{CalibrationRecord, PairCalibrator};
use burn::tensor::Device;
use calibration::{CalibrationError, PlattFit, PlattScaling, Sample};
use classifier::{Classifier, NetworkConfig};
use corpus::{Example, Winner};
use thiserror::Error;
use types::{ModelPair, Score, WinProbability};

pub use choose::{Calibration, ChooseError, Chosen};

use crate::fit::{FitConfig, FitError, Outcome, Prepared, Silent, fit};

/// Calibrate rows from which a held-out split alone is enough.
pub const ENOUGH_ROWS: usize = 1_000;

/// Whether fitting rows are scored by classifiers that did not see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossFit {
    /// Five folds when a pair has fewer than [`ENOUGH_ROWS`] calibrate rows.
    Auto,
    /// Only the calibrate split.
    Off,
    /// This many folds, at least 2.
    Folds(usize),
}

/// Why a pair could not be calibrated.
#[derive(Debug, Error)]
pub enum CalibrateError {
    /// The held-out rows of a pair do not carry a map.
    #[error("pair {pair}: {source}")]
    Pair {
        /// The pair.
        pair: ModelPair,
        /// Why not.
        source: ChooseError,
    },
    /// A cross-fitted classifier failed.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// What a row says about a pair: the scores of weak and of strong, in [0, 1]; `None` when it says nothing.
/// A preference is a point for the winner, a tie (good or bad) a point for both: weak suffices.
pub fn pair_scores(example: &Example, pair: &ModelPair) -> Option<(f64, f64)> {
    let outcomes = &example.evidence.outcomes;
    if let (Some(weak), Some(strong)) = (outcomes.get(pair.weak()), outcomes.get(pair.strong())) {
        return Some((*weak, *strong));
    }
    example.evidence.preferences.iter().find_map(|p| {
        let strong_first = &p.model_a == pair.strong() && &p.model_b == pair.weak();
        let weak_first = &p.model_a == pair.weak() && &p.model_b == pair.strong();
        if !strong_first && !weak_first {
            return None;
        }
        Some(match (p.winner, strong_first) {
            (Winner::A, true) | (Winner::B, false) => (0.0, 1.0),
            (Winner::A, false) | (Winner::B, true) => (1.0, 0.0),
            (Winner::Tie | Winner::TieBothBad, _) => (1.0, 1.0),
        })
    })
}

/// Whether strong was strictly better; `None` when the row says nothing about the pair.
pub fn label(example: &Example, pair: &ModelPair) -> Option<bool> {
    pair_scores(example, pair).map(|(weak, strong)| strong > weak)
}

/// Held-out scores of one pair with their labels and weights.
#[derive(Debug, Clone, Default)]
pub struct HeldOut {
    /// Raw win scores.
    pub scores: Vec<Score>,
    /// Whether strong was strictly better.
    pub labels: Vec<bool>,
    /// Sample weights.
    pub weights: Vec<f64>,
    /// Which example each score belongs to.
    pub rows: Vec<usize>,
}

impl HeldOut {
    /// Scores every row that says something about the pair; `vectors` of all examples where the classifier is
    /// of the deep tier.
    pub fn score(
        &mut self,
        classifier: &Classifier,
        vectors: Option<&[Vec<f32>]>,
        examples: &[Example],
        rows: &[usize],
        pair: &ModelPair,
    ) {
        let mut scratch = classifier.scratch();
        for row in rows {
            let example = &examples[*row];
            let Some(label) = label(example, pair) else { continue };
            match vectors {
                Some(vectors) => classifier.read_embedded(&example.query, &vectors[*row], &mut scratch),
                None => classifier.read(&example.query, &mut scratch),
            }
            if let Some(score) = classifier.win_score(&scratch, pair) {
                self.scores.push(score);
                self.labels.push(label);
                self.weights.push(example.weight);
                self.rows.push(*row);
            }
        }
    }

    /// A fold for each row, 0 to `folds - 1`; rows of one group share theirs.
    pub(crate) fn folds(&self, examples: &[Example], folds: usize, seed: u64) -> Vec<usize> {
        let by_fold = corpus::folds_by_group(&self.rows, examples, folds, seed);
        let fold_of: HashMap<usize, usize> = by_fold
            .iter()
            .enumerate()
            .flat_map(|(fold, rows)| rows.iter().map(move |r| (*r, fold)))
            .collect();
        self.rows.iter().map(|row| fold_of.get(row).copied().unwrap_or(0)).collect()
    }

    /// The calibrated probability of each row.
    pub fn probabilities(&self, calibrator: &PairCalibrator, examples: &[Example]) -> Vec<WinProbability> {
        let of = |(score, row): (&Score, &usize)| {
            let offset = calibrator.slices.of(examples[*row].slices.iter().map(String::as_str));
            calibrator.calibrator.apply(*score, offset).win_probability
        };
        self.scores.iter().zip(&self.rows).map(of).collect()
    }

    /// Fits Platt's map.
    ///
    /// # Errors
    /// When the rows do not carry one.
    pub fn platt(&self) -> Result<PlattFit, CalibrationError> {
        PlattScaling::fit(&Sample::new(&self.scores, &self.labels, Some(&self.weights))?)
    }
}

/// What cross-fitting needs beside the classifier.
#[derive(Debug, Clone, Copy)]
pub struct Fitting<'a> {
    /// All rows.
    pub examples: &'a [Example],
    /// Their targets.
    pub prepared: &'a Prepared,
    /// Rows the classifier was fitted on.
    pub fit_rows: &'a [usize],
    /// Rows it was stopped on.
    pub dev_rows: &'a [usize],
    /// Rows held out for calibration.
    pub calibrate_rows: &'a [usize],
    /// Its network.
    pub network: &'a NetworkConfig,
    /// How it was fitted.
    pub config: &'a FitConfig,
    /// Where it was fitted.
    pub device: &'a Device,
    /// What the calibrators will say of their origin.
    pub origin: &'a CalibrationRecord,
}

/// Held-out scores of each pair.
#[derive(Debug, Clone)]
pub struct Scored {
    /// By pair.
    pub held_out: Vec<HeldOut>,
    /// Folds of the cross-fit that gave some of them; 0: a held-out split alone.
    pub folds: usize,
}

impl Fitting<'_> {
    /// Scores of rows that the classifier, or the one that scored them, was not fitted on.
    ///
    /// # Errors
    /// When a cross-fit fails.
    pub fn held_out(
        &self,
        classifier: &Classifier,
        pairs: &[ModelPair],
        cross_fit: CrossFit,
        interrupt: &AtomicBool,
        say: &mut dyn FnMut(&str),
    ) -> Result<Scored, CalibrateError> {
        let mut held_out: Vec<HeldOut> = pairs.iter().map(|_| HeldOut::default()).collect();
        for (held_out, pair) in held_out.iter_mut().zip(pairs) {
            let vectors = self.prepared.embeddings.as_deref();
            held_out.score(classifier, vectors, self.examples, self.calibrate_rows, pair);
        }
        let scarce = held_out.iter().any(|h| h.scores.len() < ENOUGH_ROWS);
        let mut folds = match cross_fit {
            CrossFit::Folds(folds) => folds,
            CrossFit::Auto if scarce => 5,
            CrossFit::Auto | CrossFit::Off => 0,
        };
        if folds > 0 {
            let split_only = held_out.clone();
            if !self.cross_fit(folds, pairs, &mut held_out, interrupt, say)? {
                say("interrupted: calibrated on the held-out split alone");
                (held_out, folds) = (split_only, 0);
            }
        }
        Ok(Scored { held_out, folds })
    }

    /// Calibrates each pair on held-out scores.
    ///
    /// # Errors
    /// When a pair has too few held-out rows or one outcome only.
    pub fn calibrate(
        &self,
        scored: &Scored,
        pairs: &[ModelPair],
        calibration: &Calibration,
        say: &mut dyn FnMut(&str),
    ) -> Result<Vec<PairCalibrator>, CalibrateError> {
        let mut calibrators = Vec::with_capacity(pairs.len());
        for (pair, held_out) in pairs.iter().zip(&scored.held_out) {
            let chosen = calibration.fit(pair, held_out, self.examples, scored.folds, self.origin);
            let Chosen { pair: calibrator, inverted } =
                chosen.map_err(|source| CalibrateError::Pair { pair: pair.clone(), source })?;
            if inverted {
                say(&format!(
                    "{pair}: the score ranks backwards on held-out rows; it is calibrated to the base rate"
                ));
            }
            calibrators.push(calibrator);
        }
        Ok(calibrators)
    }

    /// Adds scores of the fitting rows, each by a classifier that did not see it; `false` when interrupted.
    fn cross_fit(
        &self,
        folds: usize,
        pairs: &[ModelPair],
        held_out: &mut [HeldOut],
        interrupt: &AtomicBool,
        say: &mut dyn FnMut(&str),
    ) -> Result<bool, CalibrateError> {
        let folds = corpus::folds_by_group(self.fit_rows, self.examples, folds, self.config.seed);
        for (i, fold) in folds.iter().enumerate() {
            say(&format!("cross-fitting for calibration, fold {} of {}", i + 1, folds.len()));
            let others: Vec<usize> = folds
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .flat_map(|(_, f)| f.iter().copied())
                .collect();
            let (classifier, report) = fit(
                self.prepared,
                &others,
                self.dev_rows,
                self.network,
                self.config,
                self.device,
                None,
                interrupt,
                &mut Silent,
            )?;
            if report.outcome == Outcome::Interrupted {
                return Ok(false);
            }
            for (held_out, pair) in held_out.iter_mut().zip(pairs) {
                held_out.score(&classifier, self.prepared.embeddings.as_deref(), self.examples, fold, pair);
            }
        }
        Ok(true)
    }
}
