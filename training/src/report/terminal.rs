//! The report as lines for a terminal.

use artifact::Interval;

use super::Report;

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
    out.push(format!("{:<34} {:>8} {:>12}", "baseline", "quality", "strong calls"));
    for b in &report.baselines {
        out.push(format!("{:<34} {:>8.4} {:>12.3}", b.name, b.quality, b.strong_call_rate));
    }
    out.push(String::new());
    out.push(format!(
        "{:<16} {:>6} {:>7} {:>24} {:>7} {:>7}",
        "bucket", "rows", "mean p", "weak suffices", "weak", "strong"
    ));
    for b in &report.buckets {
        let range = format!("{:.3}–{:.3}", b.probability.0, b.probability.1);
        let suffices = shown(&b.weak_suffices);
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
            let observed = shown(&s.observed);
            let (rows, mean, p) = (s.rows, s.mean_probability, s.p_value);
            out.push(format!("{:<34} {rows:>6} {mean:>7.3} {observed:>24} {p:>10.4}", s.slice));
        }
    }
    if !report.pair_swaps.is_empty() {
        out.push(String::new());
        out.push(format!(
            "{:<60} {:>6} {:>7} {:>7}",
            "the same probability on another pair", "rows", "AUROC", "APGR"
        ));
        for s in &report.pair_swaps {
            let apgr = s.apgr.map_or("–".to_owned(), |a| format!("{a:.4}"));
            out.push(format!("{:<60} {:>6} {:>7.4} {apgr:>7}", s.pair, s.rows, s.auroc));
        }
    }
    out
}

fn shown(f: &Interval) -> String {
    format!("{:.4} [{:.4}, {:.4}]", f.value, f.lower, f.upper)
}

fn figures(report: &Report, out: &mut Vec<String>) {
    let (classifier, length) = (&report.scorers["classifier"], &report.scorers["prompt_length"]);
    out.push(format!("{:<24} {:>26} {:>26}", "figure", "classifier", "prompt length"));
    let mut names: Vec<&String> = classifier.estimates.keys().chain(length.estimates.keys()).collect();
    names.sort();
    names.dedup();
    let cell = |f: Option<&Interval>| f.map_or("–".to_owned(), shown);
    for name in names {
        let (own, other) = (cell(classifier.estimates.get(name)), cell(length.estimates.get(name)));
        out.push(format!("{name:<24} {own:>26} {other:>26}"));
    }
    let mut names: Vec<&String> = classifier.values.keys().chain(length.values.keys()).collect();
    names.sort();
    names.dedup();
    let cell = |f: Option<&f64>| f.map_or("–".to_owned(), |v| format!("{v:.4}"));
    for name in names {
        let (own, other) = (cell(classifier.values.get(name)), cell(length.values.get(name)));
        out.push(format!("{name:<24} {own:>26} {other:>26}"));
    }
    for (name, difference) in &report.over_prompt_length {
        out.push(format!("{:<24} {:>26}", format!("{name} over length"), shown(difference)));
    }
    for (name, parts) in &report.decomposition {
        out.push(format!(
            "{name:<24} {:.4} = miscalibration {:.4} - discrimination {:.4} + uncertainty {:.4}",
            parts.score, parts.miscalibration, parts.discrimination, parts.uncertainty
        ));
    }
}
