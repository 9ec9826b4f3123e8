//! The house against bytes that configure nothing.

#[path = "../../../tests/fuzz/driver.rs"]
mod driver;

use rushes_server::fuzz;

#[test]
fn no_bytes_break_the_reader_of_ranges() {
    driver::run("range", fuzz::range);
}

#[test]
fn no_bytes_break_the_reader_of_the_configuration() {
    driver::run("config", fuzz::config);
}

#[test]
fn no_bytes_break_the_reader_of_forwarded_addresses() {
    driver::run("forwarded", fuzz::forwarded);
}
