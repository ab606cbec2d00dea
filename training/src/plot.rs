//! Plots as SVG: one coordinate system, bands, lines and marks, in colours of the page's style sheet.

use std::fmt::Write;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// Colours on light and dark screens, and how a plot uses them; for the page and for plots that stand alone.
pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; --fg:#1b1f24; --bg:#fff; --soft:#5b6570; --line:#d7dce2; --a:#1f6feb; --b:#c2410c; --c:#15803d; --card:#f5f7f9 }
@media (prefers-color-scheme: dark) { :root { --fg:#e6e9ed; --bg:#14171b; --soft:#9aa4af; --line:#333a42; --a:#6ea8fe; --b:#fb923c; --c:#4ade80; --card:#1d2227 } }
svg text { font-size: 11px; fill: var(--soft) } .grid { stroke: var(--line); stroke-width: 1 }
.line { fill: none; stroke-width: 2 } .line.d { stroke-dasharray: 4 4; stroke-width: 1.5 } .band { opacity: .18; stroke: none }
.a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) } .d { stroke: var(--soft) }
.band.a, .mark.a { fill: var(--a) } .mark.b { fill: var(--b) } .mark.c { fill: var(--c) } .band.d, .mark.d { fill: var(--soft) }
.paper { fill: var(--bg) } svg .title { fill: var(--fg); font-weight: 600 }
";

/// Text as XML wants it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

/// A plot under construction.
pub(crate) struct Plot {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
    legend: Vec<(String, &'static str)>,
}

impl Plot {
    /// Axes with five ticks each.
    pub(crate) fn new(x: (f64, f64), y: (f64, f64), x_title: &str, y_title: &str) -> Self {
        // A range without width still needs room.
        let widened =
            |(low, high): (f64, f64)| if high - low > 1e-9 { (low, high) } else { (low - 0.5, high + 0.5) };
        let mut plot = Self { x: widened(x), y: widened(y), body: String::new(), legend: Vec::new() };
        for i in 0..=4 {
            let share = f64::from(i) / 4.0;
            let (vx, vy) =
                (plot.x.0 + share * (plot.x.1 - plot.x.0), plot.y.0 + share * (plot.y.1 - plot.y.0));
            let (px, py) = plot.at(vx, vy);
            let bottom = HEIGHT - BOTTOM;
            let _ = write!(
                plot.body,
                "<line class='grid' x1='{LEFT}' x2='{:.1}' y1='{py:.1}' y2='{py:.1}'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{vy:.2}</text>\
                 <text x='{px:.1}' y='{:.1}' text-anchor='middle'>{vx:.2}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                py + 4.0,
                bottom + 15.0,
            );
        }
        let middle = 0.5 * (TOP + HEIGHT - BOTTOM);
        let _ = write!(
            plot.body,
            "<text x='{:.1}' y='{:.1}' text-anchor='middle'>{x_title}</text>\
             <text x='12' y='{middle:.1}' text-anchor='middle' transform='rotate(-90 12 {middle:.1})'>{y_title}</text>",
            0.5 * (LEFT + WIDTH - RIGHT),
            HEIGHT - 6.0,
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
        if !name.is_empty() {
            self.legend.push((name.to_owned(), class));
        }
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
        self.legend.push((name.to_owned(), class));
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
            let _ = write!(self.body, "<circle class='mark {class}' cx='{px:.1}' cy='{py:.1}' r='3.5'/>");
        }
        if !name.is_empty() {
            self.legend.push((name.to_owned(), class));
        }
    }

    /// A file of its own, with its title and legend inside and the colours of light and dark screens.
    pub(crate) fn standalone(self, title: &str) -> String {
        const LINE: f64 = 16.0;
        let mut legend = String::new();
        for (i, (name, class)) in self.legend.iter().enumerate() {
            let (x, y) = (LEFT + 210.0 * (i % 2) as f64, HEIGHT + LINE * (1 + i / 2) as f64);
            let _ = write!(
                legend,
                "<rect class='mark {class}' x='{x}' y='{:.1}' width='9' height='9'/><text x='{:.1}' y='{y}'>{}</text>",
                y - 9.0,
                x + 14.0,
                escape(name)
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
        let entry =
            |(name, class): &(String, &str)| format!("<span class='key {class}'>{}</span>", escape(name));
        let legend: Vec<String> = self.legend.iter().map(entry).collect();
        format!(
            "<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{caption}'>{}</svg>\
             <div class='legend'>{}</div><figcaption>{caption}</figcaption></figure>",
            self.body,
            legend.join(" "),
        )
    }
}
