//! A process of the load: thousands of connections on one thread, over WebSocket, SSE or long-poll, each checked for what is
//! missing, doubled or out of order. It knows no server: how a connection gets ready is in its [`orders::Plan`].
//!
//! ```text
//! load/orders.rs   what it is told and what it answers
//! load/board.rs    what all connections of the process count
//! load/follow.rs   one connection
//! load/http.rs     what it says and hears where that is HTTP
//! ```

mod board;
mod follow;
pub(crate) mod http;
pub(crate) mod orders;

use std::{io::Write, rc::Rc, sync::Arc};

use anyhow::{Context, Result, bail};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, BufReader},
    sync::Semaphore,
    task::{JoinSet, LocalSet},
};

use board::Board;
use orders::{Answer, Order, Plan};

/// Lines of orders are megabytes: 19,000 seats with their tokens.
const READ_BYTES: usize = 64 * 1024;

/// Follows orders until standard input ends.
///
/// # Errors
/// When an order cannot be read.
pub(crate) async fn run() -> Result<()> {
    LocalSet::new().run_until(obey()).await
}

async fn obey() -> Result<()> {
    let input = File::open("/dev/stdin").await.context("/dev/stdin: the bench measures on Linux")?;
    let mut lines = BufReader::with_capacity(READ_BYTES, input).lines();
    let mut board = Rc::new(Board::new(Plan::default())?);
    let mut connections = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        let order: Order = serde_json::from_str(&line).context("an order of the bench")?;
        let answer = match order {
            Order::Plan(plan) => {
                connections.abort_all();
                board = Rc::new(Board::new(plan)?);
                Answer::default()
            }
            Order::Open(at_once) => {
                open(&board, &mut connections, at_once);
                Answer::default()
            }
            Order::Drop => {
                connections.shutdown().await;
                board.dropped();
                Answer::default()
            }
            Order::Stall(stalled) => {
                board.stall(stalled);
                Answer::default()
            }
            Order::Count(number) => board.answer(number),
            Order::Report => board.report(),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Opens what is not open. A seat takes its turn until it is ready.
fn open(board: &Rc<Board>, connections: &mut JoinSet<()>, at_once: usize) {
    let turns = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
    for seat in board.closed() {
        let (board, turns) = (Rc::clone(board), Arc::clone(&turns));
        connections.spawn_local(async move {
            let ended = async {
                let Ok(turn) = turns.acquire_owned().await else { bail!("no turn") };
                follow::follow(&board, seat, turn).await
            };
            if let Err(error) = ended.await {
                board.broke(seat, &error);
            }
        });
    }
}
