//! `training what-if`: what other thresholds would have given.

use anyhow::{Result, bail};
use clap::Args;
use evaluation::{Estimate, LEAST_EFFECTIVE_ROWS};
use types::{Threshold, WinProbability};

use crate::log::{LogArgs, is_between};
use crate::what_if::{Counterfactuals, Served, WhatIf};

/// Say what other thresholds would have given, from the log of decisions and what came of them.
///
/// The server must have explored (--explore-dearer, --explore-cheaper): what was never served has no outcome. Estimates
/// weigh each outcome by the propensity it was served with; below 50 rows of full weight there is none.
#[derive(Debug, Clone, Args)]
pub struct WhatIfArgs {
    #[command(flatten)]
    log: LogArgs,
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

/// Decisions that do not count, by reason, and what else is to be said of those that do.
#[derive(Debug, Default)]
struct LeftOut {
    other_models: usize,
    own_threshold: usize,
    /// Decisions that another model answered in the end.
    failed_over: usize,
    no_outcome: usize,
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
        let (rows, left_out) = self.join()?;
        let LeftOut { other_models, own_threshold, failed_over, no_outcome, deep } = left_out;
        say(&format!(
            "{} decisions with an outcome; left out: {no_outcome} without, {own_threshold} at thresholds of their \
             callers or a policy, {other_models} of other ladders, {failed_over} that another model answered",
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
    fn join(&self) -> Result<(Vec<Served>, LeftOut)> {
        let (mut rows, mut left_out) = (Vec::new(), LeftOut::default());
        self.log.read(&mut |joined| {
            let decision = &joined.decision;
            let known = WinProbability::new(decision.win_probability).ok();
            if !is_between(&joined, &self.strong, &self.weak) {
                left_out.other_models += 1;
            } else if !decision.threshold_source.starts_with("operating_point:")
                // While a budget is spent, what is served depends on it as well: propensities do not say how.
                || decision.policy.as_ref().is_some_and(|policy| policy.spent.is_some())
            {
                left_out.own_threshold += 1;
            } else if joined.answered_by() != decision.action {
                left_out.failed_over += 1;
            } else if let (Some(score), Some(win_probability)) = (joined.acceptable(), known) {
                left_out.deep += usize::from(decision.scored_by == "deep");
                rows.push(Served {
                    win_probability,
                    strong: decision.action == self.strong,
                    propensity: decision.propensity,
                    high_stakes: decision.high_stakes,
                    score,
                });
            } else {
                left_out.no_outcome += 1;
            }
        })?;
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
