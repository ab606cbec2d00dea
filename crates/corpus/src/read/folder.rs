//! A folder of `prompts.jsonl.gz` and `outcomes.jsonl.gz`, and where they are asked for `answers.jsonl.gz`, joined by
//! the id of the prompt.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::jsonl::parse;
use super::{Sink, lines};
use crate::record::{FieldError, Timestamp, field, model, score};
use crate::{Answer, CorpusError, Evidence, Example};

pub(super) const PROMPTS: &str = "prompts.jsonl.gz";
const OUTCOMES: &str = "outcomes.jsonl.gz";
const ANSWERS: &str = "answers.jsonl.gz";

/// Fields beyond these belong to whoever made the folder.
#[derive(Debug, Deserialize)]
struct Prompt {
    id: String,
    prompt: String,
    source: Option<String>,
    category: Option<String>,
    task: Option<String>,
    role: Option<String>,
    cluster: Option<String>,
    fold: Option<u32>,
    #[serde(default)]
    contaminated: bool,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    prompt_id: String,
    model: String,
    score: f64,
    timestamp: Option<Timestamp>,
    cost_usd: Option<f64>,
    latency_s: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Written {
    prompt_id: String,
    model: String,
    answer: String,
}

pub(super) fn read(folder: &Path, sink: &mut Sink) -> Result<(), CorpusError> {
    let prompts = folder.join(PROMPTS);
    let mut rows: Vec<(usize, Example)> = Vec::new();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    lines(&prompts, |number, line| match parse::<Prompt>(line) {
        Ok(prompt) if by_id.contains_key(&prompt.id) => {
            sink.row(
                &prompts,
                number,
                Err(field("id", format!("expected a new id, found {} again", prompt.id))),
            );
        }
        Ok(prompt) => {
            by_id.insert(prompt.id.clone(), rows.len());
            rows.push((number, prompt.example()));
        }
        Err(error) => sink.row(&prompts, number, Err(error)),
    })?;
    let answers = folder.join(ANSWERS);
    if sink.answers && answers.exists() {
        lines(&answers, |number, line| {
            let joined = parse::<Written>(line).and_then(|written| written.join(&by_id, &mut rows));
            if let Err(error) = joined {
                sink.rows += 1;
                sink.invalid(&answers, number, error);
            }
        })?;
    }
    let outcomes = folder.join(OUTCOMES);
    lines(&outcomes, |number, line| {
        let joined = parse::<Outcome>(line).and_then(|outcome| outcome.join(&by_id, &mut rows));
        if let Err(error) = joined {
            sink.rows += 1;
            sink.invalid(&outcomes, number, error);
        }
    })?;
    for (number, mut example) in rows {
        // An answer whose worth is not known teaches nothing.
        let Evidence { outcomes, answers, .. } = &mut example.evidence;
        answers.retain(|model, _| outcomes.contains_key(model));
        let row = if example.evidence == Evidence::default() {
            Err(field("id", format!("expected an outcome of {} in {OUTCOMES}, found none", example.id)))
        } else {
            Ok(example)
        };
        sink.row(&prompts, number, row);
    }
    Ok(())
}

impl Prompt {
    fn example(self) -> Example {
        let tag = |key: &str, value: Option<String>| value.map(|v| format!("{key}:{v}"));
        let mut slices: Vec<String> = [
            tag("source", self.source),
            tag("category", self.category),
            tag("task", self.task),
            tag("role", self.role),
            self.contaminated.then(|| "contaminated:true".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        slices.sort();
        Example {
            id: self.id,
            query: types::Query::text(self.prompt),
            evidence: Evidence::default(),
            weight: 1.0,
            slices,
            group: self.cluster,
            timestamp_us: None,
            fold: self.fold,
            true_win_probability: None,
        }
    }
}

/// The row of a prompt.
fn prompt<'a>(
    id: &str,
    by_id: &HashMap<String, usize>,
    rows: &'a mut [(usize, Example)],
) -> Result<&'a mut Example, FieldError> {
    let row = by_id.get(id).and_then(|row| rows.get_mut(*row));
    row.map(|(_, example)| example)
        .ok_or_else(|| field("prompt_id", format!("expected the id of a prompt, found {id:?}")))
}

impl Written {
    fn join(self, by_id: &HashMap<String, usize>, rows: &mut [(usize, Example)]) -> Result<(), FieldError> {
        let example = prompt(&self.prompt_id, by_id, rows)?;
        let answer = Answer { text: self.answer, ..Answer::default() };
        if example.evidence.answers.insert(model(&self.model, "model")?, answer).is_some() {
            let expected = format!("expected one answer of {} per prompt, found another", self.model);
            return Err(field("model", expected));
        }
        Ok(())
    }
}

impl Outcome {
    fn join(self, by_id: &HashMap<String, usize>, rows: &mut [(usize, Example)]) -> Result<(), FieldError> {
        let example = prompt(&self.prompt_id, by_id, rows)?;
        let (name, value) = (model(&self.model, "model")?, score(self.score, "score")?);
        if let Some(answer) = example.evidence.answers.get_mut(&name) {
            let known = |amount: Option<f64>| amount.filter(|amount| amount.is_finite() && *amount >= 0.0);
            (answer.cost_usd, answer.latency_s) = (known(self.cost_usd), known(self.latency_s));
        }
        if example.evidence.outcomes.insert(name, value).is_some() {
            let expected = format!("expected one outcome of {} per prompt, found another", self.model);
            return Err(field("model", expected));
        }
        if let Some(timestamp) = self.timestamp {
            let at = timestamp.micros()?;
            example.timestamp_us = Some(example.timestamp_us.map_or(at, |earlier| earlier.min(at)));
        }
        Ok(())
    }
}
