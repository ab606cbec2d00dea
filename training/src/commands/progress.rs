//! What a long command shows while it runs, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::fit::{FitReport, Observer, Outcome, Progress};

/// Set by Ctrl-C; a second Ctrl-C ends the process.
pub(super) fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .context("listening for Ctrl-C")?;
    Ok(flag)
}

/// How a fit ended, in a line; `kept` is what happens to the best state of an interrupted one.
pub(super) fn outcome(report: &FitReport, kept: &str) -> String {
    let FitReport { epochs, best_epoch, .. } = report;
    match report.outcome {
        Outcome::Finished => format!("fitted {epochs} epochs, the best was {best_epoch}"),
        Outcome::StoppedEarly => format!("stopped after {epochs} epochs, the best was {best_epoch}"),
        Outcome::Interrupted => {
            format!("interrupted: the best state so far (epoch {best_epoch}) is kept, {kept}")
        }
    }
}

/// A progress bar with loss, the figure on the dev rows and time left.
pub(super) struct Bar<'a> {
    bar: ProgressBar,
    /// What the figure is.
    figure: &'static str,
    dev: f64,
    /// Where each epoch leaves a line: a run of a night is followed in its log.
    log: Option<&'a mut dyn FnMut(&str)>,
    begun: Instant,
}

impl<'a> Bar<'a> {
    pub(super) fn new(what: &'static str, figure: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let style = format!("{what} {{bar:30}} {{pos}}/{{len}} steps, {{msg}}, {{eta}} left");
        let style = ProgressStyle::with_template(&style);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, figure, dev: f64::NAN, log: None, begun: Instant::now() }
    }

    /// With a line for each epoch.
    pub(super) fn logging(self, say: &'a mut dyn FnMut(&str)) -> Self {
        Self { log: Some(say), ..self }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Bar<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.bar.set_length(progress.steps as u64);
        self.bar.set_position(progress.step as u64);
        if let Some((loss, figure)) = progress.dev {
            self.dev = figure;
            if let Some(say) = &mut self.log {
                let seconds = self.begun.elapsed().as_secs_f64();
                let line = format!(
                    "epoch {}: dev loss {loss:.5}, {} {figure:.4} (at {seconds:.0} s)",
                    progress.epoch, self.figure
                );
                self.bar.suspend(|| say(&line));
            }
        }
        self.bar.set_message(format!("loss {:.4}, dev {} {:.4}", progress.loss, self.figure, self.dev));
    }
}
