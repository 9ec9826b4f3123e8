//! The ears against bytes that say nothing.

#[path = "../../../tests/fuzz/driver.rs"]
mod driver;

use rushes_gateway::fuzz;

#[test]
fn no_bytes_break_the_reader_of_websocket_frames() {
    driver::run("websocket", fuzz::decoder);
}

#[test]
fn no_bytes_break_the_handshake() {
    driver::run("handshake", fuzz::handshake);
}

#[test]
fn no_bytes_break_the_reader_of_requests_for_events() {
    driver::run("events_request", fuzz::request);
}

#[test]
fn no_dialogue_breaks_a_session() {
    driver::run("session", fuzz::session);
}
