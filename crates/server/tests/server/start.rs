//! Starting, and what an operator reads when it does not work; stopping, and starting again.

use std::sync::Arc;

use reqwest::Method;
use rushes_server::Mode;

use crate::bed::{Answer, Bed, config, http, start};

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let first = Bed::start().await;
    let other = tempfile::tempdir().unwrap();
    let address = first.server.address();
    let config = config(other.path(), Mode::Serve, &[("listen", &address.to_string())]);
    let error = start(config, Mode::Serve).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{address} is in use: stop what listens on port {}, or choose another with `--listen`", address.port())
    );
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_and_the_server_that_has_it_goes_on() {
    let first = Bed::start().await;
    let error = start(config(first.folder.path(), Mode::Serve, &[]), Mode::Serve).await.unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");
    assert_eq!(first.get("/readyz", "").await.status, 200);
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let error = start(config(folder.path(), Mode::Serve, &[]), Mode::Serve).await.unwrap_err().to_string();
    assert_eq!(error, format!("data folder {}", folder.path().join("data").display()));
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let first = Bed::start().await;
    let (token, folder) = (first.user("ada"), Arc::clone(&first.folder));
    let id = first.submit(&token).await;
    first.server.stop().await;
    let second = Bed::in_folder(folder, Mode::Serve, &[]).await;
    let answer = second.get(&format!("/v1/generations/{id}"), &token).await;
    assert_eq!(answer.json()["state"], "queued", "{}", answer.text());
}

#[tokio::test]
async fn a_stopping_server_takes_no_connection() {
    let bed = Bed::start().await;
    assert_eq!(bed.get("/livez", "").await.text(), "ok\n");
    let url = bed.url("/livez");
    bed.server.stop().await;
    assert!(http().get(url).send().await.is_err());
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams_and_does_not_wait_for_idle_connections() {
    let bed = Bed::with(&[("drain", "1h")]).await;
    let ada = bed.user("ada");
    let id = bed.submit(&ada).await;
    let _idle = tokio::net::TcpStream::connect(bed.server.address()).await.unwrap();
    let request = bed.request(Method::GET, &format!("/v1/generations/{id}/events"), &ada);
    let mut stream = request.header("accept", "text/event-stream").send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some(), "the stream has begun");
    bed.server.stop().await;
    while let Ok(Some(_)) = stream.chunk().await {}
}

/// A descriptor is not given away for nothing: neither to a peer that says nothing, nor to one that trickles.
#[tokio::test]
async fn a_connection_that_does_not_finish_its_request_is_closed() {
    let bed = Bed::start().await;
    let (silent, undecided, trickling) =
        tokio::join!(bed.raw(""), bed.raw("PRI * HT"), bed.raw("GET / HTTP/1.1\r\nhost: x\r\n"));
    assert_eq!((silent.as_str(), undecided.as_str()), ("", ""));
    assert!(trickling.is_empty() || trickling.starts_with("HTTP/1.1 408"), "{trickling}");
}

#[tokio::test]
async fn the_demo_signs_in_by_itself_for_this_machine_only() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let bed = Bed::in_folder(Arc::clone(&folder), Mode::Demo, &[]).await;
    let id = bed.submit("").await;
    assert_eq!(bed.get(&format!("/v1/generations/{id}"), "").await.status, 200);
    assert_eq!(bed.get("/v1/workers", "").await.status, 200);
    let rebound = bed.request(Method::GET, "/v1/generations", "").header("host", "evil.example");
    assert_eq!(Answer::of(rebound.send().await.unwrap()).await.refusal(), (403, "origin_refused".to_owned()));
    let foreign = bed.request(Method::GET, "/v1/generations", "").header("origin", "https://evil.example");
    assert_eq!(Answer::of(foreign.send().await.unwrap()).await.refusal(), (403, "origin_refused".to_owned()));
    let secret = std::fs::read(folder.path().join("data/secret")).unwrap();
    bed.server.stop().await;
    let again = Bed::in_folder(Arc::clone(&folder), Mode::Demo, &[]).await;
    assert_eq!(std::fs::read(folder.path().join("data/secret")).unwrap(), secret, "links of yesterday still open");
    assert_eq!(again.get(&format!("/v1/generations/{id}"), "").await.status, 200);
}
