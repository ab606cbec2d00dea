//! The report as one page of HTML that needs nothing else: light and dark, phone and paper. Verdict, headline, plots,
//! then the tables.

use std::fmt::Write;

use super::{Bin, Bucket, CurvePoint, FIGURES, NOTES, Report, figure_cell, precise, swap_cell};
use crate::plot::{Plot, STYLE as PLOTS, escape};

pub(crate) const STYLE: &str = "
* { box-sizing: border-box; print-color-adjust: exact }
body { margin: 0 auto; padding: 1.2rem; max-width: 64rem; font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; break-after: avoid }
p { margin: .3rem 0 } .soft { color: var(--soft); font-size: .9rem }
.verdict { background: var(--card); border-left: .4rem solid; padding: 1rem; margin: 1rem 0; border-radius: .3rem }
.verdict > strong { font-size: 1.4rem } .verdict ul { list-style: none; padding: 0; margin: .5rem 0 0; color: var(--fg) }
.verdict li { display: grid; grid-template-columns: 5rem 1fr; margin: .35rem 0; line-height: 1.4 }
.yes { color: var(--c) } .not_yet { color: var(--b) } .no { color: #dc2626 }
.headline { font-size: 1.1rem; margin: 1rem 0 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.6rem 1.4rem }
figure { margin: 0; break-inside: avoid } figure > svg { display: block; width: 100%; height: auto }
figcaption { font-size: .85rem; color: var(--soft) }
.legend { font-size: .8rem } .key { display: inline-block; margin-right: .9rem }
.key svg { width: 1.4rem; height: .75rem; margin-right: .35rem; vertical-align: -.05rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem }
th, td { padding: .25rem 0 .25rem 1.2rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { vertical-align: bottom } td span { color: var(--soft) } tr { break-inside: avoid }
th:first-child, td:first-child { position: sticky; left: 0; padding-left: 0; text-align: left; white-space: normal; overflow-wrap: normal; background: var(--bg) }
@media (max-width: 40rem) {
  body { padding: .8rem } table { font-size: .72rem } th, td { padding-left: .5rem } td span { display: block }
  th { white-space: normal; overflow-wrap: normal } td:first-child { min-width: 4.6rem; max-width: 8rem }
  .verdict li { grid-template-columns: 3.6rem 1fr }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt } .plots { grid-template-columns: 1fr 1fr } .scroll { overflow: visible }
  table { font-size: 7.5pt } th, td { padding-left: .7rem } th:first-child, td:first-child { position: static }
}
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>{0}: should you route?</title><style>{PLOTS}{STYLE}</style></head><body>\
         <h1>Should you route?</h1><p class='soft'>{0} for {1}, {2} rows in {3} groups of {4}; strong strictly \
         better on {5:.1} % of them; data {6}</p>",
        escape(&report.artifact),
        escape(&report.pair),
        report.rows,
        report.groups,
        escape(&report.sources.join(", ")),
        100.0 * report.base_rate,
        short(&report.data),
    );
    if report.simulated {
        let _ =
            write!(html, "<p class='soft'>These outcomes are {}.</p>", escape(corpus::starter::DISCLAIMER));
    }
    verdict(report, &mut html);
    let _ = write!(
        html,
        "<p class='headline'>At operating point {}: <b>{}</b>.</p><p class='soft'>Brackets are 95 % intervals, \
         bootstrap by group unless said otherwise.</p><h2>Curves</h2><div class='plots'>",
        escape(&report.headline.operating_point),
        escape(&report.headline.sentence),
    );
    for plot in [quality_cost, reliability, cheap_and_wrong, buckets] {
        html.push_str(&plot(report));
    }
    html.push_str("</div>");
    for table in [figures_table, parts_table, baselines_table, buckets_table, slices_table, swaps_table] {
        table(report, &mut html);
    }
    html.push_str("</body></html>\n");
    html
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

fn verdict(report: &Report, html: &mut String) {
    let class = |answer: super::Answer| answer.as_str().replace(' ', "_");
    let answer = report.verdict.answer;
    let _ = write!(
        html,
        "<section class='verdict {}'><strong>{}</strong><ul>",
        class(answer),
        capitalised(answer.as_str())
    );
    for reason in &report.verdict.reasons {
        let standing = reason.standing;
        let (class, word, words) = (class(standing), standing.as_str(), escape(&reason.words));
        let _ = write!(html, "<li><b class='{class}'>{word}</b><span>{words}</span></li>");
    }
    html.push_str("</ul></section>");
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn curve<'a>(report: &'a Report, name: &str) -> &'a [CurvePoint] {
    report.curves.get(name).map_or(&[], Vec::as_slice)
}

fn quality_cost(report: &Report) -> String {
    let all = || report.curves.values().flatten();
    let least = all().map(|p| p.quality).fold(f64::INFINITY, f64::min);
    let most = all().map(|p| p.quality).fold(f64::NEG_INFINITY, f64::max);
    let room = 0.05 * (most - least).max(0.02);
    let start = all().map(|p| p.cost_fraction).fold(f64::INFINITY, f64::min);
    let mut plot =
        Plot::new((0.0, 1.0), (least - room, most + room), "fraction of strong-only cost", "quality");
    let points =
        |name: &str| curve(report, name).iter().map(|p| (p.cost_fraction, p.quality)).collect::<Vec<_>>();
    plot.line("oracle", "c", points("oracle"));
    plot.line("random", "d", [(start, report.gap.weak), (1.0, report.gap.strong)]);
    plot.line("prompt length", "b", points("prompt_length"));
    plot.line("classifier", "a", points("classifier"));
    if let Some(best) = report.baselines.iter().find(|b| b.strong_call_rate.is_none()) {
        plot.line(&best.name, "e", [(0.0, best.quality.value), (1.0, best.quality.value)]);
    }
    let measured = &report.headline.measured;
    let cost = measured.get("cost_fraction").or(measured.get("strong_call_rate"));
    if let (Some(x), Some(y)) = (cost, measured.get("quality")) {
        plot.marks("operating point", "f", [(x.value, y.value, Some((y.lower, y.upper)))]);
    }
    plot.figure("What a share of strong-only cost buys: quality over cost for every threshold.")
}

fn reliability(report: &Report) -> String {
    let most =
        report.reliability.iter().map(|b| b.observed.upper.max(b.mean_probability)).fold(0.0, f64::max);
    let most = (most * 1.05).min(1.0);
    let mut plot = Plot::new((0.0, most), (0.0, most), "win probability", "share where strong was better");
    let edge = |of: fn(&Bin) -> f64| {
        report.reliability.iter().map(|b| (b.mean_probability, of(b))).collect::<Vec<_>>()
    };
    plot.band(
        "consistent with right probabilities (95 %)",
        "d",
        &edge(|b| b.consistent.0),
        &edge(|b| b.consistent.1),
    );
    plot.line("", "d", [(0.0, 0.0), (most, most)]);
    let mark = |b: &Bin| (b.mean_probability, b.observed.value, Some((b.observed.lower, b.observed.upper)));
    plot.marks("observed, exact 95 % interval", "a", report.reliability.iter().map(mark));
    plot.figure("Do probabilities mean what they say? Ten bins of equal mass.")
}

fn cheap_and_wrong(report: &Report) -> String {
    let points = |name: &str| {
        curve(report, name).iter().map(|p| (p.strong_call_rate, p.cheap_and_wrong_rate)).collect::<Vec<_>>()
    };
    let most = curve(report, "classifier").first().map_or(1.0, |p| p.cheap_and_wrong_rate);
    let mut plot = Plot::new((0.0, 1.0), (0.0, most), "strong-call rate", "cheap-and-wrong rate");
    plot.line("random", "d", [(0.0, most), (1.0, 0.0)]);
    plot.line("prompt length", "b", points("prompt_length"));
    plot.line("classifier", "a", points("classifier"));
    if let (Some(x), Some(y)) = (
        report.headline.measured.get("strong_call_rate"),
        report.headline.measured.get("cheap_and_wrong_rate"),
    ) {
        plot.marks("operating point", "f", [(x.value, y.value, Some((y.lower, y.upper)))]);
    }
    plot.figure(
        "Queries kept on weak although strong would have been better, for every share of strong calls.",
    )
}

fn buckets(report: &Report) -> String {
    let x = |b: &Bucket| b.mean_probability;
    let least = report.buckets.iter().map(|b| b.weak.min(b.strong)).fold(f64::INFINITY, f64::min);
    let most = report.buckets.iter().map(|b| b.weak_suffices.upper.max(b.strong)).fold(0.0, f64::max);
    let range = (report.buckets.first().map_or(0.0, x), report.buckets.last().map_or(1.0, x));
    let margin = 0.03 * (range.1 - range.0);
    let range = ((range.0 - margin).max(0.0), (range.1 + margin).min(1.0));
    let mut plot = Plot::new(
        range,
        (least - 0.03, most.min(1.0)),
        "win probability (mean of the bucket)",
        "share or score",
    );
    let suffices =
        |b: &Bucket| (x(b), b.weak_suffices.value, Some((b.weak_suffices.lower, b.weak_suffices.upper)));
    plot.marks("weak suffices (Wilson 95 %)", "c", report.buckets.iter().map(suffices));
    plot.line("score of weak", "b", report.buckets.iter().map(|b| (x(b), b.weak)));
    plot.line("score of strong", "a", report.buckets.iter().map(|b| (x(b), b.strong)));
    if let Some(at) = report.gap_opens_at() {
        plot.line(&format!("gap reaches half of its greatest at {at:.3}"), "d", [(at, 0.0), (at, 1.0)]);
    }
    plot.figure("Where the gap opens: scores of both models over tenths of the rows by probability.")
}

fn table(html: &mut String, title: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return;
    }
    // On a phone the interval goes below its figure.
    let cell = |text: &String| match escape(text).split_once(" [") {
        Some((value, interval)) => format!("<td>{value} <span>[{interval}</span></td>"),
        None => format!("<td>{}</td>", escape(text)),
    };
    let head: String = head.iter().map(|h| format!("<th>{}</th>", escape(h))).collect();
    let _ = write!(html, "<h2>{title}</h2><div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>");
    for row in rows {
        let _ = write!(html, "<tr>{}</tr>", row.iter().map(cell).collect::<String>());
    }
    html.push_str("</tbody></table></div>");
}

fn figures_table(report: &Report, html: &mut String) {
    let rows = FIGURES.into_iter().map(|(key, label)| {
        let cell = |figures| figure_cell(report, figures, key);
        let (classifier, length) = (&report.scorers["classifier"], &report.scorers["prompt_length"]);
        let cells = [&classifier.estimates, &length.estimates, &report.over_prompt_length].map(cell);
        std::iter::once(label.to_owned()).chain(cells).collect()
    });
    table(html, "Figures", &["figure", "classifier", "prompt length", "difference, paired"], rows);
    for note in NOTES {
        let _ = write!(html, "<p class='soft'>{}</p>", escape(note));
    }
}

fn parts_table(report: &Report, html: &mut String) {
    let parts = report.decomposition.iter().map(|(name, d)| {
        let parts = [&d.score, &d.miscalibration, &d.discrimination, &d.uncertainty];
        std::iter::once(name.replace('_', " ")).chain(parts.map(precise)).collect()
    });
    let head = ["score", "value", "= miscalibration", "− discrimination", "+ uncertainty"];
    table(html, "Where the error comes from (CORP)", &head, parts);
}

fn baselines_table(report: &Report, html: &mut String) {
    let baselines = report.baselines.iter().map(|b| {
        let calls = b.strong_call_rate.map_or("–".to_owned(), |rate| format!("{rate:.3}"));
        vec![b.name.clone(), precise(&b.quality), calls, precise(&b.operating_point_over)]
    });
    let head = ["policy", "quality", "strong-call rate", "operating point over it, paired"];
    table(html, "Baselines", &head, baselines);
}

fn buckets_table(report: &Report, html: &mut String) {
    let buckets = report.buckets.iter().map(|b| {
        vec![
            format!("{:.3}–{:.3}", b.probability.0, b.probability.1),
            b.rows.to_string(),
            format!("{:.3}", b.mean_probability),
            precise(&b.weak_suffices),
            format!("{:.3}", b.weak),
            format!("{:.3}", b.strong),
        ]
    });
    let head = ["win probability", "rows", "mean", "weak suffices (Wilson)", "weak", "strong"];
    table(html, "Buckets", &head, buckets);
}

fn slices_table(report: &Report, html: &mut String) {
    let slices = report.slices.iter().map(|s| {
        vec![
            s.slice.clone(),
            s.rows.to_string(),
            format!("{:.3}", s.mean_probability),
            precise(&s.observed),
            format!("{:.4}", s.p_value),
        ]
    });
    let head = ["slice", "rows", "mean probability", "observed (exact)", "p (Holm)"];
    table(html, "Slices, least calibrated first", &head, slices);
}

fn swaps_table(report: &Report, html: &mut String) {
    let swaps = report
        .pair_swaps
        .iter()
        .map(|s| vec![s.pair.clone(), s.rows.to_string(), precise(&s.gap), precise(&s.auroc), swap_cell(s)]);
    table(html, "The same probability on other pairs", &["pair", "rows", "gap", "AUROC", "APGR"], swaps);
}
