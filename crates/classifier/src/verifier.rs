//! The answer verifier: a linear reading of a query, an answer to it and how the answer came about. Raw scores only;
//! what they are worth as probabilities is calibrated elsewhere, and weights are fitted in `training`.

use features::answer::{self, ANSWER_DENSE_LEN, AnswerFeatures, AnswerReader, Signals};
use features::{FeatureConfig, Features};
use types::{ModelName, Query, Score};

use crate::weights;
use crate::{NgramTable, WeightsError};

/// Dense features of a verifier: those of the answer beside its query, then how unusual its length is for its model
/// and task, in standard deviations.
pub const VERIFIER_DENSE_LEN: usize = ANSWER_DENSE_LEN + 1;

/// Standardised features and lengths are held within so many deviations.
const FARTHEST: f32 = 5.0;

/// N-grams with a weight each, on `count x idf` scaled to unit length.
#[derive(Debug, Clone)]
pub struct WideWeights {
    /// The n-grams that are known.
    pub ngrams: NgramTable,
    /// A weight for each of them.
    pub weights: Vec<f32>,
}

impl WideWeights {
    fn read(&self, features: &Features, scratch: &mut WideScratch) -> f32 {
        scratch.ids.clear();
        scratch.weights.clear();
        self.ngrams.weigh(features, &mut scratch.ids, &mut scratch.weights);
        scratch
            .ids
            .iter()
            .zip(&scratch.weights)
            .map(|(id, w)| w * self.weights[id.unsigned_abs() as usize])
            .sum()
    }
}

/// How long answers usually are: mean and standard deviation of `ln(1 + bytes)` by task and model.
#[derive(Debug, Clone, PartialEq)]
pub struct UsualLengths {
    /// Slices that name a task, such as `category:law`, ascending.
    pub tasks: Vec<String>,
    /// `[tasks + 1, models + 1]`; the last row is of any task, the last column of any model. Where a cell had too few
    /// answers it repeats a broader one.
    pub mean: Vec<f32>,
    /// As `mean`; above 0.
    pub deviation: Vec<f32>,
}

impl UsualLengths {
    /// How far a length lies from the usual one, in standard deviations within five.
    pub fn unusual(&self, log_bytes: f32, task: Option<usize>, model: Option<usize>, models: usize) -> f32 {
        let (row, column) = (task.unwrap_or(self.tasks.len()), model.unwrap_or(models));
        let at = row * (models + 1) + column;
        ((log_bytes - self.mean[at]) / self.deviation[at]).clamp(-FARTHEST, FARTHEST)
    }

    /// The first of some slices that is a known task.
    pub fn task<'a>(&self, slices: impl IntoIterator<Item = &'a str>) -> Option<usize> {
        slices.into_iter().find_map(|slice| self.tasks.binary_search_by(|task| task.as_str().cmp(slice)).ok())
    }
}

/// Mean and inverse standard deviation of the dense features.
#[derive(Debug, Clone, PartialEq)]
pub struct Standard {
    /// Of length [`VERIFIER_DENSE_LEN`].
    pub mean: Vec<f32>,
    /// Of the same length; 0 for a feature that never varied.
    pub scale: Vec<f32>,
}

impl Standard {
    /// Dense features in standard deviations, within five.
    pub fn apply<'a>(&'a self, dense: impl Iterator<Item = f32> + 'a) -> impl Iterator<Item = f32> + 'a {
        let moments = self.mean.iter().zip(&self.scale);
        dense.zip(moments).map(|(x, (mean, scale))| ((x - mean) * scale).clamp(-FARTHEST, FARTHEST))
    }
}

/// A verifier of the answers of some models; of others by what those have in common.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// How text is read.
    pub features: FeatureConfig,
    /// The models whose answers it was fitted on.
    pub models: Vec<ModelName>,
    /// How long answers usually are.
    pub lengths: UsualLengths,
    /// How dense features are standardised.
    pub standard: Standard,
    /// N-grams of the query.
    pub query: WideWeights,
    /// N-grams of the answer.
    pub answer: WideWeights,
    /// A weight for each dense feature, then the intercept: `VERIFIER_DENSE_LEN + 1` numbers.
    pub shared: Vec<f32>,
    /// What each model adds to them: `[models, VERIFIER_DENSE_LEN + 1]`.
    pub by_model: Vec<f32>,
}

/// Buffers of one worker, used again from answer to answer.
#[derive(Debug)]
pub struct VerifierScratch {
    reader: AnswerReader,
    features: AnswerFeatures,
    wide: WideScratch,
}

/// Buffers for n-grams.
#[derive(Debug, Default)]
pub struct WideScratch {
    ids: Vec<i32>,
    weights: Vec<f32>,
}

impl VerifierScratch {
    /// The features of the answer scored last.
    pub fn features(&self) -> &AnswerFeatures {
        &self.features
    }
}

/// An answer as features.
#[derive(Debug, Clone, Copy)]
pub struct AnswerRead<'a> {
    /// The query.
    pub query: &'a Features,
    /// The answer's text.
    pub answer: &'a Features,
    /// See [`AnswerFeatures::row`].
    pub row: &'a [f32],
    /// The position of its task, where it is a known one.
    pub task: Option<usize>,
    /// The position of its model, where it is a known one.
    pub model: Option<usize>,
}

/// An answer to judge.
#[derive(Debug, Clone, Copy)]
pub struct AnswerGiven<'a> {
    /// What was asked.
    pub query: &'a Query,
    /// Whose answer it is.
    pub model: &'a ModelName,
    /// Its text.
    pub text: &'a str,
    /// What is known beside it.
    pub signals: &'a Signals,
    /// Slices of the query; one of them may name a task.
    pub slices: &'a [String],
}

impl Verifier {
    /// Fresh buffers for one worker.
    pub fn scratch(&self) -> VerifierScratch {
        VerifierScratch {
            reader: AnswerReader::new(self.features.clone()),
            features: AnswerFeatures::default(),
            wide: WideScratch::default(),
        }
    }

    /// The raw score of an answer: higher is more probably acceptable.
    pub fn score(&self, answer: &AnswerGiven<'_>, scratch: &mut VerifierScratch) -> Option<Score> {
        let VerifierScratch { reader, features, wide } = scratch;
        reader.read(answer.query, answer.text, answer.signals, features);
        let read = AnswerRead {
            query: &features.query,
            answer: &features.answer,
            row: &features.row,
            task: self.lengths.task(answer.slices.iter().map(String::as_str)),
            model: self.column(answer.model),
        };
        Score::new(self.score_read(&read, wide)).ok()
    }

    /// The position of a model it was fitted on.
    pub fn column(&self, model: &ModelName) -> Option<usize> {
        self.models.iter().position(|known| known == model)
    }

    /// The dense features of an answer, [`VERIFIER_DENSE_LEN`] of them, not yet standardised.
    pub fn dense<'a>(&self, read: &AnswerRead<'a>) -> impl Iterator<Item = f32> + use<'a> {
        let log_bytes = read.answer.surface[0];
        let unusual = self.lengths.unusual(log_bytes, read.task, read.model, self.models.len());
        answer::dense(read.query, read.answer, read.row).chain([unusual])
    }

    /// The raw score of an answer that was read.
    pub fn score_read(&self, read: &AnswerRead<'_>, wide: &mut WideScratch) -> f64 {
        let own =
            read.model.map_or(&[][..], |m| &self.by_model[m * self.shared.len()..][..self.shared.len()]);
        let weight = |i: usize| self.shared[i] + own.get(i).copied().unwrap_or_default();
        let dense = self.standard.apply(self.dense(read)).enumerate();
        let dense: f32 = dense.map(|(i, x)| x * weight(i)).sum();
        let wide = self.query.read(read.query, wide) + self.answer.read(read.answer, wide);
        f64::from(dense + wide + weight(VERIFIER_DENSE_LEN))
    }

    /// The verifier as safetensors bytes; equal weights give equal bytes. Models, tasks and how text is read are
    /// kept elsewhere.
    ///
    /// # Errors
    /// When its columns are not of the lengths they should be.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        weights::verifier_to_bytes(self)
    }

    /// Restores a verifier from [`Verifier::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are no safetensors file or hold other tensors; the tensor is named.
    pub fn from_bytes(
        bytes: &[u8],
        features: FeatureConfig,
        models: Vec<ModelName>,
        tasks: Vec<String>,
    ) -> Result<Self, WeightsError> {
        weights::verifier_from_bytes(bytes, features, models, tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier() -> Verifier {
        let models = vec![ModelName::new("small").unwrap(), ModelName::new("large").unwrap()];
        let wide = || WideWeights {
            ngrams: NgramTable::new(vec![3, 8], vec![1.0, 2.0]).unwrap(),
            weights: vec![0.5, -0.5],
        };
        let mut shared = vec![0.0; VERIFIER_DENSE_LEN + 1];
        shared[VERIFIER_DENSE_LEN] = 0.25;
        shared[VERIFIER_DENSE_LEN - 1] = -1.0;
        let mut by_model = vec![0.0; 2 * (VERIFIER_DENSE_LEN + 1)];
        by_model[VERIFIER_DENSE_LEN] = -2.0;
        Verifier {
            features: FeatureConfig::default(),
            models,
            lengths: UsualLengths {
                tasks: vec!["category:law".into(), "category:math".into()],
                mean: (0..9).map(|i| i as f32).collect(),
                deviation: vec![2.0; 9],
            },
            standard: Standard { mean: vec![0.0; VERIFIER_DENSE_LEN], scale: vec![1.0; VERIFIER_DENSE_LEN] },
            query: wide(),
            answer: wide(),
            shared,
            by_model,
        }
    }

    fn score(verifier: &Verifier, model: &str, slices: &[String]) -> f64 {
        let (query, model) = (Query::text("one"), ModelName::new(model).unwrap());
        let signals = Signals::default();
        let given = AnswerGiven { query: &query, model: &model, text: "", signals: &signals, slices };
        verifier.score(&given, &mut verifier.scratch()).unwrap().logit()
    }

    #[test]
    fn a_model_adds_its_own_and_a_stranger_nothing() {
        let verifier = verifier();
        // An empty answer: ln(1 + 0) = 0 against the usual length of any task, by model 6, 7 and 8, two to a deviation.
        assert!((score(&verifier, "small", &[]) - (0.25 - 2.0 + 3.0)).abs() < 1e-6);
        assert!((score(&verifier, "large", &[]) - (0.25 + 3.5)).abs() < 1e-6);
        assert!((score(&verifier, "stranger", &[]) - (0.25 + 4.0)).abs() < 1e-6);
        let law = ["x".to_owned(), "category:law".to_owned()];
        assert!((score(&verifier, "large", &law) - (0.25 + 0.5)).abs() < 1e-6);
    }

    #[test]
    fn bytes_give_it_back_and_strangers_are_refused() {
        let (verifier, bytes) = (verifier(), verifier().to_bytes().unwrap());
        let read = |bytes: &[u8], models: &[ModelName]| {
            let tasks = verifier.lengths.tasks.clone();
            Verifier::from_bytes(bytes, FeatureConfig::default(), models.to_vec(), tasks)
        };
        let again = read(&bytes, &verifier.models).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes);
        assert_eq!((again.lengths, again.shared), (verifier.lengths.clone(), verifier.shared.clone()));
        assert!(read(&bytes[..bytes.len() - 4], &verifier.models).is_err());
        let fewer = read(&bytes, &verifier.models[..1]).unwrap_err().to_string();
        assert!(fewer.contains("dense.by_model"), "{fewer}");
        let mut negative = verifier.clone();
        negative.lengths.deviation[0] = 0.0;
        let refused = read(&negative.to_bytes().unwrap(), &verifier.models).unwrap_err().to_string();
        assert!(refused.contains("lengths.deviation"), "{refused}");
    }
}
