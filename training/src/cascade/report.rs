//! Curves and differences for people: lines for a terminal, one page of HTML that needs nothing else.

use std::fmt::Write;

use artifact::Interval;

use super::curve::{Curve, Curves, Difference, Way};
use crate::plot::{Plot, STYLE as PLOTS, escape};
use crate::report::page::STYLE;

fn figure(value: &Interval) -> String {
    format!("{:.4} [{:.4}, {:.4}]", value.value, value.lower, value.upper)
}

fn difference(found: &Difference) -> String {
    let Difference { figure, way, over, difference, relative } = found;
    format!(
        "{figure}: {} less {}: {:+.4} [{:+.4}, {:+.4}] ({:+.1} %)",
        way.words(),
        over.words(),
        difference.value,
        difference.lower,
        difference.upper,
        100.0 * relative
    )
}

/// The lines of a terminal.
pub fn lines(curves: &Curves) -> Vec<String> {
    let mut lines = vec![format!(
        "{} queries, held out fold by fold; an abstention counts {}",
        curves.rows, curves.lambda_abstain
    )];
    lines.extend(
        curves
            .models
            .iter()
            .map(|(model, cost, error)| format!("{model:<34} {cost:.6} USD  error {error:.4}")),
    );
    lines.push(format!("{:<34} {:<26} {:<26}", "way", "area under error-cost", "mean loss"));
    lines.extend(curves.curves.iter().map(|curve| {
        format!("{:<34} {:<26} {:<26}", curve.way.words(), figure(&curve.area), figure(&curve.mean_loss))
    }));
    lines.extend(curves.differences.iter().map(difference));
    lines
}

/// The page.
pub fn page(curves: &Curves, title: &str) -> String {
    let mut html = format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <title>{0}</title><style>{PLOTS}{STYLE}</style></head><body><h1>{0}</h1>\
         <p class='soft'>{1} queries; every point was tuned on other folds. Brackets are 95 % intervals, bootstrap by \
         group; differences are on the same resamples. An abstention counts as {2} of an error.</p><div class='plots'>",
        escape(title),
        curves.rows,
        curves.lambda_abstain
    );
    html.push_str(&plot(
        curves,
        &[Way::Single, Way::Naive, Way::PerStage, Way::Joint, Way::Copula],
        "without abstention",
    ));
    html.push_str(&plot(
        curves,
        &[Way::Single, Way::JointAbstainLast, Way::JointAbstainEarly],
        "with abstention",
    ));
    html.push_str("</div><h2>Area and loss</h2><div class='scroll'><table><tr><th>way</th><th>area under error-cost curve</th><th>mean loss</th></tr>");
    for curve in &curves.curves {
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            curve.way.words(),
            figure(&curve.area),
            figure(&curve.mean_loss)
        );
    }
    html.push_str("</table></div><h2>Differences</h2><ul>");
    for found in &curves.differences {
        let _ = write!(html, "<li>{}</li>", escape(&difference(found)));
    }
    html.push_str("</ul><h2>Points</h2><div class='scroll'><table><tr><th>way</th><th>worth of the dearest call</th><th>cost, USD</th><th>error</th><th>abstention</th><th>loss</th></tr>");
    for curve in &curves.curves {
        for point in &curve.points {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{:.6}</td><td>{}</td><td>{:.3}</td><td>{}</td></tr>",
                curve.way.words(),
                point.worth,
                point.cost_usd,
                figure(&point.error),
                point.abstention,
                figure(&point.loss)
            );
        }
    }
    html.push_str("</table></div></body></html>\n");
    html
}

/// Errors against cost, the single models as marks. An abstention counts as its share of an error.
fn plot(curves: &Curves, ways: &[Way], caption: &str) -> String {
    let shown: Vec<&Curve> = curves.curves.iter().filter(|curve| ways.contains(&curve.way)).collect();
    let line = |curve: &Curve| -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = curve
            .points
            .iter()
            .map(|point| (point.cost_usd, point.error.value + curves.lambda_abstain * point.abstention))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let drawn: Vec<(f64, f64)> = shown.iter().flat_map(|curve| line(curve)).collect();
    let highest = drawn.iter().map(|point| point.1).fold(0.0, f64::max);
    let lowest = drawn.iter().map(|point| point.1).fold(highest, f64::min);
    // A model far worse than every way would squeeze the curves into a line.
    let near = highest + 0.5 * (highest - lowest);
    let singles =
        || curves.models.iter().map(|(_, cost, error)| (*cost, *error)).filter(|point| point.1 <= near);
    let all: Vec<(f64, f64)> = drawn.iter().copied().chain(singles()).collect();
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let values = || all.iter().map(pick);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let (x, y) = (range(|p| p.0), range(|p| p.1));
    // Thousandths of a dollar would be all zeros on the axis.
    let (unit, name) = if x.1 < 0.1 { (1_000.0, "USD per 1,000 queries") } else { (1.0, "USD per query") };
    let room = 0.05 * (y.1 - y.0);
    let mut plot = Plot::new((unit * x.0, unit * x.1), (y.0 - room, y.1 + room), name, "error");
    const COLOURS: [&str; 5] = ["d", "e", "b", "a", "c"];
    for (curve, colour) in shown.iter().zip(COLOURS) {
        plot.line(
            curve.way.words(),
            colour,
            line(curve).into_iter().map(|(cost, error)| (unit * cost, error)),
        );
    }
    plot.marks("single models", "f", singles().map(|(cost, error)| (unit * cost, error, None)));
    let hidden = curves.models.len() - singles().count();
    let beyond = if hidden == 0 { String::new() } else { format!("; {hidden} single models lie above") };
    plot.figure(&format!("Held-out error against cost, {caption}{beyond}"))
}
