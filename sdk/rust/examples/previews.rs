//! Submits a prompt and saves the latest preview picture to `preview.webp` until the film is done:
//! `cargo run -p rushes-sdk --example previews -- http://127.0.0.1:8080 "a lake at dawn" 854 12`; with `all` instead
//! of pictures a second, every picture of every revision comes. The token comes from `RUSHES_TOKEN`; a demo on this
//! machine needs none.

use std::collections::BTreeMap;

use rushes_sdk::{
    Client, Update,
    protocol::{
        http::Submission,
        live::{Delivery, FrameWish},
        position::After,
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let url = words.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let prompt = words.next().unwrap_or_else(|| "a lake at dawn".to_owned());
    let max_width = words.next().map_or(Ok(854), |text| text.parse())?;
    let pace = words.next().unwrap_or_else(|| "12".to_owned());
    let (delivery, max_fps) = if pace == "all" { (Delivery::All, 60) } else { (Delivery::Latest, pace.parse()?) };
    let client = Client::new(&url, std::env::var("RUSHES_TOKEN").unwrap_or_default())?;
    let wish = Submission { prompt: Some(prompt), ..Submission::default() };
    let accepted = client.submit(&wish, None).await?;
    let frames = FrameWish { max_fps, max_width, delivery };
    let mut watch = client.watch_with_frames(&accepted.generation.id, After::Start, frames);
    let mut by_revision = BTreeMap::new();
    while let Some(update) = watch.next().await {
        match update? {
            Update::Frame { header, picture } => {
                *by_revision.entry((header.revision.0, header.width, header.height)).or_insert(0_u32) += 1;
                tokio::fs::write("preview.webp", &picture).await?;
            }
            Update::Event { event, .. } => println!("{:3.0}% {}", event.progress, event.message),
            _ => {}
        }
    }
    for ((revision, width, height), count) in by_revision {
        println!("{count} pictures of revision {revision}, {width}x{height}");
    }
    Ok(())
}
