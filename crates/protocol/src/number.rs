//! Counters, clocks and axes. Each is its own type, so that a sequence is never compared with a fence.

use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// An event's number in its generation, dense from 1; 0 is before the first event.
    Sequence(u64)
);
number!(
    /// Grows by one with every grant of any run of a generation, for whatever reason. A write under another fence is refused.
    Fence(u32)
);
number!(
    /// Orders hints between two durable events.
    Tick(u64)
);
number!(
    /// How often a stage was tried, counted for people, from 1.
    Attempt(u32)
);
number!(
    /// Names a lease in binary frames of one worker connection.
    Handle(u32)
);
number!(
    /// A picture's place in the film, from 0.
    FrameIndex(u32)
);
number!(
    /// How far a picture has been refined, from 0.
    Revision(u32)
);
number!(
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(u64)
);

impl Timestamp {
    /// This time and `milliseconds` more, saturating.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this time; 0 when the clock went backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
