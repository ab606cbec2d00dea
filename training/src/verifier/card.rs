//! The model card of a verifier: measured figures only, in plain words.

use std::fmt::Write;

use artifact::{CascadeRecord, Interval, VerifierManifest};
use evaluation::reliability_equal_mass;
use types::SuccessProbability;

use super::measure::BINS;
use crate::plot::Plot;

const RELIABILITY: &str = "reliability.svg";

/// `MODEL_CARD.md` and the reliability diagram of held-out answers.
pub(crate) fn card_files(
    manifest: &VerifierManifest,
    held_out: Option<(&[SuccessProbability], &[bool])>,
) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("MODEL_CARD.md".to_owned(), card(manifest).into_bytes())];
    if let Some((p, y)) = held_out {
        files.extend(reliability(p, y).map(|svg| (RELIABILITY.to_owned(), svg.into_bytes())));
    }
    files
}

/// The card of a verifier whose figures are unchanged; its diagram is taken over from `folder`.
pub(crate) fn refreshed(manifest: &VerifierManifest, folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let diagram = std::fs::read(folder.join(RELIABILITY)).ok().map(|svg| (RELIABILITY.to_owned(), svg));
    card_files(manifest, None).into_iter().chain(diagram).collect()
}

fn reliability(p: &[SuccessProbability], y: &[bool]) -> Option<String> {
    let p: Vec<f64> = p.iter().map(|p| p.get()).collect();
    let bins = reliability_equal_mass(&p, y, BINS).ok()?;
    let mut plot = Plot::new((0.0, 1.0), (0.0, 1.0), "calibrated success probability", "observed rate");
    plot.line("calibrated", "d", [(0.0, 0.0), (1.0, 1.0)]);
    let mark = |bin: &evaluation::ReliabilityBin| {
        (bin.mean_probability, bin.observed_rate, Some((bin.interval_lower, bin.interval_upper)))
    };
    plot.marks("bins of equal mass", "a", bins.iter().map(mark));
    Some(plot.standalone(&format!("{} held-out answers, exact 95 % intervals", y.len())))
}

fn figure(interval: &Interval) -> String {
    format!("{:.3} [{:.3}, {:.3}]", interval.value, interval.lower, interval.upper)
}

fn card(manifest: &VerifierManifest) -> String {
    let mut text = format!("# {}\n\n", manifest.name);
    let data = &manifest.data;
    let command = manifest.training["command"].as_str().unwrap_or_default();
    let _ = writeln!(
        text,
        "Version `{}`, trained {}.\n\n\
         Given a query and one model's answer to it, this verifier returns P(the answer is acceptable), calibrated \
         by model; what it says of a model that is not listed is calibrated on all of them together. It reads text, \
         not truth: an answer that is wrong in the manner of right ones gets their probability.\n\n\
         Made by `{command}`.\n\n## Data\n\n\
         {} answers to {} queries from {}; fingerprint `{}`. Every figure below is of answers scored by a fit, and \
         calibrated by a map, that saw no answer to a query of their group ({} folds).\n",
        manifest.version,
        manifest.created,
        data.answers,
        data.queries,
        data.sources.join(", "),
        data.fingerprint.chars().take(12).collect::<String>(),
        data.folds,
    );
    signals(&mut text, manifest);
    figures(&mut text, manifest);
    for (name, cascade) in &manifest.cascades {
        cascade_section(&mut text, name, cascade);
    }
    text
}

fn signals(text: &mut String, manifest: &VerifierManifest) {
    let missing: Vec<&str> = features::answer::SIGNAL_NAMES
        .into_iter()
        .filter(|name| !manifest.signals.iter().any(|seen| seen == name))
        .collect();
    let _ = match missing.as_slice() {
        [] => writeln!(text, "Its answers carried every signal beside the text."),
        missing => writeln!(
            text,
            "Its answers carried no {}: sent with a request, these change nothing, and the response says so.",
            missing.join(", no ")
        ),
    };
}

fn figures(text: &mut String, manifest: &VerifierManifest) {
    let metrics = &manifest.metrics;
    let _ = writeln!(
        text,
        "\n## Measured\n\n{} of {} answers are acceptable ({:.1} %).\n\n\
         | scorer | AUROC | Brier | log loss | ECE |\n|---|---|---|---|---|",
        (metrics.base_rate * metrics.answers as f64).round(),
        metrics.answers,
        100.0 * metrics.base_rate
    );
    for (scorer, figures) in &metrics.scorers {
        let of = |name: &str| figures.get(name).map_or_else(String::new, figure);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            scorer.replace('_', " "),
            of("auroc"),
            of("brier"),
            of("log_loss"),
            of("ece")
        );
    }
    text.push('\n');
    for (scorer, gain) in &metrics.auroc_gain {
        let verdict = if gain.lower > 0.0 { "above zero" } else { "**not above zero**" };
        let _ = writeln!(
            text,
            "AUROC over {}: {:+.3} [{:+.3}, {:+.3}] on the same resamples: {verdict}.\n",
            scorer.replace('_', " "),
            gain.value,
            gain.lower,
            gain.upper
        );
    }
    let _ = writeln!(
        text,
        "| model | answers | acceptable | AUROC | query only | answer length | ECE |\n|---|---|---|---|---|---|---|"
    );
    for (model, of) in &metrics.models {
        let auroc = |scorer: &str| of.auroc.get(scorer).map_or_else(String::new, figure);
        let _ = writeln!(
            text,
            "| {model} | {} | {:.3} | {} | {} | {} | {} |",
            of.answers,
            of.base_rate,
            auroc("verifier"),
            auroc("query_only"),
            auroc("answer_length"),
            figure(&of.ece)
        );
    }
    let _ = writeln!(text, "\nIntervals are of resampled groups, 95 %. ![reliability]({RELIABILITY})");
}

fn cascade_section(text: &mut String, name: &str, cascade: &CascadeRecord) {
    let _ = writeln!(
        text,
        "\n## Cascade `{name}`\n\nTuned {} on {} queries for {}, by `{}`.\n\n\
         | stage | abstain below | accept from | skip below | reach | escalated | cost of a call, USD |\n\
         |---|---|---|---|---|---|---|",
        cascade.created, cascade.rows, cascade.objective, cascade.command
    );
    for stage in &cascade.stages {
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.6} |",
            stage.model,
            stage.abstain_below,
            stage.accept_above,
            stage.skip_below,
            stage.reach,
            stage.escalation_rate,
            stage.cost_usd
        );
    }
    text.push('\n');
    for (name, value) in &cascade.measured {
        let _ = writeln!(
            text,
            "- {}: {:.5} [{:.5}, {:.5}]",
            name.replace('_', " "),
            value.value,
            value.lower,
            value.upper
        );
    }
    let _ = match &cascade.certificate {
        Some(certificate) => writeln!(
            text,
            "\nCertified: the error among accepted answers is at most {} with confidence {} ({} of {} tested rows wrong).",
            certificate.alpha,
            1.0 - certificate.delta,
            certificate.loss,
            certificate.tested
        ),
        None => writeln!(text, "\nNo certificate stands behind it."),
    };
}
