//! What a measurement says: a row with a name, a value for people and facts for programs. Tables and JSON are made of them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::histogram::Histogram;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) facts: Value,
}

impl Row {
    /// A row; `facts` is an object.
    pub(crate) fn new(name: &str, value: String, facts: Value) -> Self {
        Self { name: name.to_owned(), value, facts }
    }

    /// A row of percentiles.
    pub(crate) fn latency(name: &str, latency: &Histogram) -> Self {
        Self::new(name, latency_text(latency), latency_facts(latency))
    }

    /// The same with one more fact.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.facts[key] = value;
        self
    }
}

/// The rows for people, their names under each other.
pub(crate) fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let line = |row: &Row| {
        let gap = " ".repeat(width - row.name.chars().count());
        format!("  {}{gap}  {}", row.name, row.value)
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The rows for programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    rows.iter().map(|row| json!({"name": row.name, "value": row.value, "facts": row.facts})).collect()
}

/// Percentiles for people.
pub(crate) fn latency_text(latency: &Histogram) -> String {
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| at(latency, share));
    format!("p50 {p50} · p95 {p95} · p99 {p99} · max {} ms  ({} samples)", short(latency.max()), grouped(latency.len()))
}

/// Percentiles for programs and plots.
pub(crate) fn latency_facts(latency: &Histogram) -> Value {
    let at = |share| latency.percentile(share);
    json!({"p50_ms": at(0.5), "p90_ms": at(0.9), "p95_ms": at(0.95), "p99_ms": at(0.99), "p999_ms": at(0.999),
        "max_ms": latency.max(), "samples": latency.len()})
}

/// The milliseconds below which `share` of all lie, for people.
pub(crate) fn at(latency: &Histogram, share: f64) -> String {
    short(latency.percentile(share).unwrap_or(f64::NAN))
}

/// Three digits that matter.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Megabytes of a million bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened_to_what_matters() {
        assert_eq!([7, 999, 1_000, 1_234_567].map(grouped), ["7", "999", "1,000", "1,234,567"]);
        assert_eq!([0.123, 12.34, 123.4].map(short), ["0.12", "12.3", "123"]);
    }

    #[test]
    fn a_table_puts_values_under_each_other() {
        let rows = [Row::new("a", "1".to_owned(), json!({})), Row::new("µ µ", "2".to_owned(), json!({}))];
        assert_eq!(table(&rows), "  a    1\n  µ µ  2");
    }
}
