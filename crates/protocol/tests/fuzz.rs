//! The words against bytes that are none.

#[path = "../../../tests/fuzz/driver.rs"]
mod driver;

use rushes_protocol::fuzz;

#[test]
fn no_bytes_break_the_reader_of_frames() {
    driver::run("frame", fuzz::frame);
}

#[test]
fn no_bytes_break_the_reader_of_positions() {
    driver::run("position", fuzz::position);
}

#[test]
fn no_bytes_break_the_reader_of_live_messages() {
    driver::run("live_message", fuzz::live_message);
}

#[test]
fn no_bytes_break_the_reader_of_worker_messages() {
    driver::run("worker_message", fuzz::worker_message);
}

#[test]
fn no_bytes_break_the_reader_of_submissions() {
    driver::run("submission", fuzz::submission);
}

#[test]
fn no_bytes_break_the_readers_of_other_requests() {
    driver::run("request", fuzz::request);
}

#[test]
fn no_bytes_break_the_reader_of_what_a_server_says() {
    driver::run("server_message", fuzz::server_message);
}

#[test]
fn no_bytes_break_the_reader_of_pipelines() {
    driver::run("pipeline", fuzz::pipeline);
}

#[test]
fn no_bytes_are_an_id_that_leaves_its_place() {
    driver::run("id", fuzz::id);
}

#[test]
fn no_bytes_break_the_reader_of_traces() {
    driver::run("trace", fuzz::trace);
}
