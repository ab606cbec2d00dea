//! The report as lines for a terminal.

use super::{FIGURES, NOTES, Report, figure_cell, precise, swap_cell};

/// Slices that are shown, the least calibrated ones; report.json and the page hold all.
const MOST_SLICES: usize = 10;

/// What is printed, line by line.
pub fn lines(report: &Report) -> Vec<String> {
    let mut out = vec![
        format!(
            "{} on {} rows in {} groups of {}",
            report.artifact,
            report.rows,
            report.groups,
            report.sources.join(", ")
        ),
        format!("pair {}, strong strictly better on {:.1} % of rows", report.pair, 100.0 * report.base_rate),
    ];
    if report.simulated {
        out.push(format!("note: these outcomes are {}", corpus::starter::DISCLAIMER));
    }
    out.push(String::new());
    out.push(format!("Should you route? {}", report.verdict.answer.as_str().to_uppercase()));
    for reason in &report.verdict.reasons {
        out.push(format!("  {:<8} {}", reason.standing.as_str(), reason.words));
    }
    out.push(String::new());
    out.push(format!("At {}: {}", report.headline.operating_point, report.headline.sentence));
    out.push(String::new());
    figures(report, &mut out);
    out.push(String::new());
    baselines(report, &mut out);
    buckets(report, &mut out);
    slices(report, &mut out);
    swaps(report, &mut out);
    out
}

/// Figures of both scorers and their paired difference, then where the error comes from.
fn figures(report: &Report, out: &mut Vec<String>) {
    let head = ["figure", "classifier", "prompt length", "difference, paired"];
    out.push(format!("{:<28} {:>26} {:>26} {:>28}", head[0], head[1], head[2], head[3]));
    let (classifier, length) = (&report.scorers["classifier"], &report.scorers["prompt_length"]);
    for (key, label) in FIGURES {
        let [own, other, over] = [&classifier.estimates, &length.estimates, &report.over_prompt_length]
            .map(|figures| figure_cell(report, figures, key));
        out.push(format!("{label:<28} {own:>26} {other:>26} {over:>28}"));
    }
    out.extend(NOTES.map(|note| format!("note: {note}")));
    out.push(String::new());
    let head = ["score", "value", "= miscalibration", "- discrimination", "+ uncertainty"];
    out.push(format!("{:<10} {:>24} {:>24} {:>24} {:>24}", head[0], head[1], head[2], head[3], head[4]));
    for (name, d) in &report.decomposition {
        let [value, mcb, dsc, unc] =
            [&d.score, &d.miscalibration, &d.discrimination, &d.uncertainty].map(precise);
        out.push(format!("{:<10} {value:>24} {mcb:>24} {dsc:>24} {unc:>24}", name.replace('_', " ")));
    }
}

fn buckets(report: &Report, out: &mut Vec<String>) {
    out.push(String::new());
    let head = ["win probability", "rows", "mean", "weak suffices", "weak", "strong"];
    out.push(format!(
        "{:<16} {:>8} {:>7} {:>24} {:>7} {:>7}",
        head[0], head[1], head[2], head[3], head[4], head[5]
    ));
    for b in &report.buckets {
        let range = format!("{:.3}–{:.3}", b.probability.0, b.probability.1);
        let suffices = precise(&b.weak_suffices);
        out.push(format!(
            "{range:<16} {:>8} {:>7.3} {suffices:>24} {:>7.3} {:>7.3}",
            b.rows, b.mean_probability, b.weak, b.strong
        ));
    }
}

fn slices(report: &Report, out: &mut Vec<String>) {
    if report.slices.is_empty() {
        return;
    }
    out.push(String::new());
    let head = ["slice, least calibrated first", "rows", "mean", "observed", "p (Holm)"];
    out.push(format!("{:<34} {:>8} {:>7} {:>24} {:>10}", head[0], head[1], head[2], head[3], head[4]));
    for s in report.slices.iter().take(MOST_SLICES) {
        let observed = precise(&s.observed);
        let (rows, mean, p) = (s.rows, s.mean_probability, s.p_value);
        out.push(format!("{:<34} {rows:>8} {mean:>7.3} {observed:>24} {p:>10.4}", s.slice));
    }
    let more = report.slices.len().saturating_sub(MOST_SLICES);
    if more > 0 {
        out.push(format!("and {more} more in report.html"));
    }
}

fn baselines(report: &Report, out: &mut Vec<String>) {
    let head = ["baseline", "quality", "strong calls", "operating point over it"];
    out.push(format!("{:<48} {:>24} {:>12} {:>26}", head[0], head[1], head[2], head[3]));
    for b in &report.baselines {
        let calls = b.strong_call_rate.map_or("–".to_owned(), |rate| format!("{rate:.3}"));
        let (quality, over) = (precise(&b.quality), precise(&b.operating_point_over));
        out.push(format!("{:<48} {quality:>24} {calls:>12} {over:>26}", b.name));
    }
}

fn swaps(report: &Report, out: &mut Vec<String>) {
    if report.pair_swaps.is_empty() {
        return;
    }
    out.push(String::new());
    let head = ["the same probability on another pair", "rows", "gap", "AUROC", "APGR"];
    out.push(format!("{:<60} {:>6} {:>24} {:>24} {:>24}", head[0], head[1], head[2], head[3], head[4]));
    for s in &report.pair_swaps {
        let (gap, auroc, apgr) = (precise(&s.gap), precise(&s.auroc), swap_cell(s));
        out.push(format!("{:<60} {:>6} {gap:>24} {auroc:>24} {apgr:>24}", s.pair, s.rows));
    }
}
