//! Fitting a verifier: one ridge regression of graded outcomes on n-grams of query and answer, dense features in common,
//! and what each model adds to them. The same regression with fewer features gives the baselines.

use classifier::{NgramTable, Standard, UsualLengths, VERIFIER_DENSE_LEN, Verifier, WideWeights};
use features::{FeatureConfig, Features, SURFACE_LEN};
use serde::{Deserialize, Serialize};

use super::answers::{Answers, Row};
use crate::fit::{Design, LOGITS, Moments};

/// Answers of a task and model from which their own usual length is taken.
const LEAST_ANSWERS: usize = 30;

/// How a verifier is fitted; saved in its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierConfig {
    /// Penalty of n-grams of the query, beside the sum of squares.
    pub ridge_query: f64,
    /// Of n-grams of the answer.
    pub ridge_answer: f64,
    /// Of dense features.
    pub ridge_dense: f64,
    /// Of what a model adds to them.
    pub ridge_model: f64,
    /// N-grams that fewer texts hold are left out.
    pub least_texts_per_ngram: u32,
    /// The most n-grams of the query, and of the answer.
    pub most_ngrams: usize,
    /// Folds of the cross-fit.
    pub folds: usize,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            ridge_query: 60.0,
            ridge_answer: 60.0,
            ridge_dense: 100.0,
            ridge_model: 300.0,
            least_texts_per_ngram: 5,
            most_ngrams: 1 << 15,
            folds: 5,
            seed: 7,
        }
    }
}

/// What a scorer may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Query, answer and signals.
    Whole,
    /// The query and whose answer it is.
    QueryOnly,
    /// How long the answer is, and whose.
    Length,
}

impl View {
    /// Every view, the verifier's first.
    pub const ALL: [Self; 3] = [Self::Whole, Self::QueryOnly, Self::Length];

    /// The name of the scorer in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "verifier",
            Self::QueryOnly => "query_only",
            Self::Length => "answer_length",
        }
    }

    fn reads(self, feature: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::QueryOnly => feature < SURFACE_LEN,
            // The first surface feature of the answer is its length, the last dense one how unusual that is.
            Self::Length => feature == SURFACE_LEN || feature == VERIFIER_DENSE_LEN - 1,
        }
    }

    fn reads_query_ngrams(self) -> bool {
        self != Self::Length
    }

    fn reads_answer_ngrams(self) -> bool {
        self == Self::Whole
    }
}

/// Fits a verifier that sees `view` of some rows.
pub fn fit_verifier(
    answers: &Answers,
    rows: &[usize],
    config: &VerifierConfig,
    features: &FeatureConfig,
    view: View,
) -> Verifier {
    let lengths = usual_lengths(answers, rows);
    let mut verifier = unfitted(answers, rows, config, features, view, lengths);
    let (queries, texts) = (verifier.query.ngrams.len(), verifier.answer.ngrams.len());
    let per_model = VERIFIER_DENSE_LEN + 1;
    let mut design = Design::empty(
        &[
            (queries, config.ridge_query),
            (texts, config.ridge_answer),
            (answers.models.len() * per_model, config.ridge_model),
        ],
        &[(VERIFIER_DENSE_LEN, config.ridge_dense)],
    );
    for row in rows.iter().map(|row| &answers.rows[*row]) {
        let dense = standard_dense(&verifier, answers, row);
        let mut sparse = Vec::new();
        weigh(&verifier.query.ngrams, &answers.queries[row.example], 0, &mut sparse);
        weigh(&verifier.answer.ngrams, &row.answer, queries, &mut sparse);
        let own = dense.iter().copied().chain([1.0]).enumerate().filter(|(_, x)| *x != 0.0);
        let first = queries + texts + row.model * per_model;
        sparse.extend(own.map(|(i, x)| ((first + i) as u32, x)));
        design.push(sparse.into_iter(), dense);
    }
    let targets: Vec<Option<(f64, f64)>> =
        rows.iter().map(|row| &answers.rows[*row]).map(|row| Some((row.quality, row.weight))).collect();
    let found = design.solve(&targets);
    let scaled = |weights: &[f32]| -> Vec<f32> { weights.iter().map(|w| w * LOGITS).collect() };
    verifier.query.weights = scaled(&found.wide[..queries]);
    verifier.answer.weights = scaled(&found.wide[queries..queries + texts]);
    verifier.by_model = scaled(&found.wide[queries + texts..]);
    verifier.shared = scaled(&found.dense);
    // What the regression leaves out: the mean, as a logit's straight line through one half.
    let total: f64 = targets.iter().flatten().map(|(_, weight)| weight).sum();
    let mean =
        targets.iter().flatten().map(|(y, weight)| y * weight).sum::<f64>() / total.max(f64::MIN_POSITIVE);
    verifier.shared.push((mean as f32 - 0.5) * LOGITS);
    verifier
}

/// Everything of a verifier that no outcome decides.
fn unfitted(
    answers: &Answers,
    rows: &[usize],
    config: &VerifierConfig,
    features: &FeatureConfig,
    view: View,
    lengths: UsualLengths,
) -> Verifier {
    let table = |wanted: bool, texts: &mut dyn Iterator<Item = &Features>| {
        let most = if wanted { config.most_ngrams } else { 0 };
        let ngrams = texts.map(|text| text.ngrams.as_slice());
        let ngrams = NgramTable::fit(ngrams, config.least_texts_per_ngram, most);
        WideWeights { weights: vec![0.0; ngrams.len()], ngrams }
    };
    let mut asked: Vec<usize> = rows.iter().map(|row| answers.rows[*row].example).collect();
    asked.dedup();
    let mut verifier = Verifier {
        features: features.clone(),
        models: answers.models.clone(),
        lengths,
        standard: Standard { mean: Vec::new(), scale: Vec::new() },
        query: table(view.reads_query_ngrams(), &mut asked.iter().map(|row| &answers.queries[*row])),
        answer: table(view.reads_answer_ngrams(), &mut rows.iter().map(|row| &answers.rows[*row].answer)),
        shared: Vec::new(),
        by_model: Vec::new(),
    };
    let raw: Vec<f32> =
        rows.iter().flat_map(|row| verifier.dense(&answers.read_of(&answers.rows[*row]))).collect();
    let at: Vec<usize> = (0..rows.len()).collect();
    let Moments { mean, mut scale } =
        Moments::of(&at, VERIFIER_DENSE_LEN, |row, feature| raw[row * VERIFIER_DENSE_LEN + feature]);
    scale.iter_mut().enumerate().filter(|(feature, _)| !view.reads(*feature)).for_each(|(_, s)| *s = 0.0);
    verifier.standard = Standard { mean, scale };
    verifier
}

fn standard_dense(verifier: &Verifier, answers: &Answers, row: &Row) -> Vec<f32> {
    verifier.standard.apply(verifier.dense(&answers.read_of(row))).collect()
}

fn weigh(table: &NgramTable, features: &Features, first: usize, out: &mut Vec<(u32, f32)>) {
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    table.weigh(features, &mut ids, &mut weights);
    out.extend(ids.iter().map(|id| first as u32 + id.unsigned_abs()).zip(weights));
}

/// How long answers usually are, by task and model; cells with few answers repeat a broader one.
fn usual_lengths(answers: &Answers, rows: &[usize]) -> UsualLengths {
    let (tasks, models) = (answers.tasks.len(), answers.models.len());
    let mut cells: Vec<Vec<f64>> = vec![Vec::new(); (tasks + 1) * (models + 1)];
    let at = |task: usize, model: usize| task * (models + 1) + model;
    for row in rows.iter().map(|row| &answers.rows[*row]) {
        let log_bytes = f64::from(row.answer.surface[0]);
        for task in row.task.into_iter().chain([tasks]) {
            for model in [row.model, models] {
                cells[at(task, model)].push(log_bytes);
            }
        }
    }
    let known = |task, model| Some(&cells[at(task, model)]).filter(|cell| cell.len() >= LEAST_ANSWERS);
    let mut lengths = UsualLengths { tasks: answers.tasks.clone(), mean: Vec::new(), deviation: Vec::new() };
    for task in 0..=tasks {
        for model in 0..=models {
            let broader =
                || known(tasks, model).or_else(|| known(task, models)).unwrap_or(&cells[at(tasks, models)]);
            let cell = known(task, model).unwrap_or_else(broader);
            let n = cell.len().max(1) as f64;
            let mean = cell.iter().sum::<f64>() / n;
            let variance = cell.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            lengths.mean.push(mean as f32);
            // Answers of one length each: another length is unusual, not infinitely so.
            lengths.deviation.push(variance.sqrt().max(0.05) as f32);
        }
    }
    lengths
}
