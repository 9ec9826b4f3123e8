//! The program as processes: servers and workers, started, killed and started again.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use access::{Doors, Role, Secret};
use anyhow::{Context, Result, bail};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use protocol::{TenantId, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::{
    PATIENCE, Socket,
    encrypted::Certificate,
    reply::{client, client_trusting},
};

/// The secret of all test servers: 32 bytes and more, so that nothing warns.
pub const SECRET: &str = "a secret of the tests, long enough to be one";
/// The year 2100: no test token expires by itself.
pub const FAR: Timestamp = Timestamp(4_102_444_800_000);

/// Where a server that logs into a file does, in its data folder.
const LOG: &str = "log.json";

/// Between two looks at whether a process has ended.
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);

/// Where the built program stands: beside the test binaries.
///
/// # Panics
/// When it was not built; `scripts/test` builds it first.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(Path::parent).expect("test binaries stand in target/<profile>/deps");
    let program = folder.join("rushes");
    assert!(program.exists(), "{} is missing: run `cargo build` first", program.display());
    program
}

/// A token for `user`, as the backend of a product would mint it.
#[must_use]
pub fn token(user: &str, role: Role) -> String {
    token_of(SECRET, user, role, FAR)
}

/// The same, signed with another secret, or until another time.
#[must_use]
pub fn token_of(secret: &str, user: &str, role: Role, expires_at: Timestamp) -> String {
    let secret = Secret::new(secret).expect("the secret is not empty");
    let user = user.parse().expect("test users are valid ids");
    Doors::new(&secret).mint(&user, &TenantId::fallback(), role, expires_at)
}

/// A worker's token that is good for so long from now.
///
/// # Errors
/// When the clock stands before 1970.
#[expect(clippy::disallowed_methods, reason = "a token expires by the wall clock of the server, which is this one")]
pub fn brief_token(user: &str, life: std::time::Duration) -> Result<String> {
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)? + life;
    Ok(token_of(SECRET, user, Role::Worker, Timestamp(u64::try_from(until.as_millis())?)))
}

/// A token with any claims, signed with the secret of the test servers.
#[must_use]
pub fn signed(claims: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "HS256"})), encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes every key").chain_update(&message);
    format!("{message}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

/// A process that dies with its owner.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) -> Result<()> {
        let (signal, pid) = (format!("-{name}"), self.0.id().to_string());
        anyhow::ensure!(Command::new("kill").args([&signal, &pid]).status()?.success(), "kill {signal}");
        Ok(())
    }

    async fn terminate(&mut self) -> Result<std::process::ExitStatus> {
        self.signal("TERM")?;
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait()? {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.context("it was asked to stop and does not")?
    }

    fn kill(&mut self) {
        // Already dead is dead enough.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `rushes serve` on a port and folder of its own.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// `http://127.0.0.1:port`, or `https:` where it was given a certificate.
    pub url: String,
    data: PathBuf,
    environment: Vec<(String, String)>,
    client: reqwest::Client,
    /// Whom to trust, where it speaks TLS.
    authority: Option<PathBuf>,
    /// Removes the data folder with the server, where it is a temporary one.
    _temporary: Option<TempDir>,
}

impl Server {
    /// Starts one with the defaults.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further environment variables.
    pub fn start_with(environment: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::new()?;
        let server = Self::start_in(folder.path(), environment)?;
        Ok(Self { _temporary: Some(folder), ..server })
    }

    /// Starts one that writes its log, in JSON, into a file: see [`Self::log`].
    pub fn start_logging() -> Result<Self> {
        let folder = TempDir::new()?;
        let log = File::create(folder.path().join(LOG))?;
        let environment = vec![("RUSHES_LOG_FORMAT".to_owned(), "json".to_owned())];
        let (process, url) = spawn(folder.path(), "127.0.0.1:0", &environment, log.into())?;
        let data = folder.path().to_owned();
        Ok(Self {
            process,
            url,
            data,
            environment,
            client: client().clone(),
            authority: None,
            _temporary: Some(folder),
        })
    }

    /// Starts one that speaks TLS with `certificate`, and that the methods below trust.
    pub fn start_encrypted(certificate: &Certificate, environment: &[(&str, &str)]) -> Result<Self> {
        let files = certificate.environment();
        let files = files.iter().map(|(name, path)| (*name, path.as_str()));
        let server = Self::start_with(&files.chain(environment.iter().copied()).collect::<Vec<_>>())?;
        anyhow::ensure!(server.url.starts_with("https://"), "{}", server.url);
        Ok(Self { client: client_trusting(&certificate.cert())?, authority: Some(certificate.cert()), ..server })
    }

    /// What a server started by [`Self::start_logging`] has logged so far.
    pub fn log(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.data.join(LOG))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Starts one on a data folder that outlives it.
    pub fn start_in(data: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (process, url) = spawn(data, "127.0.0.1:0", &environment, Stdio::inherit())?;
        let data = data.to_owned();
        Ok(Self { process, url, data, environment, client: client().clone(), authority: None, _temporary: None })
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Ends it without a word, as a power cut of the process would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, address)| address)
    }

    /// Sends it a signal, such as `HUP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Its process id, for a look at its memory.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// The server's own memory, in bytes: without pages of the program, which come and go.
    ///
    /// # Errors
    /// When it does not run.
    pub fn own_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("RssAnon")?;
        Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1024)
    }

    /// Starts it again on the same address and folder.
    pub fn start_again(&mut self) -> Result<()> {
        let (process, url) = spawn(&self.data, self.address(), &self.environment, Stdio::inherit())?;
        assert_eq!(url, self.url);
        self.process = process;
        Ok(())
    }

    /// Asks it to stop as an init system would, and waits until it did.
    pub async fn terminate(&mut self) -> Result<std::process::ExitStatus> {
        self.process.terminate().await
    }

    /// A bare request, to be sent with [`crate::Reply::of`].
    pub fn http(&self, method: &str, path: &str) -> Result<reqwest::RequestBuilder> {
        Ok(self.client.request(method.parse()?, format!("{}{path}", self.url)))
    }

    /// A counter or gauge of `/metrics`, the sum of all its series; 0 while there is none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = crate::Reply::of(self.http("GET", "/metrics")?).await?.text();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>())
        });
        Ok(values.sum::<Result<_, _>>()?)
    }

    /// A request with `user`'s token.
    pub async fn request(&self, method: &str, path: &str, user: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        self.request_as(method, path, &token(user, Role::User), body).await
    }

    /// A request with a token.
    pub async fn request_as(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let mut request =
            self.client.request(method.parse()?, format!("{}{path}", self.url)).bearer_auth(token).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A socket at `path`, with `token` in a header where there is one.
    pub async fn socket(&self, path: &str, token: Option<&str>) -> Result<Socket> {
        match &self.authority {
            Some(authority) => Socket::open_trusting(&self.url, path, token, authority).await,
            None => Socket::open(&self.url, path, token).await,
        }
    }

    /// A live socket that has authenticated as `user`.
    pub async fn live(&self, user: &str) -> Result<Socket> {
        self.socket("/v1/live", None).await?.authenticated(user).await
    }

    /// Submits a film that takes a second or two, and answers its id.
    pub async fn submit(&self, user: &str) -> Result<String> {
        let film = json!({"prompt": "a quiet mountain lake at sunset",
            "params": {"width": 320, "height": 180, "fps": 12, "seconds": 1, "seed": 7}});
        self.submit_this(user, &film).await
    }

    /// Submits anything.
    pub async fn submit_this(&self, user: &str, body: &Value) -> Result<String> {
        let (status, answer) = self.request("POST", "/v1/generations", user, Some(body)).await?;
        anyhow::ensure!(status == 201, "{status} {answer}");
        Ok(answer["generation"]["id"].as_str().context("an id")?.to_owned())
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it said, on both pipes.
    pub said: String,
}

/// Runs the program to its end, in an environment of these variables and nothing of ours.
///
/// # Errors
/// When it does not end, which a command that must be refused would not.
pub async fn run(args: &[&str], environment: &[(&str, &str)]) -> Result<Ended> {
    let running = tokio::process::Command::new(program())
        .args(args)
        .env_remove("JWT_SECRET")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, running).await.with_context(|| format!("{args:?} does not end"))??;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok(Ended { code: output.status.code().unwrap_or(-1), said })
}

fn spawn(folder: &Path, listen: &str, environment: &[(String, String)], log: Stdio) -> Result<(Process, String)> {
    let mut child = Command::new(program())
        .args(["serve", "--listen", listen, "--data"])
        .arg(folder)
        .env("JWT_SECRET", SECRET)
        .env("RUSHES_LOG_LEVEL", "warn")
        .envs(environment.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("starting the server")?;
    let lines = lines_of(child.stdout.take().context("stdout")?);
    let process = Process(child);
    let mut seen = String::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if let Some(at) = line.find("127.0.0.1:") {
            let address =
                line[at..].split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next().unwrap_or_default();
            let scheme = if line.contains("https://") { "https" } else { "http" };
            return Ok((process, format!("{scheme}://{address}")));
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    bail!("the server did not say where it listens; it said: {seen}")
}

/// Reads a pipe to its end on a thread of its own, so that the process never waits for us.
fn lines_of(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::sync_channel(4_096);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens once the address is known; the pipe is emptied all the same.
            let _ = tx.try_send(line);
        }
    });
    rx
}

/// `rushes worker`, the reference renderer.
#[derive(Debug)]
pub struct Worker(Process);

impl Worker {
    /// Starts one and does not wait for it: the server offers when it is there.
    pub fn start(server: &Server, name: &str) -> Result<Self> {
        Self::start_at(&server.url, name, &[])
    }

    /// The same at an address, with further environment variables.
    pub fn start_at(url: &str, name: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let child = Command::new(program())
            .args(["worker", "--server", url, "--name", name])
            .envs(environment.iter().copied())
            .env("RUSHES_TOKEN", token("worker", Role::Worker))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting a worker")?;
        Ok(Self(Process(child)))
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Asks it to stop as an init system would, and waits until it did.
    pub async fn terminate(&mut self) -> Result<std::process::ExitStatus> {
        self.0.terminate().await
    }
}
