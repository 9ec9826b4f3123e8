//! The listening socket.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::StartError;

/// Connections that wait to be accepted: after a restart all clients come back at once.
const BACKLOG: i32 = 4_096;

/// Listens on `address`, and says on which port.
pub(super) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    open(address).map_err(|source| StartError::Listen { advice: advice(address, &source), source })
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the last run that still wait for their end must not keep the next one from starting.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Of every connection: small messages must not wait for each other's acknowledgement. Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn advice(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "{address} is in use: stop what listens on port {}, or choose another with `--listen`",
                address.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is no address of this machine: choose one with `--listen`", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {} needs rights this process does not have: choose another with `--listen`", address.port())
        }
        _ => format!("cannot listen on {address}: choose another address with `--listen`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_sends_small_messages_at_once() {
        let (listener, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let _peer = tokio::net::TcpStream::connect(address).await.unwrap();
        assert!(listener.accept().await.unwrap().0.nodelay().unwrap());
    }
    /// After a restart all come back at once, faster than anybody accepts.
    #[tokio::test]
    async fn a_crowd_that_comes_at_once_waits_in_line() {
        /// Beyond the 128 that most programs leave it at, and within the descriptors of one process.
        const CROWD: usize = 500;
        // A system may have a bound of its own, below ours.
        let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
        let crowd = system.and_then(|max| max.trim().parse().ok()).map_or(CROWD, |max: usize| max.min(CROWD));
        let (listener, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut waiting = Vec::new();
        for n in 0..crowd {
            let connecting = tokio::net::TcpStream::connect(address);
            let connected = tokio::time::timeout(std::time::Duration::from_secs(20), connecting).await;
            waiting.push(connected.unwrap_or_else(|_| panic!("no room for number {n}")).unwrap());
        }
        for _ in waiting {
            listener.accept().await.unwrap();
        }
    }
}
