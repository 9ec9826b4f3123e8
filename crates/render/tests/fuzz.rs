//! The eyes against words that mean nothing.

#[path = "../../../tests/fuzz/driver.rs"]
mod driver;

use rushes_render::fuzz;

#[test]
fn no_words_break_the_reader_of_prompts() {
    driver::run("prompt", fuzz::prompt);
}
