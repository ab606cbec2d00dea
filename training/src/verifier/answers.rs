//! Answers with outcomes as features: each text read once, a query's for all of its answers.

use std::collections::BTreeMap;

use artifact::Artifact;
use classifier::AnswerRead;
use corpus::{Answer, Example};
use features::answer::{AnswerFeatures, AnswerReader, SIGNAL_NAMES};
use features::{FeatureConfig, Features};
use types::ModelName;

/// Slice keys that say what kind of task a query is, the finest first.
const TASK_KEYS: [&str; 3] = ["task:", "category:", "source:"];

/// One answer.
#[derive(Debug, Clone)]
pub struct Row {
    /// The query: a position in the examples.
    pub example: usize,
    /// The model: a column.
    pub model: usize,
    /// The task: a position in [`Answers::tasks`].
    pub task: Option<usize>,
    /// What came of it, in [0, 1].
    pub quality: f64,
    /// Weight of the query.
    pub weight: f64,
    /// The answer's text.
    pub answer: Features,
    /// See [`features::answer::ANSWER_NAMES`].
    pub marks: Vec<f32>,
}

/// All answers of some examples.
#[derive(Debug)]
pub struct Answers {
    /// The models that answered, in order.
    pub models: Vec<ModelName>,
    /// Slices that name a task, ascending.
    pub tasks: Vec<String>,
    /// Features of each query.
    pub queries: Vec<Features>,
    /// The answers, by query, then by model.
    pub rows: Vec<Row>,
    /// Answers that carried each of [`SIGNAL_NAMES`].
    pub signals: [usize; SIGNAL_NAMES.len()],
}

impl Answers {
    /// Reads every answer of the examples; of the models named, or of all where none is.
    pub fn read(examples: &[Example], only: &[ModelName], config: &FeatureConfig) -> Self {
        let wanted = |model: &ModelName| only.is_empty() || only.contains(model);
        let mut known: BTreeMap<&ModelName, usize> = BTreeMap::new();
        for model in examples.iter().flat_map(|example| example.evidence.answers.keys()) {
            if wanted(model) {
                known.insert(model, 0);
            }
        }
        known.values_mut().enumerate().for_each(|(column, at)| *at = column);
        let mut tasks: Vec<String> = examples.iter().filter_map(task).map(str::to_owned).collect();
        tasks.sort();
        tasks.dedup();
        let mut answers = Self {
            models: known.keys().map(|model| (*model).clone()).collect(),
            tasks,
            queries: vec![Features::default(); examples.len()],
            rows: Vec::new(),
            signals: [0; SIGNAL_NAMES.len()],
        };
        let (mut reader, mut features) = (AnswerReader::new(config.clone()), AnswerFeatures::default());
        for (row, example) in examples.iter().enumerate() {
            let task =
                task(example).and_then(|task| answers.tasks.binary_search_by(|t| t.as_str().cmp(task)).ok());
            let given = example.evidence.answers.iter().filter(|(model, _)| wanted(model));
            for (first, (model, answer)) in given.enumerate().map(|(i, given)| (i == 0, given)) {
                let Answer { text, signals, .. } = answer;
                if first {
                    reader.read(&example.query, text, signals, &mut features);
                    answers.queries[row] = features.query.clone();
                } else {
                    reader.answer(&example.query, text, signals, &mut features);
                }
                let supplied = signals.supplied().map(usize::from);
                answers.signals.iter_mut().zip(supplied).for_each(|(count, supplied)| *count += supplied);
                answers.rows.push(Row {
                    example: row,
                    model: known[model],
                    task,
                    quality: example.evidence.outcomes[model],
                    weight: example.weight,
                    answer: features.answer.clone(),
                    marks: features.row.clone(),
                });
            }
        }
        answers
    }

    /// A row as a verifier of these models and tasks reads it.
    pub fn read_of<'a>(&'a self, row: &'a Row) -> AnswerRead<'a> {
        let (query, answer) = (&self.queries[row.example], &row.answer);
        AnswerRead { query, answer, row: &row.marks, task: row.task, model: Some(row.model) }
    }
}

/// Adds what a router's artifact reads off queries and answers to the answers' signals; how near query and answer are only
/// where it is asked for, since its encoder takes milliseconds for each text.
pub fn add_readings(examples: &mut [Example], artifact: &Artifact, similarity: bool) {
    let mut scratch = artifact.classifier().scratch();
    for example in examples {
        for (model, answer) in &mut example.evidence.answers {
            let signals = &mut answer.signals;
            signals.predicted_success = artifact.predicted_success(&example.query, model, &mut scratch);
            if similarity {
                signals.similarity = artifact.similarity(&example.query, &answer.text);
            }
        }
    }
}

/// The slice that names an example's task.
pub fn task(example: &Example) -> Option<&str> {
    let of_key = |key: &&str| example.slices.iter().find(|slice| slice.starts_with(*key));
    TASK_KEYS.iter().find_map(of_key).map(String::as_str)
}
