//! The rules from outside: the table cell by cell, each rule by name, random histories, and the words of the specification.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands; clippy sees no test in a helper"
)]

mod bed;
mod endings;
mod golden;
mod holding;
mod properties;
mod rules;
mod table;
