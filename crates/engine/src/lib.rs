//! The rules: a pure machine that decides what may happen to a generation.
