//! `training judge`: preferences by a model, for decisions of which both answers are at hand.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use decision_log::{Batch, Outcome, OutcomeRecord, RECORD_VERSION, open_existing};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use uuid::Uuid;

use crate::judge::{Judge, Spent};
use crate::log::{LogArgs, is_between, now_us};

/// Verdicts that fail in a row before the command gives up.
const PATIENCE: usize = 5;

/// Have a model compare both answers to logged decisions and report its verdicts as outcomes.
///
/// Decisions are drawn at random among those whose answers are in --answers; each is judged in both orders and averaged.
/// Those it has judged before are left out, so that a job may run every day. A judge is no person: its verdicts count
/// where people have said nothing.
#[derive(Debug, Clone, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Answers of both models, a JSON object a line: {"decision_id": "…", "query": "…", "answers": {"MODEL": "…"}}; the
    /// query may be left out where the log keeps it.
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// The dearer model.
    #[arg(long, value_name = "MODEL")]
    strong: String,
    /// The cheaper model.
    #[arg(long, value_name = "MODEL")]
    weak: String,
    /// An OpenAI-compatible endpoint, such as http://localhost:8000/v1.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// The model that judges.
    #[arg(long, value_name = "MODEL")]
    judge: String,
    /// Environment variable that holds the endpoint's key.
    #[arg(long, value_name = "NAME", default_value = "RUNG_JUDGE_KEY")]
    key_env: String,
    /// Decisions to judge at most; two calls each.
    #[arg(long, default_value_t = 100)]
    most: usize,
    /// Dollars to spend at most; needs both prices.
    #[arg(long, value_name = "USD", requires_all = ["input_usd_per_million", "output_usd_per_million"])]
    budget_usd: Option<f64>,
    /// Price of a million tokens of the judge's prompts.
    #[arg(long, value_name = "USD")]
    input_usd_per_million: Option<f64>,
    /// Price of a million tokens of its answers.
    #[arg(long, value_name = "USD")]
    output_usd_per_million: Option<f64>,
    /// Seed of the draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A line of the file of answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    decision_id: Uuid,
    query: Option<String>,
    answers: HashMap<String, String>,
}

/// What the judge is asked.
struct Question {
    id: Uuid,
    query: String,
    strong: String,
    weak: String,
}

impl JudgeArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the log, the answers or the endpoint is refused, or nothing is there to judge.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let mut questions = self.questions(say)?;
        questions.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        questions.truncate(self.most);
        let judge = Judge::new(&self.endpoint, &self.judge, std::env::var(&self.key_env).ok());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(open_existing(&self.log.decision_log))?;
        let (mut spent, mut in_a_row, mut verdicts, mut failed, mut sum) = (Spent::default(), 0, 0, 0, 0.0);
        for question in &questions {
            if self.budget_usd.is_some_and(|budget| self.usd(&spent) >= budget) {
                say(&format!("the budget is spent after {verdicts} verdicts"));
                break;
            }
            let Question { id, query, strong, weak } = question;
            match judge.compare(query, strong, weak, &mut spent) {
                Ok(strong) => {
                    let batch = Batch { decisions: vec![], outcomes: vec![self.record(*id, strong)?] };
                    runtime.block_on(store.append(&batch))?;
                    (in_a_row, verdicts, sum) = (0, verdicts + 1, sum + strong);
                }
                Err(error) => {
                    (in_a_row, failed) = (in_a_row + 1, failed + 1);
                    say(&format!("{id}: {error}"));
                    if in_a_row == PATIENCE {
                        bail!("{PATIENCE} verdicts in a row have failed: {verdicts} are in the log");
                    }
                }
            }
        }
        let mean = if verdicts > 0 { sum / f64::from(verdicts) } else { 0.0 };
        say(&format!(
            "{verdicts} verdicts in the log, {failed} failed; strong's share {mean:.3}; {} calls, {} and {} tokens, {:.4} USD",
            spent.calls,
            spent.input_tokens,
            spent.output_tokens,
            self.usd(&spent)
        ));
        Ok(())
    }

    fn source(&self) -> String {
        format!("judge:{}", self.judge)
    }

    fn usd(&self, spent: &Spent) -> f64 {
        let of = |tokens: u64, price: Option<f64>| tokens as f64 / 1e6 * price.unwrap_or(0.0);
        of(spent.input_tokens, self.input_usd_per_million)
            + of(spent.output_tokens, self.output_usd_per_million)
    }

    fn record(&self, decision_id: Uuid, strong: f64) -> Result<OutcomeRecord> {
        let (time_us, outcome) = (now_us(), Outcome::Judge { judge: self.judge.clone(), strong });
        let (version, source) = (RECORD_VERSION, self.source());
        Ok(OutcomeRecord { version, decision_id, source, time_us, outcome }.checked()?)
    }

    /// Decisions between the two models with both answers, that this judge has not judged.
    fn questions(&self, say: &mut dyn FnMut(&str)) -> Result<Vec<Question>> {
        let mut answers = self.read_answers()?;
        let (mut questions, mut judged, mut incomplete) = (Vec::new(), 0, 0);
        let source = self.source();
        self.log.read(&mut |joined| {
            let id = joined.decision.decision_id;
            if !is_between(&joined, &self.strong, &self.weak) {
                return;
            }
            let Some(mut known) = answers.remove(&id) else { return };
            if joined.outcomes.iter().any(|outcome| outcome.source == source) {
                judged += 1;
                return;
            }
            let query = known.query.take().or(joined.decision.prompt);
            let both = (known.answers.remove(&self.strong), known.answers.remove(&self.weak));
            match (query, both) {
                (Some(query), (Some(strong), Some(weak))) => {
                    questions.push(Question { id, query, strong, weak });
                }
                _ => incomplete += 1,
            }
        })?;
        say(&format!(
            "{} decisions to judge; left out: {judged} judged before, {incomplete} without the query or both answers, {} \
             answers of no decision in the log between these models",
            questions.len(),
            answers.len()
        ));
        ensure!(!questions.is_empty() || judged > 0, "nothing to judge");
        Ok(questions)
    }

    fn read_answers(&self) -> Result<HashMap<Uuid, Answers>> {
        let name = self.answers.display();
        let file = File::open(&self.answers).with_context(|| name.to_string())?;
        let mut all = HashMap::new();
        for (i, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| name.to_string())?;
            if line.trim().is_empty() {
                continue;
            }
            let answers: Answers =
                serde_json::from_str(&line).with_context(|| format!("{name}: line {}", i + 1))?;
            all.insert(answers.decision_id, answers);
        }
        Ok(all)
    }
}
