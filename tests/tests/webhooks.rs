//! Webhooks through the real program, checked by a receiver that others wrote, while the server is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use access::{Role, webhook::SigningKey};
use anyhow::{Context, Result, ensure};
use rushes_tests::{PATIENCE, Server, clients, encrypted::Encrypted, program::token};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PRIVATE: &str = "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Every seventh message is refused.
const REFUSED: u32 = 7;
/// Deaths of the server, each at another moment.
const DEATHS: usize = 6;
/// Generations between two deaths.
const ROUND: usize = 12;

/// `receive.mjs`, which dies with its owner.
struct Receiver {
    lines: Lines<BufReader<ChildStdout>>,
    port: u64,
    _process: Child,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let public = PRIVATE.parse::<SigningKey>()?.public().context("an Ed25519 key")?;
        let input = json!({"secret": SHARED, "publicKey": public, "refuse": REFUSED});
        let mut process = Command::new("node")
            .arg(clients::folder().join("receive.mjs"))
            .arg(input.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("stdout")?).lines();
        let mut receiver = Self { lines, port: 0, _process: process };
        receiver.port = receiver.next().await?["port"].as_u64().context("a port")?;
        Ok(receiver)
    }

    /// What came next.
    async fn next(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("nothing comes any more")??;
        Ok(serde_json::from_str(&line.context("the receiver ended")?)?)
    }
}

/// What was taken of each generation, and under which ids.
#[derive(Default)]
struct Taken {
    last: BTreeMap<String, u64>,
    ids: BTreeMap<(String, u64), String>,
    repeated: usize,
}

impl Taken {
    /// Takes one line of the receiver: in order, without a hole, a repeat under its first id.
    fn take(&mut self, line: &Value) -> Result<()> {
        ensure!(line["problem"].is_null() && line["signedTwice"] == true, "{line}");
        let generation = line["generation"].as_str().context("a generation")?.to_owned();
        let sequence = line["sequence"].as_u64().context("a sequence")?;
        let id = line["id"].as_str().context("an id")?.to_owned();
        let first = self.ids.entry((generation.clone(), sequence)).or_insert_with(|| id.clone());
        ensure!(*first == id, "{line} came as {first} before");
        let last = self.last.entry(generation).or_default();
        ensure!(sequence <= *last + 1, "{line} came after {last}");
        if line["refused"] == true {
            return Ok(());
        }
        self.repeated += usize::from(sequence <= *last);
        *last = sequence.max(*last);
        Ok(())
    }
}

async fn submit_and_cancel(server: &Server) -> Result<String> {
    let id = server.submit("ada").await?;
    let (status, answer) = server.request("POST", &format!("/v1/generations/{id}/cancel"), "ada", None).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_signed_and_in_order_while_the_server_is_killed() -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let folder = TempDir::new()?;
    let file = folder.path().join("rushes.toml");
    let waits: Vec<&str> = vec!["20ms"; 16];
    std::fs::write(
        &file,
        format!(
            "[webhooks]\nallow = [\"127.0.0.1\"]\n[[webhook]]\nname = \"shop\"\nurl = \"http://127.0.0.1:{}/hook\"\n\
             events = [\"*\"]\nsecret = [\"{SHARED}\", \"{PRIVATE}\"]\nretries = {waits:?}\n",
            receiver.port
        ),
    )?;
    let mut server = Server::start_with(&[("RUSHES_CONFIG", file.to_str().context("a path")?)])?;
    let mut taken = Taken::default();
    let mut expected = BTreeSet::new();
    for round in 0..DEATHS {
        for _ in 0..ROUND {
            expected.insert(submit_and_cancel(&server).await?);
        }
        // From the first message on to deep in the backlog.
        for _ in 0..round * ROUND / 2 {
            taken.take(&receiver.next().await?)?;
        }
        server.kill();
        server.start_again()?;
    }
    let done = |taken: &Taken| expected.iter().all(|id| taken.last.get(id) == Some(&3));
    while !done(&taken) {
        taken.take(&receiver.next().await?)?;
    }
    assert_eq!(taken.last.len(), expected.len(), "nobody else was told of");
    // A death repeats at most what was under way: eight generations at once, one message each.
    assert!(taken.repeated <= DEATHS * 8, "{} messages came twice", taken.repeated);
    let operator = token("op", Role::Operator);
    let look = async {
        loop {
            let (_, list) = server.request_as("GET", "/v1/webhooks", &operator, None).await?;
            if list["webhooks"][0]["due"] == 0 {
                return anyhow::Ok(list);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let list = timeout(PATIENCE, look).await.context("something is still due")??;
    assert_eq!(list["webhooks"][0]["deadLetters"], 0, "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_behind_tls_is_called_when_its_certificate_is_vouched_for() -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let front = Encrypted::before_address(&format!("127.0.0.1:{}", receiver.port)).await?;
    let stranger = Encrypted::before_address(&format!("127.0.0.1:{}", receiver.port)).await?;
    let folder = TempDir::new()?;
    let file = folder.path().join("rushes.toml");
    let hook = |name: &str, url: &str| {
        format!(
            "[[webhook]]\nname = \"{name}\"\nurl = \"{url}/hook\"\nsecret = [\"{SHARED}\", \"{PRIVATE}\"]\nretries = [\"20ms\"]\n"
        )
    };
    let networks = "[webhooks]\nallow = [\"127.0.0.1\", \"::1\"]\n";
    std::fs::write(&file, [networks.to_owned(), hook("shop", &front.url), hook("stranger", &stranger.url)].concat())?;
    let authority = front.authority.to_str().context("a path")?;
    let config = file.to_str().context("a path")?;
    let server = Server::start_with(&[("RUSHES_CONFIG", config), ("SSL_CERT_FILE", authority)])?;
    let id = submit_and_cancel(&server).await?;
    let heard = receiver.next().await?;
    assert_eq!((&heard["generation"], &heard["type"]), (&json!(id), &json!("cancelled")), "{heard}");
    assert!(heard["problem"].is_null() && heard["signedTwice"] == true, "{heard}");

    let operator = token("op", Role::Operator);
    let buried = async {
        loop {
            let path = "/v1/webhooks/stranger/dead-letters";
            let (status, page) = server.request_as("GET", path, &operator, None).await?;
            ensure!(status == 200, "{status} {page}");
            if let Some(letter) = page["deadLetters"].get(0) {
                return anyhow::Ok(letter.clone());
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let letter = timeout(PATIENCE, buried).await.context("whom nobody vouches for was called")??;
    let why = letter["error"].as_str().context("a reason")?;
    assert!(why.to_lowercase().contains("certificate"), "it does not say why: {letter}");
    Ok(())
}
