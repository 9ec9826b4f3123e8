//! Values as people write and read them: durations, sizes, and what others wrote.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::fault::Fault;

/// Reads `90s`, `15m`, `1h`, `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let rule = || format!("`{text}` is no duration: write a number and s, m, h or d, for example 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(rule)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| rule())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(rule()),
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(rule)
}

/// A size in the largest unit that keeps a digit before the point.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// What others wrote, as one line that steers no terminal.
pub(crate) fn plain(foreign: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\r' | '\t' => ' ',
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    foreign.chars().map(shown).collect()
}

/// The same as JSON, for programs: escaped, so that nothing is lost.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Fault> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Fault::failed(error.to_string()))?;
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // JSON itself escapes those below the space, and no others.
        if letter.is_control() && letter != '\n' {
            let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_programs_keeps_what_it_escapes() {
        let value = serde_json::json!({"message": "a\u{1b}\u{7f}\u{9b}\nb"});
        let text = json(&value).unwrap();
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn durations_have_a_unit_and_are_not_zero() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(2_592_000)));
        for bad in ["", "1", "h", "0s", "1w", "-1h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
    }
}
