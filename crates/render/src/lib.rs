//! The eyes: a reference worker that draws a real film from words, on a CPU, without a model.
