//! What an idle connection costs. Alone in its process, because it measures the memory of all of it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that finds nothing shall fail where it looks")]

#[expect(dead_code, reason = "shared with the wire tests, which use the rest")]
#[path = "wire/bed.rs"]
mod bed;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use access::Role;

/// Enough to drown the noise of allocator pages, few enough for a default limit of descriptors (both ends are ours).
const CONNECTIONS: usize = 400;
/// The promise, per connection, in bytes.
const BYTES_MAX: usize = 2 * 1024;

/// A client that costs this process a descriptor and nothing else.
fn connect(address: SocketAddr, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /v1/live?token={token} HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !String::from_utf8_lossy(&answer).contains("\"timestamp\"") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    stream
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_authenticated_connection_costs_at_most_two_kilobytes() {
    let bed = bed::Bed::start().await;
    let (address, token) = (bed.address, bed.token(bed::USER, Role::User));
    let open = move |count: usize| (0..count).map(|_| connect(address, &token)).collect::<Vec<_>>();
    let open = std::sync::Arc::new(open);
    let run = |count| {
        let open = std::sync::Arc::clone(&open);
        async move { tokio::task::spawn_blocking(move || open(count)).await.unwrap() }
    };
    // The first ones pay for what is shared: read buffers, the cache of tokens, arenas of the allocator.
    let warm = run(CONNECTIONS / 2).await;
    let before = resident_bytes();
    let idle = run(CONNECTIONS).await;
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    assert_eq!(
        bed.gateway.counts().of(rushes_gateway::Transport::Live).connections.get(),
        (warm.len() + idle.len()) as u64
    );
    assert!(each <= BYTES_MAX, "{each} bytes a connection");
}
