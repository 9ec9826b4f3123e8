//! The doors against bytes that open none.

#[path = "../../../tests/fuzz/driver.rs"]
mod driver;

use rushes_access::fuzz;

#[test]
fn no_bytes_are_a_token_that_nobody_signed() {
    driver::run("token", fuzz::token);
}

#[test]
fn no_bytes_are_a_link_that_nobody_signed() {
    driver::run("link", fuzz::link);
}

#[test]
fn no_bytes_are_a_cursor_that_nobody_signed() {
    driver::run("cursor", fuzz::cursor);
}

#[test]
fn no_bytes_break_the_check_of_origins() {
    driver::run("origin", fuzz::origin);
}
