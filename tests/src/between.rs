//! What stands between a client and a server, and misbehaves: connections that are cut, cut at an age, held back by a buffer, or
//! not read for a while. Plain TCP; nothing of the bytes is changed.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What it takes from the server at once, so that a client that reads nothing is soon noticed there: the least Linux gives.
const RECEIVE_BYTES: u32 = 4 * 1024;
/// What a proxy holds before it passes on an answer that has no end: more than any test's stream.
const BUFFER_BYTES: usize = 1024 * 1024;

/// How it misbehaves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Not at all.
    None,
    /// Cuts every connection at this age, as proxies do that know no streams.
    CutsAt(Duration),
    /// Passes on only whole answers, as proxies do that buffer.
    Buffers,
}

/// The proxy; ends when dropped.
#[derive(Debug)]
pub struct Between {
    /// `http://127.0.0.1:port`.
    pub url: String,
    faults: Arc<Faults>,
    /// Aborted when dropped, with every connection.
    _running: JoinSet<()>,
}

#[derive(Debug)]
struct Faults {
    target: String,
    habit: Habit,
    /// Counts how often everything was cut.
    cuts: watch::Sender<u64>,
    /// Nothing is read from the server.
    asleep: watch::Sender<bool>,
}

impl Between {
    /// Stands in front of the server at `address`.
    pub async fn before(address: &str, habit: Habit) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (cuts, asleep) = (watch::Sender::new(0), watch::Sender::new(false));
        let faults = Arc::new(Faults { target: address.to_owned(), habit, cuts, asleep });
        let mut running = JoinSet::new();
        let shared = Arc::clone(&faults);
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(Arc::clone(&shared), client));
                // Those that ended are forgotten.
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, faults, _running: running })
    }

    /// Cuts every connection there is, without a word.
    pub fn cut(&self) {
        self.faults.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on nothing is read from the server, until it wakes.
    pub fn sleep(&self) {
        self.faults.asleep.send_replace(true);
    }

    /// Reads again.
    pub fn wake(&self) {
        self.faults.asleep.send_replace(false);
    }
}

async fn pass(faults: Arc<Faults>, client: TcpStream) {
    let mut cuts = faults.cuts.subscribe();
    let Ok(server) = connect(&faults.target).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let age = match faults.habit {
        Habit::CutsAt(age) => age,
        Habit::None | Habit::Buffers => crate::PATIENCE * 10,
    };
    // Whichever ends first is the end of both directions.
    tokio::select! {
        _ = cuts.changed() => {}
        () = tokio::time::sleep(age) => {}
        _ = up(client_in, server_out) => {}
        _ = down(&faults, server_in, client_out) => {}
    }
}

async fn connect(target: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    Ok(socket.connect(target.parse()?).await?)
}

async fn up(mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> Result<()> {
    tokio::io::copy(&mut client, &mut server).await?;
    Ok(())
}

async fn down(faults: &Faults, mut server: OwnedReadHalf, mut client: OwnedWriteHalf) -> Result<()> {
    let mut asleep = faults.asleep.subscribe();
    let (mut held, mut chunk) = (Vec::new(), vec![0; 4 * 1024]);
    loop {
        asleep.wait_for(|asleep| !asleep).await?;
        let read = server.read(&mut chunk).await?;
        held.extend_from_slice(&chunk[..read]);
        let passes = faults.habit != Habit::Buffers || read == 0 || held.len() > BUFFER_BYTES || is_whole(&held);
        if passes {
            client.write_all(&held).await?;
            held.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Is it a whole HTTP answer that says how long it is?
fn is_whole(held: &[u8]) -> bool {
    let Some(at) = held.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&held[..at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| held.len() >= at + 4 + length)
}
