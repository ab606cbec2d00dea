//! `training retrain`: a new artifact from the log of the old one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use corpus::{Evidence, Example, Preference, Winner};
use decision_log::{Joined, Outcome};
use types::{Message, ModelName, Query, Role};

use super::fit::FitArgs;
use crate::log::LogArgs;

/// Fit a new artifact on decisions whose text was kept and whose outcome is known.
///
/// The server keeps texts with --log-prompts. Every decision with graded scores, a preference or a judge's verdict becomes
/// a row; --data adds rows of other files, and --prior starts at what the old artifact knows. Introduce the result with a
/// rollout.
#[derive(Debug, Clone, Args)]
pub struct RetrainArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Where the rows are written, as JSONL: they are the data of the new artifact and hold the texts.
    #[arg(long, value_name = "FILE", default_value = "rung-data/retrain.jsonl")]
    examples: PathBuf,
    #[command(flatten)]
    fit: FitArgs,
}

impl RetrainArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the log is refused, holds no row, or the fit fails.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (mut rows, mut without_text, mut without_outcome, mut redacted) = (Vec::new(), 0, 0, 0);
        let mut failed = None;
        self.log.read(&mut |joined| match example(&joined) {
            Ok(Row::Complete(example)) => {
                redacted +=
                    usize::from(joined.decision.prompt.as_deref().is_some_and(|p| p.contains("[redacted]")));
                rows.push(*example);
            }
            Ok(Row::NoText) => without_text += 1,
            Ok(Row::NoOutcome) => without_outcome += 1,
            Err(error) => failed = Some(error),
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        say(&format!(
            "{} decisions with text and outcome; left out: {without_text} without text, {without_outcome} without an \
             outcome that says which answer was better; {redacted} texts are redacted in part",
            rows.len()
        ));
        ensure!(!rows.is_empty(), "no decision has both: serve with --log-prompts and report outcomes");
        if let Some(folder) = self.examples.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let file = File::create(&self.examples).with_context(|| self.examples.display().to_string())?;
        corpus::write_jsonl(&rows, &mut BufWriter::new(file))
            .with_context(|| self.examples.display().to_string())?;
        say(&format!("wrote {}", self.examples.display()));
        let mut fit = self.fit.clone();
        fit.data.data.insert(0, self.examples.clone());
        fit.run(say)
    }
}

/// What a decision is for training.
enum Row {
    Complete(Box<Example>),
    NoText,
    NoOutcome,
}

fn example(joined: &Joined) -> Result<Row> {
    let decision = &joined.decision;
    let evidence = evidence(joined)?;
    if evidence == Evidence::default() {
        return Ok(Row::NoOutcome);
    }
    let Some(prompt) = &decision.prompt else { return Ok(Row::NoText) };
    let mut slices = decision.slices.clone();
    slices.sort();
    slices.dedup();
    Ok(Row::Complete(Box::new(Example {
        id: decision.decision_id.to_string(),
        query: query(prompt),
        evidence,
        weight: 1.0,
        slices,
        group: None,
        timestamp_us: Some(decision.time_us),
        fold: None,
        true_win_probability: None,
    })))
}

/// Scores of models that were graded; else a comparison of the two of a ladder.
fn evidence(joined: &Joined) -> Result<Evidence> {
    let mut outcomes = BTreeMap::new();
    for outcome in &joined.outcomes {
        if let Outcome::Graded { scores } = &outcome.outcome {
            for (model, score) in scores {
                outcomes.entry(ModelName::new(model)?).or_insert(*score);
            }
        }
    }
    let compared = joined.outcomes.iter().find_map(|outcome| match &outcome.outcome {
        Outcome::Preference { strong } | Outcome::Judge { strong, .. } => Some(*strong),
        _ => None,
    });
    let mut preferences = Vec::new();
    if let (true, Some(strong), [weak, top]) = (outcomes.len() < 2, compared, &joined.decision.action_set[..])
    {
        let winner = if strong > 0.5 {
            Winner::A
        } else if strong < 0.5 {
            Winner::B
        } else {
            Winner::Tie
        };
        preferences.push(Preference {
            model_a: ModelName::new(top)?,
            model_b: ModelName::new(weak)?,
            winner,
        });
    }
    Ok(Evidence { outcomes, preferences, ..Evidence::default() })
}

/// A kept text as the query it was.
fn query(prompt: &str) -> Query {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Chat {
        messages: Vec<Turn>,
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Turn {
        role: String,
        content: String,
    }
    let turns = serde_json::from_str::<Chat>(prompt).ok().and_then(|chat| {
        let turn = |turn: Turn| Some(Message { role: Role::parse(&turn.role)?, content: turn.content });
        chat.messages.into_iter().map(turn).collect::<Option<Vec<_>>>()
    });
    turns.and_then(|turns| Query::chat(turns).ok()).unwrap_or_else(|| Query::text(prompt))
}
