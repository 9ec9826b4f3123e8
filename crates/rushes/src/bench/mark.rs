//! What every message of a load carries: its number and when it was due. It is of one width, valid within JSON, and found
//! without reading the message around it, so that one client serves every dialect at the price of a glance.

/// `~`, 8 hex digits, `~`, 16 hex digits.
pub(crate) const MARK_BYTES: usize = 26;

/// Where a message stands among those of its channel, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// From 1.
    pub(crate) number: u32,
    /// On [`super::clock`], in nanoseconds.
    pub(crate) due: u64,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "~{:08x}~{:016x}", self.number, self.due)
    }
}

impl Mark {
    /// The mark that begins at `at`, if one does.
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let mark = bytes.get(at..at + MARK_BYTES)?;
        if mark[0] != b'~' || mark[9] != b'~' {
            return None;
        }
        Some(Self { number: u32::try_from(hex(&mark[1..9])?).ok()?, due: hex(&mark[10..])? })
    }

    /// The first mark, and where it ends. `hint` is where the last one was: messages of a load look alike.
    pub(crate) fn find(bytes: &[u8], hint: &mut usize) -> Option<(Self, usize)> {
        if let Some(mark) = Self::at(bytes, *hint) {
            return Some((mark, *hint + MARK_BYTES));
        }
        let mut from = 0;
        while let Some(step) = bytes.get(from..)?.iter().position(|byte| *byte == b'~') {
            let at = from + step;
            if let Some(mark) = Self::at(bytes, at) {
                *hint = at;
                return Some((mark, at + MARK_BYTES));
            }
            from = at + 1;
        }
        None
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// Which messages of one channel came: what is missing, came twice, or came late.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// The greatest number so far.
    pub(crate) last: u32,
    /// Bit n: `last - n` came.
    window: u64,
}

/// What one arrival says of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next, after so many that were passed over.
    After(u32),
    /// One that had been passed over.
    Late,
    /// One that had come.
    Twice,
}

impl Seen {
    /// Everything up to `last` came.
    pub(crate) const fn up_to(last: u32) -> Self {
        Self { last, window: u64::MAX }
    }

    /// Takes one number.
    pub(crate) fn take(&mut self, number: u32) -> Arrival {
        if number > self.last {
            let step = number - self.last;
            self.window = self.window.checked_shl(step).unwrap_or(0) | 1;
            self.last = number;
            return Arrival::After(step - 1);
        }
        let bit = 1_u64.checked_shl(self.last - number).unwrap_or(0);
        // What fell out of the window is taken for a double: 64 messages late is no order either.
        if bit == 0 || self.window & bit != 0 {
            return Arrival::Twice;
        }
        self.window |= bit;
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_it_stands_and_faster_where_the_last_one_stood() {
        let mark = Mark { number: 77, due: 1_700_000_000_000_000_123 };
        let mut hint = 0;
        for before in ["", "{\"mark\":\"", "~~~~ a ~00000000! ~", "{\"mark\":\""] {
            let text = format!("{before}{mark}\"}}");
            let (found, end) = Mark::find(text.as_bytes(), &mut hint).unwrap();
            assert_eq!((found, &text[end..]), (mark, "\"}"), "behind {before:?}");
        }
        assert_eq!(Mark::find(b"nothing ~ here", &mut hint), None);
        assert_eq!(Mark::find(&mark.to_string().as_bytes()[..25], &mut hint), None);
    }

    #[test]
    fn each_number_is_next_or_late_or_twice() {
        let mut seen = Seen::default();
        let taken: Vec<_> = [1, 2, 5, 4, 4, 5, 3, 6].into_iter().map(|number| seen.take(number)).collect();
        use Arrival::{After, Late, Twice};
        assert_eq!(taken, [After(0), After(0), After(2), Late, Twice, Twice, Late, After(0)]);
        assert_eq!(seen.take(500), After(493));
        assert_eq!(seen.take(6), Twice);
        assert_eq!(Seen::up_to(9).take(9), Twice);
    }
}
