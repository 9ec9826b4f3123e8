//! Each fault against each transport: what a watcher saw in the end is what happened, each event once and in order.
//!
//! The watchers here know only the wire. Each keeps one position and gives it back to whatever transport comes next; one that
//! hears nothing for too long falls to the long-poll, as clients do behind a proxy that buffers. A fourth follows two generations
//! at once by one cursor, and takes it from the stream to the long-poll or back each time it returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use access::Role;
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::{Timestamp, limits};
use rushes_tests::{
    PATIENCE, Server, Watcher,
    between::{Between, Habit},
    program::{FAR, SECRET, token_of},
    reply::{client, client_that_keeps},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// Events of each generation: enough for several faults to fall between them.
const EVENTS: u32 = 120;
/// Between two of them.
const PACE: Duration = Duration::from_millis(15);
/// Nothing heard for so long is taken for a proxy that holds it back: twice what separates two events here, and then some.
const MUTE: Duration = Duration::from_secs(2);

/// A client that comes back from where it was.
#[derive(Clone)]
struct Client {
    url: String,
    /// Keeps its connection from one poll to the next, as clients do.
    http: reqwest::Client,
    /// What it follows: one by its position, or several by one cursor.
    ids: Vec<String>,
    how: Watcher,
    /// Falls to the long-poll when it hears nothing for so long.
    watchdog: Option<Duration>,
    token: String,
    position: String,
    /// Of each, in the order it came.
    seen: BTreeMap<String, Vec<u64>>,
    ended: BTreeSet<String>,
    /// For how long it goes on trying.
    patience: Duration,
    /// How often it had to come back.
    returns: u32,
    refused: u32,
}

impl Client {
    fn new(url: &str, ids: &[&str], how: Watcher) -> Self {
        Self {
            url: url.to_owned(),
            http: client_that_keeps(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            how,
            watchdog: None,
            token: token_of(SECRET, "ada", Role::User, FAR),
            position: "start".to_owned(),
            seen: BTreeMap::new(),
            ended: BTreeSet::new(),
            patience: PATIENCE,
            returns: 0,
            refused: 0,
        }
    }

    const fn follows_many(&self) -> bool {
        self.ids.len() > 1
    }

    fn is_done(&self) -> bool {
        self.ended.len() == self.ids.len()
    }

    /// Its events over HTTP, with room for one more parameter.
    fn path(&self) -> String {
        match self.ids.as_slice() {
            [id] => format!("/v1/generations/{id}/events?"),
            ids => ids.iter().fold("/v1/events?".to_owned(), |path, id| path + "generation=" + id + "&"),
        }
    }

    /// What it does next, after `error` ended what it did.
    fn turn(&mut self, error: &anyhow::Error) {
        self.returns += 1;
        if error.to_string().contains("mute") {
            self.how = Watcher::Poll;
            self.watchdog = None;
        } else if self.follows_many() {
            self.how = if self.how == Watcher::Poll { Watcher::Stream } else { Watcher::Poll };
        }
    }

    /// Watches until the end, through whatever happens.
    async fn watch(mut self) -> Result<Self> {
        let patience = self.patience;
        let whole = async {
            while !self.is_done() {
                let round = match self.how {
                    Watcher::Socket => Box::pin(self.socket()).await,
                    Watcher::Stream => self.stream().await,
                    Watcher::Poll => self.poll().await,
                };
                if let Err(error) = round {
                    self.turn(&error);
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            }
        };
        let ended = Box::pin(timeout(patience, whole)).await.is_ok();
        ensure!(
            ended,
            "{:?}: no end; at {} after {} returns, saw {:?}",
            self.how,
            self.position,
            self.returns,
            self.seen
        );
        Ok(self)
    }

    async fn within<T>(&self, doing: impl Future<Output = T>) -> Result<T> {
        timeout(self.watchdog.unwrap_or(PATIENCE), doing).await.context("mute")
    }

    fn take(&mut self, event: &Value, position: &str) {
        if event["ephemeral"] != true {
            let id = event["generationId"].as_str().unwrap_or_default();
            self.seen.entry(id.to_owned()).or_default().extend(event["sequence"].as_u64());
            position.clone_into(&mut self.position);
            if rushes_tests::watch::is_terminal(event) {
                self.ended.insert(id.to_owned());
            }
        }
    }

    /// A token that was refused is not shown again.
    fn renew(&mut self) {
        self.refused += 1;
        self.token = token_of(SECRET, "ada", Role::User, FAR);
    }

    async fn socket(&mut self) -> Result<()> {
        let address = format!("{}/v1/live", self.url.replacen("http", "ws", 1));
        let (mut socket, _) = Box::pin(self.within(connect_async(address))).await??;
        let say = [
            json!({"type": "authenticate", "token": self.token}),
            json!({"type": "subscribe", "generationId": self.ids[0], "after": self.position}),
        ];
        for message in say {
            socket.send(Message::text(message.to_string())).await?;
        }
        while !self.is_done() {
            let text = match self.within(socket.next()).await?.context("it broke")?? {
                Message::Text(text) => text,
                Message::Close(Some(close)) if u16::from(close.code) == 4003 => {
                    self.renew();
                    bail!("refused")
                }
                Message::Close(_) => bail!("closed"),
                _ => continue,
            };
            let message: Value = serde_json::from_str(&text)?;
            if message["type"] == "status_update" {
                let position = message["position"].as_str().unwrap_or_default();
                self.take(&message["data"], position);
            }
        }
        Ok(())
    }

    async fn stream(&mut self) -> Result<()> {
        let request = self
            .http
            .get(format!("{}{}", self.url, self.path()))
            .bearer_auth(&self.token)
            .header("accept", "text/event-stream")
            .header("last-event-id", &self.position);
        let mut answer = self.within(request.send()).await??;
        if answer.status() == 401 {
            self.renew();
        }
        ensure!(answer.status() == 200, "{}", answer.status());
        let (mut text, mut at, mut name) = (String::new(), String::new(), String::new());
        while let Some(chunk) = self.within(answer.chunk()).await?? {
            text.push_str(std::str::from_utf8(&chunk).context("events are ASCII here")?);
            while let Some(end) = text.find('\n') {
                let line: String = text.drain(..=end).collect();
                let line = line.trim_end();
                if line.is_empty() {
                    name.clear();
                } else if let Some(id) = line.strip_prefix("id: ") {
                    id.clone_into(&mut at);
                } else if let Some(event) = line.strip_prefix("event: ") {
                    event.clone_into(&mut name);
                } else if let Some(data) = line.strip_prefix("data: ").filter(|_| name.is_empty()) {
                    self.take(&serde_json::from_str(data)?, &at.clone());
                } else if name == "expired" {
                    self.renew();
                    bail!("expired")
                }
            }
            if self.is_done() {
                return Ok(());
            }
        }
        bail!("the stream ended")
    }

    async fn poll(&mut self) -> Result<()> {
        let request = self
            .http
            .get(format!("{}{}after={}", self.url, self.path(), self.position))
            .bearer_auth(&self.token)
            .header("prefer", "wait=25");
        let answer = self.within(request.send()).await??;
        if answer.status() == 401 {
            self.renew();
        }
        let page: Value = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
        let name = if self.follows_many() { "cursor" } else { "position" };
        let position = page[name].as_str().context("a position")?;
        for event in page["events"].as_array().context("events")? {
            self.take(event, position);
        }
        position.clone_into(&mut self.position);
        Ok(())
    }
}

/// Reports progress and the end, again and again where the server is away.
async fn produce(url: &str, id: &str, pace: Duration, padding: usize) -> Result<()> {
    let path = format!("{url}/v1/generations/{id}/events");
    let bearer = token_of(SECRET, "ada", Role::User, FAR);
    let padding = "x".repeat(padding);
    for n in 1..EVENTS {
        let progress = f64::from(n) * 100.0 / f64::from(EVENTS);
        let event = match n + 1 {
            EVENTS => json!([{"eventId": "end", "status": "complete"}]),
            _ => json!([{"eventId": format!("p{n}"), "status": "generating_frames", "progress": progress,
                "metadata": {"padding": padding}}]),
        };
        let taken = timeout(PATIENCE, async {
            loop {
                let answer = client().post(&path).bearer_auth(&bearer).json(&event).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        taken.await.with_context(|| format!("event {n} is not taken"))?;
        tokio::time::sleep(pace).await;
    }
    Ok(())
}

/// A server, two generations, a watcher of the first on each transport and one of both, all behind a proxy with a habit.
struct Scene {
    server: Server,
    between: Between,
    /// The first of the two; the other goes the same way at the same pace.
    id: String,
    watchers: JoinSet<Result<Client>>,
    producers: JoinSet<Result<()>>,
}

impl Scene {
    async fn set(habit: Habit, pace: Duration, padding: usize, change: impl Fn(&mut Client)) -> Result<Self> {
        let server = Server::start()?;
        let between = Between::before(server.address(), habit).await?;
        let id = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
        let other = server.submit_this("ada", &json!({"pipeline": "external"})).await?;
        let mut clients = Watcher::ALL.map(|how| Client::new(&between.url, &[&id], how)).to_vec();
        clients.push(Client::new(&between.url, &[&id, &other], Watcher::Stream));
        let mut watchers = JoinSet::new();
        for mut client in clients {
            change(&mut client);
            watchers.spawn(client.watch());
        }
        let mut producers = JoinSet::new();
        for name in [id.clone(), other] {
            let url = server.url.clone();
            producers.spawn(async move { produce(&url, &name, pace, padding).await });
        }
        Ok(Self { server, between, id, watchers, producers })
    }

    /// So many events are durable.
    async fn until(&self, sequence: u64) -> Result<()> {
        let reached = async {
            loop {
                let path = format!("/v1/generations/{}", self.id);
                let (_, generation) = self.server.request("GET", &path, "ada", None).await?;
                let (_, head) =
                    generation["position"].as_str().and_then(|at| at.split_once(':')).context("a position")?;
                if head.parse::<u64>()? >= sequence {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(PACE / 3).await;
            }
        };
        timeout(PATIENCE, reached).await.with_context(|| format!("event {sequence} does not come"))?
    }

    /// Lost, duplicated and reordered: none. Answers the clients for further questions.
    async fn judge(mut self) -> Result<Vec<Client>> {
        while let Some(produced) = self.producers.join_next().await {
            produced??;
        }
        let expected: Vec<u64> = (1..=u64::from(EVENTS)).collect();
        let mut clients = Vec::new();
        while let Some(client) = self.watchers.join_next().await {
            let client = client??;
            for id in &client.ids {
                let seen = client.seen.get(id).map(Vec::as_slice).unwrap_or_default();
                let lost = expected.iter().filter(|one| !seen.contains(one)).count();
                let duplicates = seen.len() + lost - expected.len();
                let reordered = seen.windows(2).filter(|two| two[0] > two[1]).count();
                println!(
                    "{:?} of {}: lost {lost}, duplicates {duplicates}, reordered {reordered}, {} returns",
                    client.how,
                    client.ids.len(),
                    client.returns
                );
                assert_eq!(seen, expected, "{:?} after {} returns", client.how, client.returns);
            }
            assert_eq!(client.seen.len(), client.ids.len(), "what it did not ask for: {:?}", client.seen.keys());
            clients.push(client);
        }
        assert_eq!(clients.len(), Watcher::ALL.len() + 1);
        Ok(clients)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again() -> Result<()> {
    let mut scene = Scene::set(Habit::None, PACE, 0, |_| {}).await?;
    for sequence in [20, 50, 80] {
        scene.until(sequence).await?;
        scene.server.kill();
        scene.server.start_again()?;
    }
    for client in scene.judge().await? {
        assert!(client.returns >= 1, "{:?} noticed nothing", client.how);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut() -> Result<()> {
    let scene = Scene::set(Habit::None, PACE, 0, |_| {}).await?;
    for sequence in (10..EVENTS.into()).step_by(10) {
        scene.until(sequence).await?;
        scene.between.cut();
    }
    for client in scene.judge().await? {
        // A poll may have been between two requests, though hardly each time.
        let least = if client.how == Watcher::Poll { 1 } else { 3 };
        assert!(client.returns >= least, "{:?} was cut {} times", client.how, client.returns);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_buffers_is_noticed_and_left_for_the_long_poll() -> Result<()> {
    let scene = Scene::set(Habit::Buffers, PACE, 0, |client| client.watchdog = Some(MUTE)).await?;
    for client in scene.judge().await? {
        assert_eq!(client.how, Watcher::Poll, "it heard something it cannot have heard");
    }
    Ok(())
}

/// `CUT_SECONDS=30` is what such proxies do; unasked it is a third of a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cuts_whatever_is_too_old() -> Result<()> {
    let age = match std::env::var("CUT_SECONDS") {
        Ok(text) => Duration::from_secs(text.parse()?),
        Err(_) => Duration::from_millis(300),
    };
    // Long enough for whoever holds one connection to lose it three times.
    let lasts = age * 4;
    let scene = Scene::set(Habit::CutsAt(age), PACE.max(lasts / EVENTS), 0, |client| client.patience += lasts).await?;
    for client in scene.judge().await? {
        let least = if client.how == Watcher::Poll { 1 } else { 3 };
        assert!(client.returns >= least, "{:?} was cut {} times", client.how, client.returns);
    }
    println!("cut at {age:?}");
    Ok(())
}

/// `SLEEP_SECONDS=60` is a minute, which is what a socket may take nothing for: then it is let go, and comes back to all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sleeps_and_reads_nothing_meanwhile() -> Result<()> {
    let asleep = std::env::var("SLEEP_SECONDS").map_or(Ok(2), |text| text.parse()).map(Duration::from_secs)?;
    let let_go = asleep >= Duration::from_millis(limits::WATCHER_STALL_MAX_MS);
    // More than the kernel holds for a reader that stands still, while others go on.
    let scene = Scene::set(Habit::None, Duration::ZERO, 7_000, |client| client.patience += asleep).await?;
    scene.until(10).await?;
    scene.between.sleep();
    scene.until(EVENTS.into()).await?;
    tokio::time::sleep(asleep).await;
    let stalled = scene.server.metric("rushes_watchers_stalled_total").await?;
    if let_go {
        let gone = async {
            while scene.server.metric("rushes_watchers_stalled_total").await? < 1.0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, gone).await.context("who takes nothing keeps its socket")??;
    } else {
        // A stream may have been written to its end; a socket stays.
        assert!(scene.server.metric("rushes_connections").await? >= 1.0, "a sleeper is not dropped");
        assert!(stalled < 1.0);
    }
    scene.between.wake();
    println!("asleep for {asleep:?}");
    for client in scene.judge().await? {
        let noticed = client.returns >= 1;
        assert!(noticed == let_go || (let_go && client.how != Watcher::Socket), "{:?}: {}", client.how, client.returns);
    }
    Ok(())
}

/// Waits out the grace a socket has after its token: half a minute, beside the other tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_under_way() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(30);
    let pace = (GRACE + Duration::from_secs(5)) / EVENTS;
    let expires = now()?.plus(1_500);
    let scene =
        Scene::set(Habit::None, pace, 0, |client| client.token = token_of(SECRET, "ada", Role::User, expires)).await?;
    for client in scene.judge().await? {
        assert_eq!(client.refused, 1, "{:?}", client.how);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a token expires by the wall clock of the server, which is this one")]
fn now() -> Result<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp(u64::try_from(since.as_millis())?))
}
