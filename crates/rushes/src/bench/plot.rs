//! A plot of what was measured: one lane for each row that has percentiles, on a logarithmic axis of milliseconds. Plain SVG
//! that is read on light and dark pages, without a script.

use std::fmt::Write as _;

use serde_json::Value;

use super::rows::{Row, short};

/// Of the lanes' part, where milliseconds are.
const PLOT: f64 = 440.0;
/// Left of everything, and right of it.
const EDGE: f64 = 24.0;
/// For the figures behind each lane.
const FIGURES: f64 = 190.0;
/// A letter at 13 pixels, about, in the fonts that systems have.
const LETTER: f64 = 6.7;
const TOP: f64 = 112.0;
const LANE: f64 = 34.0;
/// For the axis's name.
const BOTTOM: f64 = 44.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.soft{fill:#59636e}.title{font-size:17px;font-weight:600}\
.figure{font-variant-numeric:tabular-nums}.line{stroke:#d0d7de}.bar{fill:#2f81f7;opacity:.35}.dot{fill:#0b5cd6}\
.tail{stroke:#0b5cd6;opacity:.5}.paper{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9aa4af}.line{stroke:#30363d}.dot{fill:#79b8ff}.bar{fill:#58a6ff}\
.tail{stroke:#79b8ff}.paper{fill:#0d1117}}";

/// One lane: milliseconds.
struct Lane<'a> {
    name: &'a str,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// The axis: whole powers of ten, at least one of them.
struct Axis {
    left: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(lanes: &[Lane<'_>], left: f64) -> Option<Self> {
        let least = lanes.iter().map(|lane| lane.p50).reduce(f64::min)?;
        let most = lanes.iter().map(|lane| lane.max).reduce(f64::max)?;
        let from = least.max(0.001).log10().floor();
        Some(Self { left, from, to: most.max(0.001).log10().ceil().max(from + 1.0) })
    }

    fn x(&self, ms: f64) -> f64 {
        self.left + ((ms.max(0.001).log10() - self.from) / (self.to - self.from)).clamp(0.0, 1.0) * PLOT
    }

    /// Lines with their milliseconds above, from `top` to `bottom`, and what they are below.
    fn draw(&self, svg: &mut String, top: f64, bottom: f64) {
        // Between the powers of ten 2 and 5 as well, while there is room for their figures.
        let steps: &[f64] = if self.to - self.from <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut power = self.from;
        while power <= self.to {
            for ms in steps.iter().map(|step| step * 10_f64.powf(power)).filter(|ms| ms.log10() <= self.to + 1e-9) {
                let _ = write!(
                    svg,
                    "<line class=\"line\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>\
                     <text class=\"soft\" x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{2}</text>",
                    self.x(ms),
                    top - 8.0,
                    if ms >= 1.0 { format!("{ms:.0}") } else { format!("{}", (ms * 1e4).round() / 1e4) },
                );
            }
            power += 1.0;
        }
        let _ = write!(
            svg,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">milliseconds, logarithmic</text>",
            self.left + PLOT / 2.0,
            bottom + 22.0
        );
    }
}

/// Draws the rows that have percentiles; none if there is none.
pub(crate) fn latencies(title: &str, rows: &[Row]) -> Option<String> {
    let lanes: Vec<_> = rows.iter().filter_map(lane).collect();
    let longest = lanes.iter().map(|lane| lane.name.chars().count()).max()? as f64;
    let axis = Axis::over(&lanes, EDGE + longest * LETTER + 20.0)?;
    let figures = axis.left + PLOT + 40.0;
    let width = (figures + FIGURES).max(EDGE * 2.0 + title.chars().count() as f64 * LETTER);
    let bottom = TOP + LANE * lanes.len() as f64;
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\
         <title>Latency</title><style>{STYLE}</style><rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"8\"/>\
         <text class=\"title\" x=\"{EDGE}\" y=\"32\">Latency</text><text class=\"soft\" x=\"{EDGE}\" y=\"54\">{}</text>\
         <text class=\"soft\" x=\"{figures:.1}\" y=\"{:.1}\">p50 · p95 · p99 ms</text>",
        escaped(title),
        TOP - 8.0
    );
    legend(&mut svg);
    axis.draw(&mut svg, TOP, bottom);
    for (at, lane) in lanes.iter().enumerate() {
        let y = TOP + LANE * (at as f64 + 0.5);
        let _ = write!(
            svg,
            "<text x=\"{EDGE}\" y=\"{0:.1}\">{1}</text>\
             <text class=\"figure\" x=\"{figures:.1}\" y=\"{0:.1}\">{2} · {3} · {4}</text>",
            y + 4.0,
            escaped(lane.name),
            short(lane.p50),
            short(lane.p95),
            short(lane.p99),
        );
        mark(&mut svg, y, [lane.p50, lane.p95, lane.p99, lane.max].map(|ms| axis.x(ms)));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// A lane's marks: from p99 to the slowest a line, to p99 a bar, at p95 a notch, at p50 a dot.
fn mark(svg: &mut String, y: f64, [p50, p95, p99, max]: [f64; 4]) {
    let _ = write!(
        svg,
        "<line class=\"tail\" x1=\"{p99:.1}\" x2=\"{max:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke-width=\"2\"/>\
         <rect class=\"bar\" x=\"{p50:.1}\" y=\"{0:.1}\" width=\"{1:.1}\" height=\"14\" rx=\"4\"/>\
         <rect class=\"dot\" x=\"{2:.1}\" y=\"{0:.1}\" width=\"2\" height=\"14\"/>\
         <circle class=\"dot\" cx=\"{p50:.1}\" cy=\"{y:.1}\" r=\"5\"/>",
        y - 7.0,
        (p99 - p50).max(1.0),
        p95 - 1.0,
    );
}

/// A lane as an example, with a word at each of its marks.
fn legend(svg: &mut String) {
    let y = 78.0;
    let places = [("p50", 0.0), ("to p95", 62.0), ("to p99", 158.0), ("to the slowest", 254.0)];
    for (at, (word, x)) in places.into_iter().enumerate() {
        let x = EDGE + x;
        let text = x + if at == 0 { 16.0 } else { 34.0 };
        let _ = match at {
            0 => write!(svg, "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>", x + 5.0, y - 4.0),
            1 => write!(
                svg,
                "<rect class=\"dot\" x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"14\"/>",
                x + 24.0,
                y - 11.0
            ),
            2 => Ok(()),
            _ => write!(
                svg,
                "<line class=\"tail\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke-width=\"2\"/>",
                x + 28.0,
                y - 4.0
            ),
        };
        if at == 1 || at == 2 {
            let _ = write!(
                svg,
                "<rect class=\"bar\" x=\"{x:.1}\" y=\"{:.1}\" width=\"28\" height=\"14\" rx=\"4\"/>",
                y - 11.0
            );
        }
        let _ = write!(svg, "<text class=\"soft\" x=\"{text:.1}\" y=\"{y:.1}\">{word}</text>");
    }
}

fn lane(row: &Row) -> Option<Lane<'_>> {
    let at = |key: &str| row.facts.get(key).and_then(Value::as_f64);
    Some(Lane { name: &row.name, p50: at("p50_ms")?, p95: at("p95_ms")?, p99: at("p99_ms")?, max: at("max_ms")? })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plot_has_a_lane_for_each_row_with_percentiles() {
        let with = json!({"p50_ms": 0.4, "p95_ms": 1.0, "p99_ms": 2.0, "max_ms": 30.0});
        let rows = [
            Row::new("a < b", String::new(), with.clone()),
            Row::new("memory", String::new(), json!({"bytes": 1})),
            Row::new("c", String::new(), with),
        ];
        let svg = latencies("here & now", &rows).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3, "one is the legend's");
        assert!(svg.contains("milliseconds") && svg.contains("0.40 · 1.00 · 2.00"));
        assert!(svg.contains("a &lt; b") && svg.contains("here &amp; now") && !svg.contains("NaN"));
        assert!(latencies("nothing", &rows[1..2]).is_none());
    }
}
