//! `training advise`: predictive, cascade, semantic, or do not route, with the numbers.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::advice::{Advice, Strategy, advise};
use crate::log::{LogArgs, Traffic};
use crate::prices::Prices;
use crate::workload::{Predictive, Quality, Workload};

/// Say which way of routing pays, if any, from a described workload or from the server's decision log.
///
/// The log tells how much traffic there is, what share went strong and what the calibrated probabilities expect
/// of the rest; with --workload as well, the file tells everything else. From the log alone, quality is counted
/// in shares of strong's, and only predictive routing is judged.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true))]
pub struct AdviseArgs {
    /// What the models cost, and what routing itself costs.
    #[arg(long, default_value = "prices.toml", value_name = "FILE")]
    prices: PathBuf,
    /// The workload: traffic, quality, strategies. See workload.toml.
    #[arg(long, value_name = "FILE", group = "source")]
    workload: Option<PathBuf>,
    /// The log of decisions: sqlite:PATH, postgres://HOST/DATABASE, or a folder of `training export`.
    #[arg(long, value_name = "LOG", group = "source")]
    decision_log: Option<String>,
    /// The dearer model of the log, where there is no workload.
    #[arg(long, value_name = "MODEL", conflicts_with = "workload", requires = "weak")]
    strong: Option<String>,
    /// The cheaper model of the log.
    #[arg(long, value_name = "MODEL", conflicts_with = "workload", requires = "strong")]
    weak: Option<String>,
    /// Write the advice as JSON as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl AdviseArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is refused, a model has no price, or a number is out of its range.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let prices = Prices::read(&self.prices)?;
        let described = self.workload.as_deref().map(Workload::read).transpose()?;
        let workload = match &self.decision_log {
            None => described.context("give --workload or --decision-log")?,
            Some(log) => {
                let models = described.as_ref().map(|w| (w.strong.clone(), w.weak.clone()));
                let models = models.or_else(|| self.strong.clone().zip(self.weak.clone()));
                let (strong, weak) =
                    models.context("which models? give --strong MODEL --weak MODEL, or --workload")?;
                let log = LogArgs { decision_log: log.clone(), horizon_days: 0 };
                let traffic = Traffic::read(&log, &strong, &weak)?;
                tell(&traffic, say);
                with_traffic(described, &traffic, strong, weak)
            }
        };
        let advice = advise(&workload, &prices)?;
        show(&advice, &workload, &prices, say);
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_vec_pretty(&advice)?)
                .with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}

fn tell(traffic: &Traffic, say: &mut dyn FnMut(&str)) {
    say(&format!(
        "log: {} decisions over {:.2} days, {:.3} of them strong; strong's answer is expected to be \
         better on {:.3}, and to have been better on {:.3} kept on weak (as right as the calibration)",
        traffic.decisions,
        traffic.days,
        traffic.strong_call_rate,
        traffic.win_rate,
        traffic.cheap_and_wrong_rate
    ));
    for doubt in traffic.doubts() {
        say(&format!("note: {doubt}"));
    }
}

/// What a log says in place of what was described. Queries kept on weak although strong would have been better cost
/// quality; that weak is sometimes better is left out, so that the estimate errs on the safe side.
fn with_traffic(described: Option<Workload>, traffic: &Traffic, strong: String, weak: String) -> Workload {
    let mut workload = described.unwrap_or(Workload {
        strong,
        weak,
        requests_per_day: 0.0,
        value_per_correct_usd: 0.0,
        quality_floor: 0.95,
        max_latency_p99_s: None,
        quality: Quality { strong: 1.0, weak: 1.0 - traffic.win_rate },
        predictive: None,
        cascade: None,
        semantic: None,
    });
    workload.requests_per_day = traffic.requests_per_day();
    workload.predictive = Some(Predictive {
        strong_call_rate: traffic.strong_call_rate,
        quality: (workload.quality.strong - traffic.cheap_and_wrong_rate).max(0.0),
        decision_s: workload.predictive.map_or(0.0, |p| p.decision_s),
    });
    workload
}

fn show(advice: &Advice, workload: &Workload, prices: &Prices, say: &mut dyn FnMut(&str)) {
    say(&format!(
        "{} over {}, {:.0} requests a day, prices valid on {}",
        workload.strong,
        workload.weak,
        workload.requests_per_day,
        prices.valid_on()
    ));
    say("");
    let head =
        ["strategy", "USD/request", "of strong", "quality", "retained", "mean s", "p99 s", "net USD/month"];
    say(&format!(
        "{:<14} {:>11} {:>9} {:>8} {:>8} {:>7} {:>7} {:>13} {:>11} {:>8}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7], "break-even", "payback"
    ));
    for strategy in &advice.strategies {
        say(&row(strategy));
    }
    say("");
    for note in &advice.notes {
        say(&format!("  {note}"));
    }
    say("");
    say(&format!("Advice: {}", advice.answer));
    for reason in &advice.reasons {
        say(&format!("  {reason}"));
    }
}

fn row(s: &Strategy) -> String {
    let count = |v: f64, unit: &str| if v.is_finite() { format!("{v:.0}{unit}") } else { "never".to_owned() };
    let directly = s.name.starts_with("always");
    let (break_even, payback) = if directly {
        ("–".to_owned(), "–".to_owned())
    } else {
        (count(s.break_even_requests_per_day, "/day"), count(s.payback_days, " d"))
    };
    format!(
        "{:<14} {:>11.6} {:>9.3} {:>8.3} {:>8.3} {:>7.2} {:>7.2} {:>13.0} {break_even:>11} {payback:>8}",
        s.name,
        s.usd_per_request,
        s.cost_fraction,
        s.quality,
        s.quality_retained,
        s.latency_mean_s,
        s.latency_p99_s,
        s.net_usd_per_month
    )
}
