//! The film in the codec that was asked for, made by an installed ffmpeg on the worker.

use anyhow::{Context, Result};
use rushes_tests::{Server, Watcher, Worker};
use serde_json::{Value, json};

fn film(encoder: &str) -> Value {
    json!({"prompt": "a calm sea",
        "params": {"width": 128, "height": 96, "fps": 12, "seconds": 0.5, "seed": 3, "encoder": encoder}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_chooses_its_encoder() -> Result<()> {
    let server = Server::start()?;
    let _worker = Worker::start(&server, "w1")?;
    for (encoder, codec) in [("openh264", "h264"), ("x264", "h264"), ("svt-av1", "av1")] {
        let id = server.submit_this("ada", &film(encoder)).await?;
        let events = Watcher::Socket.watch(server.url.clone(), "ada", &id).await?;
        let last = events.last().context("an event")?;
        assert_eq!(last["type"], "complete", "{encoder}: {last:#}");
        let link = last["metadata"]["videoUrl"].as_str().context("a film")?;
        let link = if link.starts_with('/') { format!("{}{link}", server.url) } else { link.to_owned() };
        let bytes = rushes_tests::client().get(&link).send().await?.error_for_status()?.bytes().await?;
        let path = server.data().join(format!("{encoder}.mp4"));
        std::fs::write(&path, &bytes)?;
        let probe = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries", "stream=codec_name", "-of", "csv=p=0"])
            .arg(&path)
            .output()?;
        assert_eq!(String::from_utf8_lossy(&probe.stdout).trim(), codec, "{encoder}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_nobody_knows_is_refused_before_anything_is_drawn() -> Result<()> {
    let server = Server::start()?;
    let (status, answer) = server.request("POST", "/v1/generations", "ada", Some(&film("divx"))).await?;
    assert_eq!(status, 422, "{answer}");
    assert!(answer.to_string().contains("openh264"), "it does not name what is known: {answer}");
    Ok(())
}
