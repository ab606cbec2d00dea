//! Plots as SVG: one coordinate system, bands, lines and marks, in colours of the page's style sheet.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;

/// Ticks of an axis at most.
const TICKS: f64 = 6.0;

/// Colours on light and dark screens, and how a plot uses them; for the page and for plots that stand alone. The
/// classes `a` to `e` are colours, `f` is that of text.
pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; --fg:#1b1f24; --bg:#fff; --soft:#5b6570; --line:#d7dce2; --card:#f5f7f9; --a:#1f6feb; --b:#c2410c; --c:#15803d; --e:#7c3aed }
@media (prefers-color-scheme: dark) { :root { --fg:#e6e9ed; --bg:#14171b; --soft:#9aa4af; --line:#333a42; --card:#1d2227; --a:#6ea8fe; --b:#fb923c; --c:#4ade80; --e:#c4a7ff } }
@media print { :root { --fg:#000; --bg:#fff; --soft:#444; --line:#ccc; --card:#f5f7f9; --a:#1f6feb; --b:#c2410c; --c:#15803d; --e:#7c3aed } }
svg text { font-size: 12px; fill: var(--soft) } svg .title { fill: var(--fg); font-weight: 600 } .paper { fill: var(--bg) }
.a { color: var(--a) } .b { color: var(--b) } .c { color: var(--c) } .d { color: var(--soft) } .e { color: var(--e) } .f { color: var(--fg) }
.grid { stroke: var(--line); stroke-width: 1 } .line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
.line.d { stroke-dasharray: 5 4; stroke-width: 1.5 } .line.e { stroke-dasharray: 1.5 3 } .band, .mark { fill: currentColor } .band { opacity: .18 }
";

/// Text as XML wants it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

/// How something is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Band,
    Mark,
}

impl Shape {
    /// Its class in the style sheet.
    fn class(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Band => "band",
            Self::Mark => "mark",
        }
    }
}

/// An entry of the legend.
struct Key {
    name: String,
    shape: Shape,
    colour: &'static str,
}

impl Key {
    /// What the legend shows beside the name, around the point (x, y).
    fn swatch(&self, x: f64, y: f64) -> String {
        let class = format!("{} {}", self.shape.class(), self.colour);
        match self.shape {
            Shape::Line => {
                format!("<line class='{class}' x1='{:.1}' x2='{:.1}' y1='{y}' y2='{y}'/>", x - 9.0, x + 9.0)
            }
            Shape::Band => {
                format!(
                    "<rect class='{class}' x='{:.1}' y='{:.1}' width='18' height='10'/>",
                    x - 9.0,
                    y - 5.0
                )
            }
            Shape::Mark => format!("<circle class='{class}' cx='{x}' cy='{y}' r='4'/>"),
        }
    }
}

/// A plot under construction.
pub(crate) struct Plot {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
    legend: Vec<Key>,
}

impl Plot {
    /// Axes with ticks at round numbers; the title of the upright one stands above it.
    pub(crate) fn new(x: (f64, f64), y: (f64, f64), x_title: &str, y_title: &str) -> Self {
        // A range without width still needs room.
        let widened =
            |(low, high): (f64, f64)| if high - low > 1e-9 { (low, high) } else { (low - 0.5, high + 0.5) };
        let mut plot = Self { x: widened(x), y: widened(y), body: String::new(), legend: Vec::new() };
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in ticks(plot.y) {
            let (_, y) = plot.at(plot.x.0, value);
            let _ = write!(
                plot.body,
                "<line class='grid' x1='{LEFT}' x2='{right}' y1='{y:.1}' y2='{y:.1}'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{label}</text>",
                LEFT - 6.0,
                y + 4.0,
            );
        }
        for (value, label) in ticks(plot.x) {
            let (x, _) = plot.at(value, plot.y.0);
            let _ = write!(
                plot.body,
                "<line class='grid' x1='{x:.1}' x2='{x:.1}' y1='{bottom}' y2='{:.1}'/>\
                 <text x='{x:.1}' y='{:.1}' text-anchor='middle'>{label}</text>",
                bottom + 4.0,
                bottom + 17.0,
            );
        }
        let _ = write!(
            plot.body,
            "<line class='grid' x1='{LEFT}' x2='{right}' y1='{bottom}' y2='{bottom}'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text><text x='4' y='13'>{}</text>",
            0.5 * (LEFT + right),
            HEIGHT - 5.0,
            escape(x_title),
            escape(y_title),
        );
        plot
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |v: f64, (low, high): (f64, f64)| ((v - low) / (high - low)).clamp(0.0, 1.0);
        (
            LEFT + share(x, self.x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - share(y, self.y) * (HEIGHT - TOP - BOTTOM),
        )
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let place = |(x, y)| {
            let (px, py) = self.at(x, y);
            format!("{px:.1},{py:.1}")
        };
        points.into_iter().map(place).collect::<Vec<_>>().join(" ")
    }

    /// A line, named in the legend unless its name is empty.
    pub(crate) fn line(
        &mut self,
        name: &str,
        class: &'static str,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) {
        let path = self.path(points);
        let _ = write!(self.body, "<polyline class='line {class}' points='{path}'/>");
        self.name(name, Shape::Line, class);
    }

    /// The area between two lines over the same x.
    pub(crate) fn band(
        &mut self,
        name: &str,
        class: &'static str,
        lower: &[(f64, f64)],
        upper: &[(f64, f64)],
    ) {
        let path = self.path(upper.iter().copied().chain(lower.iter().rev().copied()));
        let _ = write!(self.body, "<polygon class='band {class}' points='{path}'/>");
        self.name(name, Shape::Band, class);
    }

    /// Points with vertical intervals.
    pub(crate) fn marks(
        &mut self,
        name: &str,
        class: &'static str,
        points: impl IntoIterator<Item = (f64, f64, Option<(f64, f64)>)>,
    ) {
        for (x, y, interval) in points {
            let (px, py) = self.at(x, y);
            if let Some((lower, upper)) = interval {
                let ((_, top), (_, bottom)) = (self.at(x, upper), self.at(x, lower));
                let _ = write!(
                    self.body,
                    "<line class='line {class}' x1='{px:.1}' x2='{px:.1}' y1='{top:.1}' y2='{bottom:.1}'/>"
                );
            }
            let _ = write!(self.body, "<circle class='mark {class}' cx='{px:.1}' cy='{py:.1}' r='4'/>");
        }
        self.name(name, Shape::Mark, class);
    }

    /// Points with vertical intervals, each with its name beside it instead of in the legend: to the left of a point at
    /// the right edge, above and below by turns.
    pub(crate) fn named_marks<'n>(
        &mut self,
        class: &'static str,
        points: impl IntoIterator<Item = (&'n str, f64, f64, (f64, f64))>,
    ) {
        for (turn, (name, x, y, interval)) in points.into_iter().enumerate() {
            self.marks("", class, [(x, y, Some(interval))]);
            let (px, py) = self.at(x, y);
            let (anchor, dx) = if px > 0.75 * WIDTH { ("end", -7.0) } else { ("start", 7.0) };
            let _ = write!(
                self.body,
                "<text x='{:.1}' y='{:.1}' text-anchor='{anchor}'>{}</text>",
                px + dx,
                if turn % 2 == 0 { py - 5.0 } else { py + 14.0 },
                escape(name)
            );
        }
    }

    fn name(&mut self, name: &str, shape: Shape, colour: &'static str) {
        if !name.is_empty() {
            self.legend.push(Key { name: name.to_owned(), shape, colour });
        }
    }

    /// A file of its own, with its title and legend inside and the colours of light and dark screens.
    pub(crate) fn standalone(self, title: &str) -> String {
        const LINE: f64 = 17.0;
        const COLUMN: f64 = 190.0;
        let mut legend = String::new();
        for (i, key) in self.legend.iter().enumerate() {
            let (x, y) = (LEFT + COLUMN * (i % 2) as f64, HEIGHT + LINE * (1 + i / 2) as f64);
            let _ = write!(
                legend,
                "{}<text x='{:.1}' y='{y:.1}'>{}</text>",
                key.swatch(x, y - 4.0),
                x + 15.0,
                escape(&key.name)
            );
        }
        let height = HEIGHT + LINE * (2 + self.legend.len().div_ceil(2)) as f64;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 {0} {WIDTH} {1}' width='{WIDTH}' height='{1}' \
             font-family='system-ui, sans-serif'><style>{STYLE}</style>\
             <rect class='paper' x='0' y='{0}' width='{WIDTH}' height='{1}'/>\
             <text class='title' x='{LEFT}' y='-6'>{2}</text>{3}{legend}</svg>\n",
            -1.5 * LINE,
            height,
            escape(title),
            self.body,
        )
    }

    /// A figure with its caption and legend.
    pub(crate) fn figure(self, caption: &str) -> String {
        let entry = |key: &Key| {
            format!(
                "<span class='key'><svg viewBox='0 0 22 12'>{}</svg>{}</span>",
                key.swatch(11.0, 6.0),
                escape(&key.name)
            )
        };
        let legend: String = self.legend.iter().map(entry).collect();
        format!(
            "<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{0}'>{1}</svg>\
             <div class='legend'>{legend}</div><figcaption>{0}</figcaption></figure>",
            escape(caption),
            self.body,
        )
    }
}

/// Round numbers within a range, 1, 2 or 5 times a power of ten apart, with as many decimals as they need.
fn ticks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let least = (high - low) / TICKS;
    let power = 10f64.powf(least.log10().floor());
    let step = power * [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= least).unwrap_or(10.0);
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    // Rounding must not cost the tick at an end.
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).map(|v| (v, format!("{v:.decimals$}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |range| ticks(range).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels((0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels((0.697, 0.988)), ["0.70", "0.75", "0.80", "0.85", "0.90", "0.95"]);
        assert_eq!(labels((0.0, 0.264)), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]);
        assert_eq!(labels((3.0, 13.0)), ["4", "6", "8", "10", "12"]);
    }

    #[test]
    fn names_are_escaped_and_a_range_without_width_has_room() {
        let mut plot = Plot::new((0.5, 0.5), (0.0, 1.0), "a & b", "y");
        plot.line("<weak>", "a", [(0.5, 0.5)]);
        let figure = plot.figure("it's one");
        assert!(
            figure.contains("a &amp; b") && figure.contains("&lt;weak&gt;") && figure.contains("it&#39;s")
        );
        assert!(!figure.contains("NaN"), "{figure}");
    }
}
