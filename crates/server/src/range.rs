//! Which bytes of a file a request wants (RFC 9110 §14). Pure.

use http::{HeaderMap, header};

/// The part to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Everything, with status 200.
    Whole,
    /// From the first to the last byte, both included, with status 206.
    Part {
        /// From 0.
        first: u64,
        /// Below the file's size.
        last: u64,
    },
    /// Nothing of what was asked exists: 416.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` for a file of `size` bytes whose strong validator is `etag`.
///
/// What cannot be read, other units, and several ranges at once get the whole file, as the standard allows.
pub(crate) fn wanted(headers: &HeaderMap, size: u64, etag: &str) -> Range {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Range::Whole };
    // Another validator than ours, a date included, means that the client holds parts of another file.
    if text(header::IF_RANGE).is_some_and(|validator| validator.trim() != etag) {
        return Range::Whole;
    }
    parse(range, size).unwrap_or(Range::Whole)
}

fn parse(text: &str, size: u64) -> Option<Range> {
    let (unit, spec) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        let part = Range::Part { first: size.saturating_sub(suffix), last: size.saturating_sub(1) };
        return Some(if suffix == 0 || size == 0 { Range::Unsatisfiable } else { part });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Range::Unsatisfiable);
    }
    Some(Range::Part { first, last: last.min(size - 1) })
}

/// Digits only: the number parser alone would take a sign. More digits than fit mean beyond any file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, size: u64) -> Range {
        let headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        wanted(&headers, size, "\"e\"")
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        let part = |first, last| Range::Part { first, last };
        for (text, size, expected) in [
            ("bytes=0-", 10, part(0, 9)),
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=2-4", 10, part(2, 4)),
            ("bytes=2-400", 10, part(2, 9)),
            ("bytes=2-99999999999999999999999", 10, part(2, 9)),
            ("Bytes = 9-", 10, part(9, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("bytes=10-", 10, Range::Unsatisfiable),
            ("bytes=-0", 10, Range::Unsatisfiable),
            ("bytes=0-", 0, Range::Unsatisfiable),
            ("bytes=-1", 0, Range::Unsatisfiable),
            ("bytes=4-2", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
            ("bytes=a-b", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("items=0-1", 10, Range::Whole),
            ("bytes", 10, Range::Whole),
        ] {
            assert_eq!(of(text, size), expected, "{text} of {size}");
        }
    }

    #[test]
    fn a_client_that_holds_another_file_gets_the_whole_new_one() {
        let headers = |validator: &str| {
            HeaderMap::from_iter([
                (header::RANGE, "bytes=1-2".parse().unwrap()),
                (header::IF_RANGE, validator.parse().unwrap()),
            ])
        };
        assert_eq!(wanted(&headers("\"e\""), 10, "\"e\""), Range::Part { first: 1, last: 2 });
        for other in ["\"f\"", "W/\"e\"", "Wed, 21 Oct 2015 07:28:00 GMT", "e"] {
            assert_eq!(wanted(&headers(other), 10, "\"e\""), Range::Whole, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_range_reaches_beyond_the_file(text in "(bytes=)?[0-9-]{0,24}", size in any::<u64>()) {
            if let Range::Part { first, last } = of(&text, size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
