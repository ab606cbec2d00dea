//! `training what-if`: what other thresholds would have given.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use evaluation::{Estimate, LEAST_EFFECTIVE_ROWS};
use serde::Deserialize;
use types::{Threshold, WinProbability};

use crate::decision_log::{Entry, entries, reports};
use crate::what_if::{Counterfactuals, Served, WhatIf};

/// Say what other thresholds would have given, from the server's log of decisions and what came of them.
///
/// The server must have explored (--explore-dearer, --explore-cheaper): what was never served has no outcome. Estimates
/// weigh each outcome by the propensity it was served with; below 50 rows of full weight there is none.
#[derive(Debug, Clone, Args)]
pub struct WhatIfArgs {
    /// The server's log of decisions, written with log_format = "json".
    #[arg(long, value_name = "FILE")]
    decision_log: PathBuf,
    /// What came of them, a JSON object a line: {"decision_id": "…", "score": 0 to 1}, of the answer that was served.
    #[arg(long, value_name = "FILE")]
    outcomes: PathBuf,
    /// The dearer model.
    #[arg(long, value_name = "MODEL")]
    strong: String,
    /// The cheaper model.
    #[arg(long, value_name = "MODEL")]
    weak: String,
    /// Thresholds to judge, in [0, 1]; repeat it.
    #[arg(long, value_name = "THRESHOLD", required = true)]
    threshold: Vec<f64>,
    /// Seed of the resamples behind the intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A line of the file of outcomes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    decision_id: String,
    score: f64,
}

impl Outcome {
    fn checked(self) -> Result<(String, f64), String> {
        let (id, score) = (self.decision_id, self.score);
        if (0.0..=1.0).contains(&score) {
            Ok((id, score))
        } else {
            Err(format!("score: {score} is not in [0, 1]"))
        }
    }
}

/// Decisions that do not count, by reason, and what else is to be said of those that do.
#[derive(Debug, Default)]
struct LeftOut {
    other_models: usize,
    own_threshold: usize,
    older_server: usize,
    no_outcome: usize,
    /// Outcomes of no decision that counts.
    outcomes: usize,
    /// Decisions that count and were scored by the deep tier.
    deep: usize,
}

impl WhatIfArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is refused, a threshold is none, or no decision has an outcome.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let thresholds = self.threshold.iter().map(|t| Threshold::new(*t)).collect::<Result<Vec<_>, _>>()?;
        let (rows, left_out) = self.join(reports(&self.outcomes, Outcome::checked)?)?;
        let LeftOut { other_models, own_threshold, older_server, no_outcome, outcomes, deep } = left_out;
        say(&format!(
            "{} decisions with an outcome; left out: {no_outcome} without, {own_threshold} at thresholds of their \
             callers, {other_models} of other ladders, {older_server} without a propensity; {outcomes} outcomes of none \
             of these",
            rows.len()
        ));
        if deep > 0 {
            say(&format!(
                "{deep} of them were scored by the deep tier, asked where it could change the decision at the threshold \
                 served: at another one it would be asked for other queries, and these estimates do not know what it \
                 would say of them"
            ));
        }
        if rows.is_empty() {
            bail!("no decision between {} and {} has an outcome", self.strong, self.weak);
        }
        let mean = rows.iter().map(|row| row.score).sum::<f64>() / rows.len() as f64;
        let strong = rows.iter().filter(|row| row.strong).count() as f64 / rows.len() as f64;
        say(&format!(
            "\n{:<12} {:>16} {:<26} {:<26} {:>14}",
            "threshold", "strong-call rate", "  score, doubly robust", "score, SNIPS", "effective rows"
        ));
        say(&format!("{:<12} {strong:>16.3}   {mean:<24.4} {mean:<26.4} {:>14}", "as served", rows.len()));
        let log = Counterfactuals::new(&rows, self.seed)?;
        for threshold in thresholds {
            let rate = log.strong_call_rate(threshold);
            say(&format!("{:<12} {rate:>16.3}   {}", threshold.get(), told(&log.at(threshold)?)));
        }
        Ok(())
    }

    /// Decisions between the two models with what came of them, and why others do not count.
    fn join(&self, mut outcomes: HashMap<String, f64>) -> Result<(Vec<Served>, LeftOut)> {
        let (mut rows, mut left_out) = (Vec::new(), LeftOut::default());
        for entry in entries(&self.decision_log)? {
            let Entry::Decision(_, decided) = entry? else { continue };
            let strong = decided.model == self.strong;
            let Some(served) = decided.served else {
                left_out.older_server += 1;
                continue;
            };
            if served.rungs != 2 || !(strong || decided.model == self.weak) {
                left_out.other_models += 1;
            } else if decided.threshold_source == "request" {
                left_out.own_threshold += 1;
            } else if let Some(score) = outcomes.remove(&decided.decision_id) {
                let win_probability = WinProbability::new(decided.win_probability)?;
                left_out.deep += usize::from(decided.scored_by == "deep");
                let high_stakes = served.reason == "high_stakes";
                rows.push(Served {
                    win_probability,
                    strong,
                    propensity: served.propensity,
                    high_stakes,
                    score,
                });
            } else {
                left_out.no_outcome += 1;
            }
        }
        left_out.outcomes = outcomes.len();
        Ok((rows, left_out))
    }
}

fn told(what_if: &WhatIf) -> String {
    let shown = |e: &Estimate| format!("{:.4} [{:.4}, {:.4}]", e.value, e.interval.lower, e.interval.upper);
    match what_if {
        WhatIf::Known { snips, doubly_robust, effective_rows } => {
            format!("{:<24} {:<26} {effective_rows:>14.0}", shown(doubly_robust), shown(snips))
        }
        WhatIf::NotExplored { to_strong, to_weak } => format!(
            "cannot be told: {to_strong} queries would go to strong and {to_weak} to weak that were never explored that way"
        ),
        WhatIf::TooFew { effective_rows } => format!(
            "cannot be told: {effective_rows:.0} rows of full weight, at least {LEAST_EFFECTIVE_ROWS:.0} are needed"
        ),
    }
}
