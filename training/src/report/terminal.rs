//! The report as lines for a terminal.

use artifact::Interval;

use super::{NO_GAP, Report, names, precise};

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
    out.push(String::new());
    out.push(format!(
        "{:<16} {:>6} {:>7} {:>24} {:>7} {:>7}",
        "bucket", "rows", "mean p", "weak suffices", "weak", "strong"
    ));
    for b in &report.buckets {
        let range = format!("{:.3}–{:.3}", b.probability.0, b.probability.1);
        let suffices = precise(&b.weak_suffices);
        out.push(format!(
            "{range:<16} {:>6} {:>7.3} {suffices:>24} {:>7.3} {:>7.3}",
            b.rows, b.mean_probability, b.weak, b.strong
        ));
    }
    if !report.slices.is_empty() {
        out.push(String::new());
        out.push(format!(
            "{:<34} {:>6} {:>7} {:>24} {:>10}",
            "slice", "rows", "mean p", "observed", "p (Holm)"
        ));
        for s in &report.slices {
            let observed = precise(&s.observed);
            let (rows, mean, p) = (s.rows, s.mean_probability, s.p_value);
            out.push(format!("{:<34} {rows:>6} {mean:>7.3} {observed:>24} {p:>10.4}", s.slice));
        }
    }
    swaps(report, &mut out);
    out
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
        let apgr = s.apgr.as_ref().map_or(NO_GAP.to_owned(), precise);
        let (gap, auroc) = (precise(&s.gap), precise(&s.auroc));
        out.push(format!("{:<60} {:>6} {gap:>24} {auroc:>24} {apgr:>24}", s.pair, s.rows));
    }
}

/// Figures of both scorers and their paired difference.
fn figures(report: &Report, out: &mut Vec<String>) {
    let (classifier, length) =
        (&report.scorers["classifier"].estimates, &report.scorers["prompt_length"].estimates);
    let head = ["figure", "classifier", "prompt length", "difference, paired"];
    out.push(format!("{:<24} {:>26} {:>26} {:>28}", head[0], head[1], head[2], head[3]));
    let cell = |f: Option<&Interval>| f.map_or("–".to_owned(), precise);
    for name in names(report) {
        let (own, other) = (cell(classifier.get(name)), cell(length.get(name)));
        let over = cell(report.over_prompt_length.get(name));
        out.push(format!("{name:<24} {own:>26} {other:>26} {over:>28}"));
    }
    if report.no_gap_to_recover {
        out.push(format!("{:<24} {NO_GAP:>26}", "apgr, cpt"));
    }
    for (name, d) in &report.decomposition {
        out.push(format!(
            "{name:<24} {} = miscalibration {} - discrimination {} + uncertainty {}",
            precise(&d.score),
            precise(&d.miscalibration),
            precise(&d.discrimination),
            precise(&d.uncertainty)
        ));
    }
}
