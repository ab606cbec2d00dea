//! The model card and its reliability diagram: measured figures only, in plain words.

use std::fmt::Write;
use std::path::Path;

use artifact::{DeepRecord, Interval, Manifest, PairCalibrator, PairMetrics, ZeroShotMetrics};
use calibration::Map;
use evaluation::{ReliabilityBin, reliability_equal_mass};
use types::ModelPair;

use crate::accuracy_curve;
use crate::measure::Measured;
use crate::plot::escape;

const BINS: usize = 10;

/// `MODEL_CARD.md` and one `reliability-N.svg` per pair.
pub(crate) fn card_files(
    manifest: &Manifest,
    calibrators: &[PairCalibrator],
    measured: &[Measured],
) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("MODEL_CARD.md".to_owned(), card(manifest, calibrators).into_bytes())];
    for (i, (rows, calibrator)) in measured.iter().zip(calibrators).enumerate() {
        if let Ok(bins) = reliability_equal_mass(&rows.probabilities, &rows.labels, BINS) {
            files.push((figure(i), reliability_svg(&calibrator.pair, &bins, rows.labels.len()).into_bytes()));
        }
    }
    files.extend(curves(manifest));
    files
}

/// The accuracy curve of every operating point that was read off one.
fn curves(manifest: &Manifest) -> impl Iterator<Item = (String, Vec<u8>)> {
    let points = manifest.operating_points.iter().flat_map(|(name, by_pair)| {
        by_pair.iter().enumerate().map(move |(i, (pair, point))| (curve_figure(name, i), pair, point))
    });
    points.filter_map(|(file, pair, point)| Some((file, accuracy_curve::svg(pair, point)?.into_bytes())))
}

fn curve_figure(name: &str, i: usize) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("accuracy-curve-{plain}-{}.svg", i + 1)
}

/// The card of a manifest whose figures are unchanged: their diagrams are taken over from `folder`.
pub(crate) fn refresh(
    manifest: &Manifest,
    calibrators: &[PairCalibrator],
    folder: &Path,
) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("MODEL_CARD.md".to_owned(), card(manifest, calibrators).into_bytes())];
    files.extend(curves(manifest));
    let measured = (0..calibrators.len()).filter(|i| metrics_of(manifest, &calibrators[*i]).is_some());
    files.extend(
        measured.map(figure).filter_map(|name| Some((name.clone(), std::fs::read(folder.join(&name)).ok()?))),
    );
    files
}

fn figure(i: usize) -> String {
    format!("reliability-{}.svg", i + 1)
}

fn card(manifest: &Manifest, calibrators: &[PairCalibrator]) -> String {
    let mut text = format!("# {}\n\n", manifest.name);
    if manifest.simulated {
        let _ = writeln!(text, "> **Simulated outcomes.** {}.\n", capitalised(corpus::starter::DISCLAIMER));
    }
    let splits = manifest.data.splits;
    let _ = writeln!(
        text,
        "Version `{}`, calibrator `{}`, trained {}.\n\n\
         Given a query, this artifact returns P(the strong model's answer is strictly better), calibrated \
         per pair; a tie means the weak model suffices.\n\n\
         Made by `{}`.\n\n## Data\n\n\
         {} rows from {}; fingerprint `{}`. Split by group of near-duplicates: {} fit, {} dev, \
         {} calibrate, {} test.\n\n## Measured on the test split\n",
        manifest.version,
        manifest.calibrator_version,
        manifest.created,
        manifest.training["command"].as_str().unwrap_or("training fit"),
        manifest.data.rows,
        manifest.data.sources.join(", "),
        manifest.data.fingerprint,
        splits.fit,
        splits.dev,
        splits.calibrate,
        splits.test,
    );
    for (i, calibrator) in calibrators.iter().enumerate() {
        pair_heading(&mut text, calibrator);
        match metrics_of(manifest, calibrator) {
            Some(metrics) => pair_figures(&mut text, metrics, i),
            None => text.push_str(
                "Not measured since it was calibrated: `training evaluate` does so on rows that took no part in it.\n",
            ),
        }
    }
    if let Some(deep) = &manifest.deep {
        tiers_section(&mut text, deep);
    }
    if let Some(first) = manifest.metrics.zero_shot.first() {
        zero_shot_section(&mut text, first, manifest);
    }
    operating_points_section(&mut text, manifest);
    text.push_str(
        "## What it is not good for\n\n\
         - Models other than those of the pairs above, or the same models behind another prompt template: \
         calibrate again on outcomes of your own traffic.\n\
         - Queries unlike the data: outside it the ranking falls towards chance and the probabilities \
         towards a wrong base rate.\n\
         - Promises beyond the certificates above: an operating point without one is a measurement.\n",
    );
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn metrics_of<'a>(manifest: &'a Manifest, calibrator: &PairCalibrator) -> Option<&'a PairMetrics> {
    manifest.metrics.pairs.iter().find(|metrics| metrics.pair == calibrator.pair.to_string())
}

fn pair_heading(text: &mut String, calibrator: &PairCalibrator) {
    let how = match calibrator.cross_fit_folds {
        0 => "scores of held-out rows".to_owned(),
        k => format!("held-out scores, {k}-fold cross-fitting included"),
    };
    let _ = writeln!(
        text,
        "\n### Strong {} over weak {}\n\n\
         Calibrated by {} on {} {how} (data `{}`, {}, {}){}.\n",
        calibrator.pair.strong(),
        calibrator.pair.weak(),
        map_in_words(calibrator),
        calibrator.rows,
        calibrator.origin.data.get(..12).unwrap_or(&calibrator.origin.data),
        calibrator.origin.split,
        calibrator.origin.created,
        backends_in_words(calibrator),
    );
}

/// What the calibrator belongs to, where that was told.
fn backends_in_words(calibrator: &PairCalibrator) -> String {
    let backends = calibrator.origin.backends.iter();
    let told: Vec<String> = backends.map(|(model, b)| format!("{model} by {}", b.identity())).collect();
    if told.is_empty() { String::new() } else { format!(", for {}", told.join(" and ")) }
}

fn pair_figures(text: &mut String, metrics: &PairMetrics, i: usize) {
    let _ = writeln!(
        text,
        "{} test rows, strong strictly better on {:.1} % of them. Intervals: 95 %, bootstrap by group.\n",
        metrics.rows,
        100.0 * metrics.base_rate,
    );
    let tiered = metrics.scorers.contains_key("deep_tier");
    text.push_str(if tiered {
        "| figure | both tiers | fast tier | deep tier | prompt length | base rate |\n|---|---|---|---|---|---|\n"
    } else {
        "| figure | classifier | prompt length | base rate |\n|---|---|---|---|\n"
    });
    for (key, name) in [
        ("auroc", "AUROC"),
        ("apgr", "APGR (full sweep)"),
        ("brier", "Brier"),
        ("log_loss", "log loss"),
        ("ece", "ECE (10 bins of equal mass)"),
        ("truth_mae", "mean absolute error to the true probability"),
    ] {
        let cell =
            |scorer: &str| metrics.scorers.get(scorer).and_then(|f| f.get(key)).map_or("–".into(), shown);
        if metrics.scorers.values().any(|f| f.contains_key(key)) {
            let (own, length, base) = (cell("classifier"), cell("prompt_length"), cell("base_rate"));
            let tiers = if tiered {
                format!("{} | {} | ", cell("fast_tier"), cell("deep_tier"))
            } else {
                String::new()
            };
            let _ = writeln!(text, "| {name} | {own} | {tiers}{length} | {base} |");
        }
    }
    let _ = writeln!(text, "\n{}\n\n![Reliability]({})\n", verdict(metrics), figure(i));
}

/// The map with its parameters, and what it was chosen over.
fn map_in_words(calibrator: &PairCalibrator) -> String {
    let mut text = match calibrator.calibrator.map() {
        Map::Platt(map) => {
            format!("Platt scaling (slope {:.4}, intercept {:.4})", map.slope(), map.intercept())
        }
        Map::Temperature(map) => format!("temperature scaling (1/T {:.4})", map.beta()),
        Map::Beta(map) => {
            let [a, b, c] = map.parameters();
            format!("beta calibration (a {a:.4}, b {b:.4}, c {c:.4})")
        }
        Map::Isotonic(map) => format!("isotonic regression ({} knots)", map.knots().len()),
        Map::CentredIsotonic(map) => format!("centred isotonic regression ({} knots)", map.knots().len()),
        Map::VennAbers => "the merged Venn-Abers probability".to_owned(),
    };
    if calibrator.log_losses.len() > 1 {
        let losses: Vec<String> =
            calibrator.log_losses.iter().map(|(name, loss)| format!("{name} {loss:.5}")).collect();
        let _ = write!(text, ", the least cross-validated log loss of {},", losses.join(", "));
    }
    text
}

/// Every threshold with what was measured and proved at it.
fn operating_points_section(text: &mut String, manifest: &Manifest) {
    text.push_str(
        "\n## Operating points\n\nSelected by `training threshold`, or by `training fit` for `default`.\n\n\
         | name | pair | objective | threshold | rows | strong-call rate | quality retained | cheap-and-wrong | certificate |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, by_pair) in &manifest.operating_points {
        for (pair, point) in by_pair {
            let measured = |key: &str| point.measured.get(key).map_or("–".into(), shown);
            let threshold = if point.low == point.high {
                format!("{:.4}", point.low)
            } else {
                format!("{:.4} or {:.4}", point.low, point.high)
            };
            let certificate = point
                .certificate
                .as_ref()
                .map_or("none".to_owned(), |c| format!("{} ≤ {} at {:.3}", c.risk, c.alpha, 1.0 - c.delta));
            let _ = writeln!(
                text,
                "| {name} | {pair} | {} | {threshold} | {} ({}) | {} | {} | {} | {certificate} |",
                point.objective,
                point.rows,
                point.split,
                measured("strong_call_rate"),
                measured("quality_retained"),
                measured("cheap_and_wrong_rate"),
            );
        }
    }
    for (name, by_pair) in &manifest.operating_points {
        for (i, (pair, _)) in by_pair.iter().enumerate().filter(|(_, (_, p))| !p.accuracy_curve.is_empty()) {
            let _ = writeln!(text, "\n![Accuracy curve of {name} for {pair}]({})", curve_figure(name, i));
        }
    }
    text.push('\n');
}

/// How often the encoder is asked, what that gives, and what else there was to choose.
fn tiers_section(text: &mut String, deep: &DeepRecord) {
    let _ = writeln!(
        text,
        "## Two tiers\n\n\
         The encoder (made from weights with sha256 `{}`) is asked only where it could change the decision: where \
         the threshold lies inside the band around the fast tier's probability that holds the deep tier's for a share \
         of {} of all queries. On calibrate rows, at a strong-call rate of one half (the chosen row is marked):\n",
        deep.encoder_source, deep.coverage
    );
    for (pair, choices) in &deep.choices {
        let _ = writeln!(
            text,
            "{pair}:\n\n| coverage of the band | share of queries encoded | quality | APGR (full sweep) |\n\
             |---|---|---|---|"
        );
        for choice in choices {
            let mark = if choice.coverage == deep.coverage { " **←**" } else { "" };
            let apgr = choice.apgr.map_or("–".to_owned(), |v| format!("{v:.4}"));
            let (coverage, share, quality) = (choice.coverage, choice.deep_share, choice.quality);
            let _ = writeln!(text, "| {coverage}{mark} | {share:.3} | {quality:.4} | {apgr} |");
        }
        text.push('\n');
    }
}

/// Ranking of another pair on data nothing was fitted on: what a stranger to the data can expect.
fn zero_shot_section(text: &mut String, first: &ZeroShotMetrics, manifest: &Manifest) {
    let _ = writeln!(
        text,
        "## Zero-shot: {}\n\nOther models, other data: rows ranked by the general axis (what separates stronger from \
         weaker models in general; `training fit --prior` starts at it), and by the probability for {}. Random is \
         0.5.\n\n| data | rows | figure | general axis | classifier | prompt length |\n|---|---|---|---|---|---|",
        first.metrics.pair,
        manifest.metrics.pairs.first().map_or("the default pair", |pair| &pair.pair)
    );
    for row in &manifest.metrics.zero_shot {
        let figure = |scorer: &str, key: &str| row.metrics.scorers.get(scorer).and_then(|f| f.get(key));
        let figures = [
            ("auroc", "AUROC"),
            ("apgr", "APGR (full sweep)"),
            ("apgr_over_length", "APGR over that of prompt length, paired"),
        ];
        for (key, name) in figures {
            let cell = |scorer: &str| figure(scorer, key).map_or("–".into(), shown);
            let cells = ["general", "classifier", "prompt_length"].map(cell).join(" | ");
            let _ = writeln!(text, "| {} | {} | {name} | {cells} |", row.data, row.metrics.rows);
        }
    }
    for row in &manifest.metrics.zero_shot {
        let best = if row.metrics.scorers.contains_key("general") { "general" } else { "classifier" };
        let over = row.metrics.scorers.get(best).and_then(|f| f.get("apgr_over_length"));
        let _ = writeln!(text, "\n{}: {}", row.data, over_length(best, over));
    }
    text.push('\n');
}

/// Says plainly whether a scorer beats prompt length on data of strangers.
fn over_length(scorer: &str, over: Option<&Interval>) -> String {
    match over {
        Some(over) if over.lower > 0.0 => {
            format!("the {scorer} ranking beats prompt length; the paired interval lies above zero.")
        }
        Some(over) if over.value > 0.0 => format!(
            "the {scorer} ranking lies above prompt length, but the paired interval holds zero: on other rows it may not."
        ),
        Some(_) => format!("**prompt length alone ranks as well as the {scorer} ranking.**"),
        None => "there is no gap to recover on these rows.".to_owned(),
    }
}

fn shown(figure: &Interval) -> String {
    format!("{:.4} [{:.4}, {:.4}]", figure.value, figure.lower, figure.upper)
}

/// Says plainly whether the classifier beats the length of the prompt, by the quality it recovers
/// where that is known, else by AUROC.
fn verdict(metrics: &PairMetrics) -> String {
    let ranking = |scorer: &str| {
        let figures = metrics.scorers.get(scorer)?;
        figures.get("apgr").or_else(|| figures.get("auroc"))
    };
    match (ranking("classifier"), ranking("prompt_length")) {
        (Some(own), Some(length)) if own.lower > length.upper => {
            "The classifier ranks better than prompt length: the intervals do not meet.".to_owned()
        }
        (Some(own), Some(length)) if own.value > length.value => {
            "The classifier ranks better than prompt length here, but the intervals overlap: on other rows of \
             this kind it may not."
                .to_owned()
        }
        (Some(_), Some(_)) => {
            "**Prompt length alone ranks as well as the classifier**: on data like this it buys nothing.".to_owned()
        }
        _ => "Prompt length could not be calibrated on these rows, so there is no baseline.".to_owned(),
    }
}

/// Observed rate over mean probability, one dot per bin of equal mass with its exact 95 % interval.
fn reliability_svg(pair: &ModelPair, bins: &[ReliabilityBin], rows: usize) -> String {
    const SIDE: f64 = 360.0;
    const LEFT: f64 = 56.0;
    const TOP: f64 = 62.0;
    let x = |p: f64| LEFT + SIDE * p;
    let y = |p: f64| TOP + SIDE * (1.0 - p);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 440 488\" width=\"440\" height=\"488\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <rect width=\"440\" height=\"488\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-weight=\"600\" fill=\"#222\">strong {}</text>\n\
         <text x=\"{LEFT}\" y=\"34\" font-weight=\"600\" fill=\"#222\">over weak {}</text>\n\
         <text x=\"{LEFT}\" y=\"50\" fill=\"#666\">{rows} test rows, 10 bins of equal mass, exact 95 % intervals</text>\n",
        escape(pair.strong().as_str()),
        escape(pair.weak().as_str())
    );
    for tick in 0..=5 {
        let p = f64::from(tick) / 5.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{0:.1} {1:.1}V{2:.1}M{3:.1} {4:.1}H{5:.1}\" stroke=\"#e5e5e5\"/>\
             <text x=\"{0:.1}\" y=\"{6:.1}\" text-anchor=\"middle\" fill=\"#666\">{p:.1}</text>\
             <text x=\"{7:.1}\" y=\"{8:.1}\" text-anchor=\"end\" fill=\"#666\">{p:.1}</text>",
            x(p),
            y(0.0),
            y(1.0),
            x(0.0),
            y(p),
            x(1.0),
            y(0.0) + 18.0,
            LEFT - 8.0,
            y(p) + 4.0,
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    for bin in bins {
        let (at, seen) = (x(bin.mean_probability), y(bin.observed_rate));
        let (low, high) = (y(bin.interval_lower), y(bin.interval_upper));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {low:.1}V{high:.1}M{0:.1} {low:.1}H{1:.1}M{0:.1} {high:.1}H{1:.1}\" \
             stroke=\"#1f5fbf\" stroke-width=\"1.5\"/>\
             <circle cx=\"{at:.1}\" cy=\"{seen:.1}\" r=\"4\" fill=\"#1f5fbf\"/>",
            at - 3.0,
            at + 3.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"468\" text-anchor=\"middle\" fill=\"#222\">calibrated win probability</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222\">observed rate</text>\n</svg>",
        x(0.5),
        y(0.5)
    );
    svg
}
