//! `training recalibrate`: an artifact's probabilities moved by what came of its answers, if that helps.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use artifact::{Artifact, OperatingPoint};
use calibration::{Adjustment, MIN_ROWS, Observed, Prequential, Window, prequential};
use clap::Args;
use classifier::Backend;
use decision_log::Joined;
use policy::{Certificate, Risk};
use types::{ModelPair, Threshold, WinProbability};

use crate::card::refresh;
use crate::log::LogArgs;

/// Move the win probabilities of an artifact by the outcomes of its own decisions.
///
/// A line through the calibrated logit is fitted to the last outcomes, older ones count less, and a prior pulls it to no
/// change. It is taken only where it would have predicted the last outcomes better than what was said, each from those
/// before it, and where every certificate passes again on them; otherwise the artifact stays as it is and the command
/// fails. Thresholds move along, so that the same queries go strong as before; select them again where the traffic has
/// changed. Shadows of a rollout show what it would do before it does.
#[derive(Debug, Clone, Args)]
pub struct RecalibrateArgs {
    /// Folder of the artifact; only outcomes of its own decisions count. Written in place, or to --out.
    #[arg(long, short = 'a', default_value = "models/default", value_name = "FOLDER")]
    artifact: PathBuf,
    /// Folder of the new artifact.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    /// Outcomes after which one counts half.
    #[arg(long, default_value_t = Window::default().half_life, value_name = "OUTCOMES")]
    half_life: f64,
    /// Inverse variance of the prior around no change.
    #[arg(long, default_value_t = Window::default().precision, value_name = "PRECISION")]
    prior: f64,
    /// Last outcomes that judge; the line that is judged never saw them.
    #[arg(long, default_value_t = 200, value_name = "OUTCOMES")]
    judge_on: usize,
    /// Weigh each outcome by one over its propensity: for labels that only explored queries got.
    #[arg(long)]
    weigh_by_propensity: bool,
    /// Show what would change and write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl RecalibrateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the artifact or the log is refused, there are too few outcomes, or no pair's adjustment is accepted.
    pub fn run(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        ensure!(
            self.half_life > 0.0 && self.prior > 0.0 && self.half_life.is_finite() && self.prior.is_finite(),
            "--half-life and --prior: expected finite numbers above 0, found {} and {}",
            self.half_life,
            self.prior
        );
        let artifact = Artifact::load(&self.artifact, Backend::Flex)?;
        let version = artifact.manifest().version.clone();
        let mut all: Vec<Joined> = Vec::new();
        let mut of_others = 0usize;
        self.log.read(&mut |joined| {
            if joined.decision.artifact_version == version {
                all.push(joined);
            } else {
                of_others += 1;
            }
        })?;
        if of_others > 0 {
            say(&format!("{of_others} decisions of other artifacts than {version} do not count"));
        }
        all.sort_by_key(|joined| joined.decision.time_us);
        let mut draft = artifact.draft();
        let (mut accepted, mut judged) = (0, 0);
        for calibrator in artifact.calibrators() {
            let pair = &calibrator.pair;
            let outcomes = self.outcomes(&all, pair)?;
            if outcomes.is_empty() {
                say(&format!("{pair}: no outcome, it stays as it is"));
                continue;
            }
            judged += 1;
            let points = draft.operating_points.values().filter_map(|by_pair| by_pair.get(&pair.to_string()));
            let points: Vec<OperatingPoint> = points.cloned().collect();
            let Some(adjustment) = self.judged(pair, &outcomes, &points, say)? else { continue };
            accepted += 1;
            for known in draft.calibrators.iter_mut().filter(|c| c.pair == *pair) {
                known.calibrator = known.calibrator.clone().adjusted(adjustment)?;
            }
            for known in draft.deep.iter_mut().flat_map(|deep| &mut deep.pairs) {
                if known.calibrator.pair == *pair {
                    known.calibrator.calibrator = known.calibrator.calibrator.clone().adjusted(adjustment)?;
                    known.band = adjustment.band(known.band);
                }
            }
            for by_pair in draft.operating_points.values_mut() {
                if let Some(point) = by_pair.get_mut(&pair.to_string()) {
                    point.low = adjustment.threshold(Threshold::new(point.low)?).get();
                    point.high = adjustment.threshold(Threshold::new(point.high)?).get();
                    point.bound_to.clear();
                }
            }
            // Figures measured with another calibrator are no figures of this one.
            draft.metrics.pairs.retain(|metrics| metrics.pair != pair.to_string());
        }
        ensure!(
            judged > 0,
            "the log holds no outcome of a decision of artifact {version} that says which answer was better"
        );
        if accepted == 0 {
            bail!("no adjustment was accepted: the artifact stays as it is");
        }
        if self.dry_run {
            say("dry run: nothing was written");
            return Ok(());
        }
        let out = self.out.as_ref().unwrap_or(&self.artifact);
        let calibrators = draft.calibrators.clone();
        let written = draft.write(out, |manifest| refresh(manifest, &calibrators, &self.artifact))?;
        say(&format!("wrote {} (version {})", out.display(), written.version));
        Ok(())
    }

    /// What came of decisions between the two models, oldest first.
    fn outcomes(&self, all: &[Joined], pair: &ModelPair) -> Result<Vec<Observed>> {
        let mut outcomes = Vec::new();
        for joined in all {
            let of_pair = |label: &decision_log::Label| {
                label.strong == pair.strong().as_str() && label.weak == pair.weak().as_str()
            };
            for label in joined.labels().into_iter().filter(of_pair) {
                let weight = if self.weigh_by_propensity { 1.0 / joined.decision.propensity } else { 1.0 };
                outcomes.push(Observed {
                    win_probability: WinProbability::new(label.win_probability)
                        .with_context(|| joined.decision.decision_id.to_string())?,
                    strong_better: label.strong_better,
                    weight,
                });
            }
        }
        Ok(outcomes)
    }

    /// The adjustment, where it is accepted.
    fn judged(
        &self,
        pair: &ModelPair,
        outcomes: &[Observed],
        points: &[OperatingPoint],
        say: &mut dyn FnMut(&str),
    ) -> Result<Option<Adjustment>> {
        let (n, least) = (outcomes.len(), self.judge_on + MIN_ROWS);
        if n < least {
            say(&format!("{pair}: {n} outcomes, at least {least} are needed: it stays as it is"));
            return Ok(None);
        }
        let window = Window { half_life: self.half_life, precision: self.prior };
        let Prequential { judged, as_said, adjusted } = prequential(outcomes, self.judge_on, &window)?;
        say(&format!(
            "{pair}: {n} outcomes; log loss of the last {judged} as said {as_said:.4}, adjusted by what was known before \
             {adjusted:.4}"
        ));
        if adjusted >= as_said {
            say("  not accepted: it would not have helped");
            return Ok(None);
        }
        let (before, fresh) = outcomes.split_at(n - self.judge_on);
        let known = Adjustment::fit(before, &window)?;
        for point in points {
            if let Some(why) = certificate_fails(point, known, fresh)? {
                say(&format!("  not accepted: {why}"));
                return Ok(None);
            }
        }
        let found = Adjustment::fit(outcomes, &window)?;
        say(&format!(
            "  accepted: logits times {:.3}, then {:+.3}; a probability of 0.2, 0.5 and 0.8 becomes {}",
            found.slope(),
            found.intercept(),
            [0.2, 0.5, 0.8]
                .map(|p| format!("{:.3}", found.of(WinProbability::saturating(p)).get()))
                .join(", ")
        ));
        Ok(Some(found))
    }
}

/// Why the certificate of a threshold does not pass on fresh outcomes; `None` where it passes or there is none.
fn certificate_fails(
    point: &OperatingPoint,
    adjustment: Adjustment,
    fresh: &[Observed],
) -> Result<Option<String>> {
    let Some(record) = &point.certificate else { return Ok(None) };
    let risk = match record.risk.as_str() {
        "cheap-and-wrong" => Risk::CheapAndWrong,
        "wrong-given-cheap" => Risk::WrongGivenCheap,
        "graded-loss" => Risk::GradedLoss,
        other => bail!("a certificate of an unknown risk {other:?}"),
    };
    let wanted = Certificate { risk, alpha: record.alpha, delta: record.delta };
    let threshold = adjustment.threshold(Threshold::new(point.high)?);
    let p: Vec<WinProbability> = fresh.iter().map(|row| adjustment.of(row.win_probability)).collect();
    let losses: Vec<f64> = fresh.iter().map(|row| f64::from(u8::from(row.strong_better))).collect();
    let least = policy::least_labels_for_certificate(record.alpha, record.delta);
    Ok(match wanted.test(threshold, &p, &losses)? {
        Some(tested) if tested.p_value <= record.delta => None,
        Some(tested) => Some(format!(
            "its certificate ({} at most {} with {:.0} %) does not pass on {} fresh outcomes with {:.1} wrong (p {:.3}); at \
             least {least} without a wrong one are needed, see --judge-on",
            record.risk,
            record.alpha,
            100.0 * (1.0 - record.delta),
            tested.tested,
            tested.loss,
            tested.p_value
        )),
        None => Some("no fresh outcome tests its certificate".to_owned()),
    })
}
