//! A plot of what was measured: one lane for each row that has percentiles, on a logarithmic axis of milliseconds. Plain SVG
//! that is read on light and dark pages, without a script.

use serde_json::Value;

use super::rows::{Row, short};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 84.0;
const LANE: f64 = 34.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.soft{fill:#656d76}.title{font-size:17px;font-weight:600}\
.line{stroke:#d0d7de}.bar{fill:#2f81f7;opacity:.35}.dot{fill:#1f6feb}.tail{stroke:#1f6feb;opacity:.5}.paper{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#8b949e}.line{stroke:#30363d}.dot{fill:#58a6ff}.bar{fill:#58a6ff}\
.tail{stroke:#58a6ff}.paper{fill:#0d1117}}";

/// One lane: milliseconds.
struct Lane<'a> {
    name: &'a str,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// Draws the rows that have percentiles; none if there is none.
pub(crate) fn latencies(title: &str, rows: &[Row]) -> Option<String> {
    let lanes: Vec<_> = rows.iter().filter_map(lane).collect();
    let least = lanes.iter().map(|lane| lane.p50).reduce(f64::min)?;
    let most = lanes.iter().map(|lane| lane.max).reduce(f64::max)?;
    // Whole powers of ten, at least one of them.
    let from = least.max(0.001).log10().floor();
    let to = most.max(0.001).log10().ceil().max(from + 1.0);
    let x = |ms: f64| LEFT + (ms.max(0.001).log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let height = TOP + LANE * lanes.len() as f64 + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"8\"/>\
         <text class=\"title\" x=\"24\" y=\"32\">{}</text>\
         <text class=\"soft\" x=\"24\" y=\"54\">dot p50 · bar to p99, a notch at p95 · line to the slowest · milliseconds, logarithmic</text>",
        escaped(title)
    );
    let mut power = from;
    while power <= to {
        let ms = 10_f64.powf(power);
        svg.push_str(&format!(
            "<line class=\"line\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1:.1}\"/><text class=\"soft\" x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
            x(ms),
            height - 20.0,
            TOP - 8.0,
            if ms >= 1.0 { format!("{ms:.0}") } else { format!("{ms}") }
        ));
        power += 1.0;
    }
    for (at, lane) in lanes.iter().enumerate() {
        let y = TOP + LANE * (at as f64 + 0.5);
        svg.push_str(&format!(
            "<text x=\"24\" y=\"{:.1}\">{}</text>\
             <line class=\"tail\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke-width=\"2\"/>\
             <rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" rx=\"4\"/>\
             <rect class=\"dot\" x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"14\"/>\
             <circle class=\"dot\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"><title>p50 {} · p95 {} · p99 {} · max {} ms</title></circle>",
            y + 4.0,
            escaped(lane.name),
            x(lane.p99),
            x(lane.max),
            x(lane.p50),
            y - 7.0,
            (x(lane.p99) - x(lane.p50)).max(1.0),
            x(lane.p95) - 1.0,
            y - 7.0,
            x(lane.p50),
            short(lane.p50),
            short(lane.p95),
            short(lane.p99),
            short(lane.max),
        ));
    }
    svg.push_str("</svg>\n");
    Some(svg)
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
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains("here &amp; now") && !svg.contains("NaN"));
        assert!(latencies("nothing", &rows[1..2]).is_none());
    }
}
