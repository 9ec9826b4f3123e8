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

#[test]
fn no_bytes_break_the_readers_of_headers() {
    driver::run("headers", fuzz::headers);
}

#[test]
fn no_bytes_break_a_port_that_speaks_tls() {
    driver::run("tls_greeting", fuzz::tls_greeting);
}

#[test]
fn no_bytes_break_the_reader_of_certificates() {
    driver::run("tls_pair", fuzz::tls_pair);
}

#[test]
fn no_url_of_a_webhook_leads_inward() {
    driver::run("webhook_url", fuzz::webhook_url);
}
