//! Scores of answers by verifiers that never saw their query, and the calibrators fitted to them. Folds go by group of
//! near-duplicate queries; a calibrator that gives a measured probability has not seen its fold either.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use artifact::AnswerCalibrator;
use calibration::{Calibrator, Method, Sample};
use classifier::WideScratch;
use corpus::Example;
use evaluation::log_loss;
use features::FeatureConfig;
use types::{ModelName, Score, SuccessProbability};

use super::answers::Answers;
use super::fit::{VerifierConfig, View, fit_verifier};

/// From this quality on an answer counts as acceptable.
pub const ACCEPTABLE: f64 = 0.5;

/// Answers of one model from which it gets a calibrator of its own.
const LEAST_OF_A_MODEL: usize = 300;

/// A score for every answer, by a verifier that did not see its query.
#[derive(Debug, Clone)]
pub struct HeldOutAnswers {
    /// By row of the answers.
    pub scores: Vec<Score>,
    /// Whether each is acceptable.
    pub acceptable: Vec<bool>,
    /// The fold of each.
    pub folds: Vec<usize>,
    /// How many folds there are.
    pub fold_count: usize,
}

impl HeldOutAnswers {
    /// Cross-fits a view.
    ///
    /// # Errors
    /// When there are too few groups for two folds.
    pub fn cross_fit(
        examples: &[Example],
        answers: &Answers,
        config: &VerifierConfig,
        features: &FeatureConfig,
        view: View,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let all: Vec<usize> = (0..examples.len()).collect();
        let by_fold = corpus::folds_by_group(&all, examples, config.folds, config.seed);
        anyhow::ensure!(by_fold.len() >= 2, "cross-fitting needs queries of at least two groups");
        let mut fold_of_example = vec![0; examples.len()];
        for (fold, rows) in by_fold.iter().enumerate() {
            rows.iter().for_each(|row| fold_of_example[*row] = fold);
        }
        let folds: Vec<usize> = answers.rows.iter().map(|row| fold_of_example[row.example]).collect();
        let mut scores = vec![0.0; answers.rows.len()];
        for fold in 0..by_fold.len() {
            say(&format!("{}: fold {} of {}", view.as_str(), fold + 1, by_fold.len()));
            let (inside, outside): (Vec<usize>, Vec<usize>) =
                (0..answers.rows.len()).partition(|row| folds[*row] == fold);
            let verifier = fit_verifier(answers, &outside, config, features, view);
            let mut wide = WideScratch::default();
            for row in inside {
                scores[row] = verifier.score_read(&answers.read_of(&answers.rows[row]), &mut wide);
            }
        }
        let scores = scores.into_iter().map(Score::new).collect::<Result<Vec<_>, _>>()?;
        let acceptable = answers.rows.iter().map(|row| row.quality >= ACCEPTABLE).collect();
        Ok(Self { scores, acceptable, folds, fold_count: by_fold.len() })
    }

    /// The calibrators of the artifact: of all answers, and of each model that has enough.
    ///
    /// # Errors
    /// When all answers together carry no map.
    pub fn calibrators(
        &self,
        answers: &Answers,
    ) -> Result<(AnswerCalibrator, BTreeMap<ModelName, AnswerCalibrator>)> {
        let all: Vec<usize> = (0..self.scores.len()).collect();
        let pooled = self.calibrator(&all).context("calibrating the answers of all models")?;
        let mut by_model = BTreeMap::new();
        for (column, model) in answers.models.iter().enumerate() {
            let rows: Vec<usize> =
                all.iter().copied().filter(|row| answers.rows[*row].model == column).collect();
            if rows.len() < LEAST_OF_A_MODEL {
                continue;
            }
            // A model that is always right, or whose score ranks backwards, is read as the others are.
            if let Ok(own) = self.calibrator(&rows) {
                by_model.insert(model.clone(), own);
            }
        }
        Ok((pooled, by_model))
    }

    /// A success probability for every answer, by calibrators that did not see its fold.
    ///
    /// # Errors
    /// When the other folds carry no map.
    pub fn probabilities(&self, answers: &Answers) -> Result<Vec<SuccessProbability>> {
        let mut found = vec![SuccessProbability::saturating(f64::NAN); self.scores.len()];
        for fold in 0..self.fold_count {
            let outside: Vec<usize> = (0..self.scores.len()).filter(|row| self.folds[*row] != fold).collect();
            let pooled = self.map(&outside, Method::Platt).context("calibrating the other folds")?;
            for column in 0..answers.models.len() {
                let of_model = |row: &usize| answers.rows[*row].model == column;
                let rows: Vec<usize> = outside.iter().copied().filter(of_model).collect();
                let own = (rows.len() >= LEAST_OF_A_MODEL).then(|| self.calibrator(&rows).ok()).flatten();
                let map = own.as_ref().map_or(&pooled, |own| &own.calibrator);
                for row in (0..self.scores.len()).filter(|row| self.folds[*row] == fold && of_model(row)) {
                    let probability = map.apply(self.scores[row], 0.0).win_probability.get();
                    found[row] = SuccessProbability::saturating(probability);
                }
            }
        }
        Ok(found)
    }

    fn sample(&self, rows: &[usize]) -> Result<Sample> {
        let scores: Vec<Score> = rows.iter().map(|row| self.scores[*row]).collect();
        let labels: Vec<bool> = rows.iter().map(|row| self.acceptable[*row]).collect();
        Ok(Sample::new(&scores, &labels, None)?)
    }

    fn map(&self, rows: &[usize], method: Method) -> Result<Calibrator> {
        let fit = Calibrator::fit(&self.sample(rows)?, method)?;
        anyhow::ensure!(!fit.inverted, "the score ranks backwards");
        Ok(fit.calibrator)
    }

    /// The method with the least log loss on folds it did not see, among those that the number of rows allows.
    fn calibrator(&self, rows: &[usize]) -> Result<AnswerCalibrator> {
        let sample = self.sample(rows)?;
        let mut log_losses = BTreeMap::new();
        let mut best: Option<(f64, Method)> = None;
        // Isotonic maps are steps: thresholds on them cannot be chosen between two steps.
        let smooth = |method: &&Method| matches!(method, Method::Platt | Method::Beta);
        for method in Method::candidates(sample.len()).iter().filter(smooth) {
            let Ok(loss) = self.cross_validated(rows, *method) else { continue };
            log_losses.insert(method.as_str().to_owned(), loss);
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, *method));
            }
        }
        let calibrator = self.map(rows, best.map_or(Method::Platt, |(_, method)| method))?;
        Ok(AnswerCalibrator { calibrator, log_losses, rows: sample.len(), positives: sample.positives() })
    }

    fn cross_validated(&self, rows: &[usize], method: Method) -> Result<f64> {
        let (mut p, mut y) = (Vec::new(), Vec::new());
        for fold in 0..self.fold_count {
            let (inside, outside): (Vec<usize>, Vec<usize>) =
                rows.iter().partition(|row| self.folds[**row] == fold);
            if inside.is_empty() {
                continue;
            }
            let map = self.map(&outside, method)?;
            for row in inside {
                p.push(map.apply(self.scores[row], 0.0).win_probability.get());
                y.push(self.acceptable[row]);
            }
        }
        Ok(log_loss(&p, &y)?)
    }
}
