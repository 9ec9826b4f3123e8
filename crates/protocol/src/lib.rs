//! The words: ids, events, messages, frames, errors and limits that every part of Rushes agrees on.
