//! The owner task of a worker: it alone touches the desk, the line and the handlers' tasks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use protocol::{LeaseId, limits, worker::WorkerMessage};
use tokio::{
    sync::{Notify, mpsc},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Handler, Outputs, Settings, Stop, WorkerError,
    desk::{Desk, Todo},
    line::{self, Event, Line},
    run::{Offer, Run, Saying, Shared},
};
use crate::random;

/// 64 sayings between runs and the owner: it takes them as they come, so more would only hide that it cannot.
const SAYINGS_MAX: usize = 64;
/// Places wanted before anything is said: a ping and a heartbeat go together.
const ROOM: usize = 2;
/// Half of the drain is for handlers to stop by themselves; the rest for the server to hear that the work is handed back.
const DRAIN_HANDLERS_SHARE: u32 = 2;

/// See the module.
pub(super) struct Life<H> {
    settings: Arc<Settings>,
    handler: Arc<H>,
    desk: Desk,
    line: Line,
    sayings: mpsc::Receiver<Saying>,
    sayings_tx: mpsc::Sender<Saying>,
    /// From runs whose files were refused because of the token. One is enough.
    refusals: mpsc::Receiver<String>,
    refusals_tx: mpsc::Sender<String>,
    wake: Arc<Notify>,
    jobs: JoinSet<Result<Outputs, Failure>>,
    leases: HashMap<Id, LeaseId>,
    heartbeat: Duration,
    heartbeat_at: Instant,
    /// The server greeted on the connection that is open, or was open last.
    connected: bool,
    /// No connection was tried yet.
    first: bool,
    /// When handlers that have not stopped are given up, and when everything is.
    drain: Option<(Instant, Instant)>,
    /// Why the drain began, where nobody asked for it.
    refused: Option<String>,
}

impl<H: Handler> Life<H> {
    pub(super) fn new(settings: Arc<Settings>, handler: Arc<H>) -> Self {
        let (sayings_tx, sayings) = mpsc::channel(SAYINGS_MAX);
        let (refusals_tx, refusals) = mpsc::channel(1);
        Self {
            line: Line::new(Arc::clone(&settings)),
            settings,
            handler,
            desk: Desk::default(),
            sayings,
            sayings_tx,
            refusals,
            refusals_tx,
            wake: Arc::new(Notify::new()),
            jobs: JoinSet::new(),
            leases: HashMap::new(),
            heartbeat: Duration::from_millis(limits::HEARTBEAT_MS),
            heartbeat_at: Instant::now(),
            connected: false,
            first: true,
            drain: None,
            refused: None,
        }
    }

    /// Runs until `stop` fires, or the token is refused, and the drain is over.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), WorkerError> {
        let outcome = self.live(&stop).await;
        for run in self.desk.runs() {
            run.stop(Stop::Draining);
        }
        self.line.close().await;
        // Handlers still in work are dropped here; their runs' tokens have fired, so threads of theirs end too.
        self.jobs.shutdown().await;
        outcome
    }

    async fn live(&mut self, stop: &CancellationToken) -> Result<(), WorkerError> {
        loop {
            let now = Instant::now();
            if self.is_over(now) {
                return self.refused.take().map_or(Ok(()), |why| Err(WorkerError::TokenRefused(why)));
            }
            if self.speak(now) {
                continue;
            }
            let wait = self.wait();
            let full = self.line.messages().filter(|messages| messages.capacity() < ROOM);
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.drain.is_none() => self.begin_drain(),
                Some(why) = self.refusals.recv() => self.leave(why),
                Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
                Some(saying) = self.sayings.recv(), if self.desk.has_room() => self.desk.say(saying),
                event = self.line.event() => self.happened(event)?,
                () = room(full) => {}
                () = self.wake.notified() => {}
                () = sleep_until(wait) => {}
            }
        }
    }

    /// The token is good for no more than handing back what is held.
    fn leave(&mut self, why: String) {
        if self.drain.is_none() {
            self.refused = Some(why);
            self.begin_drain();
        }
    }

    fn begin_drain(&mut self) {
        let now = Instant::now();
        let all = self.settings.drain_max;
        self.drain = Some((now + all / DRAIN_HANDLERS_SHARE, now + all));
        self.desk.draining = true;
        for run in self.desk.runs() {
            run.stop(Stop::Draining);
        }
        tracing::info!(runs = self.desk.working(), "worker stops; runs are handed back");
    }

    /// Ends a drain whose time is over, and the worker when nothing is left.
    fn is_over(&mut self, now: Instant) -> bool {
        let Some((handlers_until, until)) = self.drain else { return false };
        if now >= handlers_until {
            self.jobs.abort_all();
        }
        self.desk.is_empty() || now >= until
    }

    /// Says one thing if there is something to say and room for it.
    fn speak(&mut self, now: Instant) -> bool {
        let Some(messages) = self.line.messages() else { return false };
        let Ok(mut room) = messages.try_reserve_many(ROOM) else { return false };
        let mut say = |message| {
            if let Some(permit) = room.next() {
                permit.send(message);
            }
        };
        if now >= self.heartbeat_at {
            let tokens = if self.desk.draining { 0 } else { limits::TOKENS_MAX };
            // The ping asks for a sign of life, the heartbeat gives one.
            say(Message::Ping(bytes::Bytes::new()));
            say(line::encode(&WorkerMessage::Heartbeat { tokens }));
            self.heartbeat_at = now + self.heartbeat;
            return true;
        }
        let Some(message) = self.desk.next(now) else { return false };
        say(line::encode(&message));
        true
    }

    fn happened(&mut self, event: Event) -> Result<(), WorkerError> {
        match event {
            Event::Up => {
                let hello = line::encode(&self.hello());
                self.heartbeat_at = Instant::now() + self.heartbeat;
                if let Some(messages) = self.line.messages()
                    && messages.try_send(hello).is_err()
                {
                    self.line.down("no room for hello".to_owned());
                }
            }
            Event::Down(why) => {
                let runs = self.desk.working();
                // Said once for people, however many tries it takes.
                if std::mem::take(&mut self.connected) || self.first {
                    self.first = false;
                    tracing::warn!(server = %self.settings.address, why, runs, "not connected; trying again");
                } else {
                    tracing::debug!(server = %self.settings.address, why, runs, "not connected");
                }
                self.desk.disconnected();
            }
            Event::Refused(why) => return Err(WorkerError::TokenRefused(why)),
            Event::Message(message) => {
                let Some(frames) = self.line.frames().cloned() else { return Ok(()) };
                for todo in self.desk.receive(*message, &frames) {
                    self.follow(todo);
                }
            }
        }
        Ok(())
    }

    fn hello(&self) -> WorkerMessage {
        WorkerMessage::Hello {
            worker: self.settings.name.clone(),
            instance: self.settings.instance.clone(),
            pools: self.settings.pools.clone(),
            labels: self.settings.labels.clone(),
            sdk: Some(crate::SDK.to_owned()),
            leases: self.desk.leases(),
            pipelines: self.settings.pipelines.clone(),
        }
    }

    fn follow(&mut self, todo: Todo) {
        match todo {
            Todo::Welcomed { heartbeat } => {
                self.line.good();
                self.connected = true;
                self.heartbeat = heartbeat;
                self.heartbeat_at = Instant::now() + heartbeat;
                tracing::info!(server = %self.settings.address, worker = %self.settings.name, "connected");
            }
            Todo::Consider(offer) => {
                let take = self.consider(&offer);
                self.desk.answer_offer(*offer, take);
            }
            Todo::Start(shared) => self.start(shared),
            Todo::Leave(why) => self.leave(why),
        }
    }

    fn consider(&self, offer: &Offer) -> Result<(), &'static str> {
        match () {
            () if self.desk.draining => Err("draining"),
            () if self.desk.working() >= self.settings.slots() => Err("no free slot"),
            () if !self.handler.accepts(offer) => Err("not accepted by the handler"),
            () => Ok(()),
        }
    }

    fn start(&mut self, shared: Arc<Shared>) {
        let lease = shared.lease.clone();
        let sayings = self.sayings_tx.clone();
        let refusals = self.refusals_tx.clone();
        let run = Run::new(shared, Arc::clone(&self.settings), sayings, refusals, Arc::clone(&self.wake));
        let handler = Arc::clone(&self.handler);
        let job = self.jobs.spawn(async move { handler.run(run).await });
        self.leases.insert(job.id(), lease);
    }

    fn ended(&mut self, ended: Result<(Id, Result<Outputs, Failure>), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            // Aborted at the end of a drain, which hands it back; else a bug of the handler's, worth another try.
            Err(error) => (error.id(), Err(Failure::retryable("the handler panicked").code("PANIC"))),
        };
        if let Some(lease) = self.leases.remove(&id) {
            // What the run said before it ended goes before its end.
            while let Ok(saying) = self.sayings.try_recv() {
                self.desk.say(saying);
            }
            self.desk.finished(&lease, result, random::command_id());
        }
    }

    /// Until when there is nothing to do unless something happens.
    fn wait(&self) -> Instant {
        let mut until = Instant::now() + self.heartbeat;
        if self.line.messages().is_some() {
            until = until.min(self.heartbeat_at);
        }
        if let Some(at) = self.desk.next_at() {
            until = until.min(at);
        }
        if let Some((handlers_until, drained)) = self.drain {
            let next = if self.desk.working() > 0 { handlers_until } else { drained };
            until = until.min(next);
        }
        until
    }
}

/// Waits until the socket took enough messages; for ever where none wait.
async fn room(full: Option<mpsc::Sender<Message>>) {
    match full {
        // A closed channel means a dead line, which `Line::event` reports.
        Some(messages) if messages.reserve_many(ROOM).await.is_ok() => {}
        _ => std::future::pending().await,
    }
}
