//! The program's own client and worker reach a server behind TLS, and trust only whom they are told to trust.

use access::Role;
use anyhow::Result;
use rushes_tests::{
    Server, Worker,
    encrypted::Encrypted,
    program::{run, token},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_made_over_https_and_wss() -> Result<()> {
    let server = Server::start()?;
    let front = Encrypted::before(&server).await?;
    let authority = front.authority.to_str().expect("a temporary folder's name is text");
    let _worker = Worker::start_at(&front.url, "w1", &[("SSL_CERT_FILE", authority)])?;
    let film = server.data().join("film.mp4");
    let ada = token("ada", Role::User);
    let film = film.to_str().expect("a temporary folder's name is text");
    let arguments = ["generate", "a calm sea", "--server", &front.url, "--token", &ada, "--seconds", "0.5", "-o", film];
    let ended = run(&arguments, &[("SSL_CERT_FILE", authority)]).await?;
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(std::fs::metadata(film)?.len() > 1_000, "{}", ended.said);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_nobody_vouches_for_is_not_talked_to() -> Result<()> {
    let server = Server::start()?;
    let front = Encrypted::before(&server).await?;
    let ada = token("ada", Role::User);
    let ended = run(&["generate", "a calm sea", "--server", &front.url, "--token", &ada], &[]).await?;
    assert_ne!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("certificate"), "it does not say why: {}", ended.said);
    Ok(())
}
