//! The Rushes SDK for Rust: write a worker, or watch and submit generations.
