//! TLS of the server's own: one port for HTTPS, HTTP/2 and WebSocket, certificates that change under way, and bytes that are
//! no TLS.

use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use access::Role;
use anyhow::{Context, Result, ensure};
use rushes_tests::{
    Frame, Heard, PATIENCE, Puppet, Server, Socket,
    between::{Between, Habit},
    encrypted::Certificate,
    program::{Ended, program, run, token},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// What curl says to these arguments, as ada and trusting `cert`.
async fn curl(cert: &Path, arguments: &[&str]) -> Result<Ended> {
    let asking = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--cacert"])
        .arg(cert)
        .args(["-H", &format!("authorization: Bearer {}", token("ada", Role::User))])
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, asking).await??;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok(Ended { code: output.status.code().unwrap_or(-1), said })
}

async fn ask(cert: &Path, url: &str, body: &Value) -> Result<Value> {
    let answer = curl(cert, &["-H", "content-type: application/json", "-d", &body.to_string(), url]).await?;
    serde_json::from_str(&answer.said).with_context(|| answer.said.clone())
}

/// A generation whose events the test makes.
async fn external(server: &Server, cert: &Path) -> Result<String> {
    let made = ask(cert, &format!("{}/v1/generations", server.url), &json!({"pipeline": "external"})).await?;
    Ok(made["generation"]["id"].as_str().with_context(|| made.to_string())?.to_owned())
}

async fn report(server: &Server, cert: &Path, id: &str, progress: u32) -> Result<()> {
    let event = json!([{"eventId": format!("p{progress}"), "status": "generating_frames", "progress": progress}]);
    let answer = ask(cert, &format!("{}/v1/generations/{id}/events", server.url), &event).await?;
    ensure!(answer["position"].is_string(), "{answer}");
    Ok(())
}

/// Which HTTP was spoken.
async fn version(cert: &Path, url: &str, wish: &str) -> Result<String> {
    let answer = curl(cert, &[wish, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", url]).await?;
    Ok(answer.said)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_speaks_both_http_and_the_socket_and_shows_the_same_events() -> Result<()> {
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    let cert = certificate.cert();
    let live = format!("{}/livez", server.url);
    assert_eq!(version(&cert, &live, "--http2").await?, "2 200");
    assert_eq!(version(&cert, &live, "--http1.1").await?, "1.1 200");

    let id = external(&server, &cert).await?;
    let mut socket = Socket::open_trusting(&server.url, "/v1/live", Some(&token("ada", Role::User)), &cert).await?;
    socket.until("authenticated").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": "start"})).await?;
    socket.until("subscribed").await?;
    let mut stream = Command::new("curl")
        .args(["-sSN", "--http2", "--fail", "--cacert"])
        .arg(&cert)
        .args(["-H", "accept: text/event-stream"])
        .args(["-H", &format!("authorization: Bearer {}", token("ada", Role::User))])
        .arg(format!("{}/v1/generations/{id}/events", server.url))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(stream.stdout.take().context("stdout")?).lines();
    for progress in [10, 20, 30] {
        report(&server, &cert, &id, progress).await?;
        let update = socket.until("status_update").await?;
        assert_eq!(update["data"]["progress"], json!(f64::from(progress)));
        let seen = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                let Some(data) = line.strip_prefix("data: ") else { continue };
                let event: Value = serde_json::from_str(data)?;
                if event["progress"] == json!(f64::from(progress)) {
                    return Ok(event);
                }
            }
            anyhow::bail!("the stream ended")
        });
        assert_eq!(seen.await??["sequence"], update["data"]["sequence"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_server_may_talk_to_it_over_http2() -> Result<()> {
    let certificate = Certificate::new()?;
    let environment = certificate.environment();
    let mut environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(("RUSHES_ALLOWED_ORIGINS", "https://app.example"));
    let server = Server::start_with(&environment)?;
    for (origin, status) in
        [(server.url.as_str(), "200"), ("https://app.example", "200"), ("https://evil.example", "403")]
    {
        let header = format!("origin: {origin}");
        let url = format!("{}/livez", server.url);
        let arguments = ["--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-H", &header, &url];
        assert_eq!(curl(&certificate.cert(), &arguments).await?.said, format!("2 {status}"), "{origin}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    let live = format!("{}/livez", server.url);
    let first = certificate.cert().with_file_name("first.pem");
    std::fs::copy(certificate.cert(), &first)?;
    let open = Socket::open_trusting(&server.url, "/v1/live", Some(&token("ada", Role::User)), &first).await;
    let mut open = open?;

    // On a change of the files, without a signal.
    certificate.renew()?;
    let taken = timeout(PATIENCE, async {
        while version(&certificate.cert(), &live, "--http2").await? != "2 200" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    });
    taken.await.context("the new certificate is not used")??;
    assert_ne!(version(&first, &live, "--http2").await?, "2 200", "the old one is gone");

    // On a signal, and a broken pair changes nothing.
    let second = certificate.cert().with_file_name("second.pem");
    std::fs::copy(certificate.cert(), &second)?;
    std::fs::write(certificate.key(), "nonsense")?;
    server.signal("HUP")?;
    certificate.renew()?;
    server.signal("HUP")?;
    let taken = timeout(PATIENCE, async {
        while version(&certificate.cert(), &live, "--http1.1").await? != "1.1 200" {
            // Until then the second one is served: never none, never a broken one.
            let between = version(&second, &live, "--http1.1").await?;
            let renewed = version(&certificate.cert(), &live, "--http1.1").await?;
            ensure!(between == "1.1 200" || renewed == "1.1 200", "{between} {renewed}");
        }
        Ok(())
    });
    taken.await.context("the third certificate is not used")??;
    // Who was connected before stayed connected.
    open.say(&json!({"type": "ping"})).await?;
    open.until("pong").await?;
    Ok(())
}

/// A client of rustls' own that keeps its tickets, and trusts the certificates of these files.
fn ticketed(trusted: &[&Path]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for cert in trusted {
        roots.add(CertificateDer::from_pem_file(cert)?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks whether the server lives. Says how they shook hands, and which certificate was shown.
async fn shake(server: &Server, client: &TlsConnector) -> Result<(HandshakeKind, Vec<u8>)> {
    let tcp = TcpStream::connect(server.address()).await?;
    let mut stream = client.connect(ServerName::try_from("localhost")?, tcp).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let session = stream.get_ref().1;
    let shown = session.peer_certificates().and_then(<[_]>::first).context("a certificate")?.to_vec();
    Ok((session.handshake_kind().context("a handshake")?, shown))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_back_resumes_its_sessions_until_another_certificate_is_in_use() -> Result<()> {
    /// More than a server would remember by itself: rustls keeps 256.
    const CROWD: usize = 300;
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    let first = certificate.cert().with_file_name("first.pem");
    std::fs::copy(certificate.cert(), &first)?;
    let crowd = (0..CROWD).map(|_| ticketed(&[&first])).collect::<Result<Vec<_>>>()?;
    for (time, wanted) in
        [("first", HandshakeKind::Full), ("second", HandshakeKind::Resumed), ("third", HandshakeKind::Resumed)]
    {
        for client in &crowd {
            assert_eq!(shake(&server, client).await?.0, wanted, "the {time} time");
        }
    }
    // Who trusts both and has a ticket of the first is shown the second as soon as that is in use.
    let old = CertificateDer::from_pem_file(&first)?.to_vec();
    certificate.renew()?;
    let second = certificate.cert();
    let client = ticketed(&[&first, &second])?;
    let taken = timeout(PATIENCE, async {
        loop {
            let (kind, shown) = shake(&server, &client).await?;
            if shown != old {
                return anyhow::Ok(kind);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(taken.await.context("the new certificate is not used")??, HandshakeKind::Full);
    assert_eq!(shake(&server, &client).await?.0, HandshakeKind::Resumed);
    let error = shake(&server, &crowd[0]).await.err().context("a session of the old certificate is taken up again")?;
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_tls_port_is_told_so() -> Result<()> {
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    let plain = server.url.replacen("https", "http", 1);
    let answer = curl(&certificate.cert(), &["-w", " %{http_code}", &format!("{plain}/livez")]).await?;
    let (body, status) = answer.said.rsplit_once(' ').context("a status")?;
    assert_eq!(status, "400", "{}", answer.said);
    let body: Value = serde_json::from_str(body)?;
    assert_eq!(body["error"]["code"], "invalid_request", "{body}");
    assert!(body["error"]["hint"].as_str().is_some_and(|hint| hint.contains("https://")), "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_is_cut_or_no_tls_leaves_nothing_behind() -> Result<()> {
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    let cert = certificate.cert();
    // A record that promises more than comes, one that is too long, one of another kind, and noise.
    let cases: [&[u8]; 5] =
        [b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x04zzzz", b""];
    for bytes in cases {
        let mut stream = TcpStream::connect(server.address()).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("the server keeps the connection")?;
    }
    // Sockets whose TCP connection is cut without a word of TLS are gone for the server.
    let id = external(&server, &cert).await?;
    for _ in 0..20 {
        let ada = token("ada", Role::User);
        let mut socket = Socket::open_trusting(&server.url, "/v1/live", Some(&ada), &cert).await?;
        socket.say(&json!({"type": "subscribe", "generationId": id})).await?;
        socket.until("subscribed").await?;
    }
    let gone = timeout(PATIENCE, async {
        loop {
            let health = curl(&cert, &[&format!("{}/health", server.url)]).await?;
            let health: Value = serde_json::from_str(&health.said)?;
            if health["connections"] == 0 {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.context("connections are left")?
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_trickle_are_dropped_and_keep_nobody_out() -> Result<()> {
    const TRICKLING: usize = 64;
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    // A record of 512 bytes that never gets whole: a byte now and then.
    let mut trickling = Vec::new();
    for _ in 0..TRICKLING {
        let mut stream = TcpStream::connect(server.address()).await?;
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?;
        trickling.push(stream);
    }
    let began = Instant::now();
    let gone = timeout(PATIENCE, async {
        while !trickling.is_empty() {
            // Everybody else is served meanwhile.
            let live = format!("{}/livez", server.url);
            assert_eq!(version(&certificate.cert(), &live, "--http2").await?, "2 200");
            let mut open = Vec::new();
            for mut stream in trickling.drain(..) {
                let end = timeout(Duration::from_millis(1), stream.read(&mut [0; 64])).await;
                if end.is_err() && stream.write_all(b"\0").await.is_ok() {
                    open.push(stream);
                }
            }
            trickling = open;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    });
    gone.await.context("a trickle keeps its connection")??;
    assert!(
        began.elapsed() >= Duration::from_secs(8),
        "who is slow for a moment is not dropped: {:?}",
        began.elapsed()
    );
    Ok(())
}

/// Ada's socket over TLS, following `id` from its beginning.
async fn following(url: &str, cert: &Path, id: &str) -> Result<Socket> {
    let mut socket = Socket::open_trusting(url, "/v1/live", Some(&token("ada", Role::User)), cert).await?;
    socket.until("authenticated").await?;
    socket.say(&json!({"type": "subscribe", "generationId": id, "after": "start"})).await?;
    socket.until("subscribed").await?;
    Ok(socket)
}

/// The next so many events of a socket, by their sequences.
async fn heard(socket: &mut Socket, count: usize) -> Result<Vec<u64>> {
    let mut sequences = Vec::with_capacity(count);
    while sequences.len() < count {
        let update = socket.until("status_update").await?;
        sequences.extend(update["data"]["sequence"].as_u64().filter(|_| update["data"]["ephemeral"] != true));
    }
    Ok(sequences)
}

/// A line of the metrics.
async fn metric(server: &Server, cert: &Path, name: &str) -> Result<f64> {
    let metrics = curl(cert, &[&format!("{}/metrics", server.url)]).await?.said;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in {metrics}"))?.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_stalls_behind_tls_costs_a_cursor_and_gets_all_of_it_in_order() -> Result<()> {
    /// More than the kernel holds for a reader that stands still.
    const REQUESTS: u32 = 60;
    const EVENTS: u32 = 8;
    const PADDING: usize = 7_000;
    const SENT: &str = "rushes_bytes_sent_total{transport=\"websocket\"}";
    const PAGES: &str = "rushes_log_pages_read_total";
    let certificate = Certificate::new()?;
    let (server, cert) = (Server::start_encrypted(&certificate, &[])?, certificate.cert());
    let between = Between::before(server.address(), Habit::None).await?;
    let id = external(&server, &cert).await?;
    let mut slow = following(&between.url.replacen("http", "https", 1), &cert, &id).await?;
    let mut live = following(&server.url, &cert, &id).await?;
    let before = metric(&server, &cert, SENT).await?;
    between.sleep();
    let mut first = Vec::new();
    for request in 0..REQUESTS {
        let event = |at: u32| {
            let number = request * EVENTS + at;
            json!({"eventId": format!("p{number}"), "status": "generating_frames",
                "progress": f64::from(number) * 100.0 / f64::from(REQUESTS * EVENTS), "metadata": {"padding": "x".repeat(PADDING)}})
        };
        let events: Vec<Value> = (0..EVENTS).map(event).collect();
        let answer = ask(&cert, &format!("{}/v1/generations/{id}/events", server.url), &json!(events)).await?;
        ensure!(answer["position"].is_string(), "{answer}");
        // Who reads is not held up by who does not.
        first.extend(heard(&mut live, EVENTS as usize).await?);
    }
    let payload = f64::from(REQUESTS * EVENTS) * PADDING as f64;
    let sent = metric(&server, &cert, SENT).await? - before;
    assert!(sent >= payload, "the live one alone was sent {payload}: {sent}");
    assert!(sent < payload * 1.5, "what the slow one does not take stays in the log: {sent} of {payload} each");
    let read = metric(&server, &cert, PAGES).await?;
    between.wake();
    let then = heard(&mut slow, first.len()).await?;
    println!(
        "lost, duplicates and reordered of {}: none; {sent:.0} bytes sent while one of two stood still",
        then.len()
    );
    assert_eq!(then, first);
    assert!(then.windows(2).all(|two| two[1] == two[0] + 1), "{then:?}");
    assert!(metric(&server, &cert, PAGES).await? > read, "it caught up from the log");
    assert_eq!(metric(&server, &cert, "rushes_watchers_stalled_total").await?, 0.0, "it was never sent away");
    Ok(())
}

/// A worker that reads nothing any more, as one that is stopped: its kernel acknowledges, and has no room. Whoever drops what
/// this answers cuts its connection.
async fn stuck_worker(server: &Server, cert: &Path) -> Result<(Between, Socket)> {
    /// Refused one by one, with answers that are together more than everything on the way holds.
    const SAID: usize = 4_000;
    const SENT: &str = "rushes_bytes_sent_total{transport=\"worker\"}";
    let between = Between::before(server.address(), Habit::None).await?;
    let url = between.url.replacen("http", "https", 1);
    let mut worker = Socket::open_trusting(&url, "/v1/worker", Some(&token("w1", Role::Worker)), cert).await?;
    worker.say(&json!({"type": "hello", "worker": "w1", "instance": "1", "pools": {"gpu": 1}})).await?;
    worker.until("welcome").await?;
    between.sleep();
    let said: Vec<Value> =
        (0..SAID).map(|n| json!({"type": "done", "lease": "nobody", "eventId": format!("{n:0>64}")})).collect();
    // Heard until the server can say nothing more: then nobody takes the rest.
    let _ = timeout(Duration::from_secs(10), worker.say_all(&said)).await;
    let mut sent = 0.0;
    let full = timeout(PATIENCE, async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let before = std::mem::replace(&mut sent, metric(server, cert, SENT).await?);
            if before == sent {
                return anyhow::Ok(());
            }
        }
    });
    full.await.context("it takes all that is said to it")??;
    println!("{sent} bytes said to a worker that reads nothing");
    Ok((between, worker))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_behind_tls_that_reads_nothing_keeps_no_server_from_stopping() -> Result<()> {
    let certificate = Certificate::new()?;
    let mut server = Server::start_encrypted(&certificate, &[("RUSHES_DRAIN", "1s")])?;
    let _stuck = stuck_worker(&server, &certificate.cert()).await?;
    let began = Instant::now();
    let ended = timeout(PATIENCE / 3, server.terminate()).await.context("it does not stop")??;
    assert_eq!(ended.code(), Some(0));
    // A second of drain, three for those that are dropped, and a loaded machine. Its write alone may take ten.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_behind_tls_that_reads_nothing_is_given_up() -> Result<()> {
    const CONNECTIONS: &str = "rushes_connections{transport=\"worker\"}";
    let certificate = Certificate::new()?;
    let (server, cert) = (Server::start_encrypted(&certificate, &[])?, certificate.cert());
    let _stuck = stuck_worker(&server, &cert).await?;
    let gone = timeout(PATIENCE / 3, async {
        while metric(&server, &cert, CONNECTIONS).await? > 0.0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    });
    gone.await.context("the server keeps the connection")?
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_for_those_who_know() -> Result<()> {
    let server = Server::start()?;
    let live = format!("{}/livez", server.url);
    let certificate = Certificate::new()?;
    assert_eq!(version(&certificate.cert(), &live, "--http2-prior-knowledge").await?, "2 200");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_do_keeps_the_server_from_starting_and_is_named() -> Result<()> {
    let certificate = Certificate::new()?;
    let other = Certificate::new()?;
    let (cert, key) = (certificate.cert(), certificate.key());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    type Case<'a> = (&'a [(&'a str, String)], [&'a str; 2]);
    let cases: [Case<'_>; 4] = [
        (&[("RUSHES_TLS_CERT", text(&cert))], ["tls.key", "tls.cert"]),
        (
            &[("RUSHES_TLS_CERT", "/nowhere.pem".to_owned()), ("RUSHES_TLS_KEY", text(&key))],
            ["/nowhere.pem", "No such file"],
        ),
        (&[("RUSHES_TLS_CERT", text(&cert)), ("RUSHES_TLS_KEY", text(&cert))], ["tls.key", "no private key"]),
        (&[("RUSHES_TLS_CERT", text(&cert)), ("RUSHES_TLS_KEY", text(&other.key()))], ["not the key", "cert.pem"]),
    ];
    for (environment, names) in cases {
        let data = tempfile::TempDir::new()?;
        let mut environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.push(("JWT_SECRET", rushes_tests::program::SECRET));
        let data = data.path().to_string_lossy().into_owned();
        let ended = run(&["serve", "--listen", "127.0.0.1:0", "--data", &data], &environment).await?;
        assert_ne!(ended.code, 0, "{}", ended.said);
        assert!(names.iter().all(|name| ended.said.contains(name)), "{names:?}: {}", ended.said);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_with_a_certificate_says_https_and_has_its_worker() -> Result<()> {
    let certificate = Certificate::new()?;
    let folder = tempfile::TempDir::new()?;
    let mut demo = Command::new(program())
        .args(["demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .envs(certificate.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(demo.stdout.take().context("stdout")?).lines();
    let mut banner = String::new();
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.context("the banner has no end")?? {
        banner.push_str(&format!("{line}\n"));
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    let address = banner.lines().find_map(|line| line.trim().strip_prefix("address")).context("an address")?.trim();
    assert!(address.starts_with("https://127.0.0.1:") && banner.contains("1 ready"), "{banner}");
    let health = curl(&certificate.cert(), &[&format!("{address}/health")]).await?;
    assert!(health.said.contains("healthy"), "{}", health.said);
    Ok(())
}

/// What the client's small receive buffer and the segments under way hold, and what rustls has encrypted and not yet written.
#[cfg(target_os = "linux")]
const ON_THE_WAY_BYTES_MAX: usize = 192 * 1024;

/// As it is without TLS: see the gateway's `an_event_waits_for_at_most_one_frame_however_slow_the_reader`.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_for_at_most_one_frame_over_tls_too() -> Result<()> {
    /// As many as the server keeps for whoever wants every frame.
    const FRAMES: u32 = 10;
    const FRAME_BYTES: usize = 200 * 1024;
    let certificate = Certificate::new()?;
    let server = Server::start_encrypted(&certificate, &[])?;
    server.submit("ada").await?;
    let mut worker = Puppet::connect(&server, "w1").await?;
    let lease = worker.take().await?;
    let wish = json!({"maxFps": 60, "maxWidth": 854, "delivery": "all"});
    let subscribe = json!({"type": "subscribe", "generationId": lease.generation, "frames": wish});
    let mut slow =
        Socket::open_narrow(&server.url, "/v1/live", None, &certificate.cert()).await?.authenticated("ada").await?;
    let mut quick = server.live("ada").await?;
    for socket in [&mut slow, &mut quick] {
        socket.say(&subscribe).await?;
        socket.until("subscribed").await?;
    }
    for index in 0..FRAMES {
        let mut frame = Frame::sample(lease.fence, index);
        frame.picture.resize(FRAME_BYTES, 7);
        worker.socket.say_bytes(&frame.of_worker(lease.handle)).await?;
    }
    // Once the quick one has them all, the slow one's socket had every chance to take too many.
    for index in 0..FRAMES {
        let Heard::Frame(bytes) = quick.hear().await? else { anyhow::bail!("no frame {index}") };
        assert_eq!(Frame::read(&bytes)?.index, index);
    }
    let said = json!({"type": "event", "event": "log", "message": "behind them", "lease": lease.id, "eventId": "log"});
    assert_eq!(worker.durable(&said).await?["type"], "ack");
    let (mut frames, mut taken) = (0, 0);
    while let Heard::Frame(bytes) = slow.hear().await? {
        (frames, taken) = (frames + 1, taken + bytes.len());
    }
    assert!(taken <= FRAME_BYTES + ON_THE_WAY_BYTES_MAX, "{taken} bytes came before the event");
    while frames < FRAMES {
        assert!(matches!(slow.hear().await?, Heard::Frame(_)), "frames and nothing else");
        frames += 1;
    }
    Ok(())
}
