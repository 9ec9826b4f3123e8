//! `rushes watch`: one generation to its end. `generate` ends the same way.

use std::path::{Path, PathBuf};

use clap::Args;
use protocol::{Event, GenerationId, State, position::After};
use sdk::{Client, Update};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::narrow_runtime;
use crate::{
    fault::{Fault, Kind},
    reach::Reach,
    screen::Screen,
    signals::Signals,
    text,
};

/// On a terminal a progress bar; in a pipe one line an event: time, sequence, state, stage, per cent, message.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Which generation
    id: GenerationId,
    /// Begin after this: `start`, `now`, or a position such as `k3f9:12`
    #[arg(long, value_name = "POSITION", default_value = "start")]
    after: After,
    /// Save the film here when it is done
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Watch {
    pub(crate) fn run(self) -> Result<(), Fault> {
        check_output(self.output.as_deref())?;
        let client = self.reach.client()?;
        narrow_runtime()?.block_on(async {
            let signals = Signals::listen()?;
            // Says at once when the server is away or the id unknown; the watch itself would wait.
            client.get(&self.id).await?;
            let end = follow(&client, &self.id, self.after, signals.stop()).await?;
            finish(&client, &end, self.output.as_deref()).await
        })
    }
}

/// Found out before the film is made, not after.
pub(super) fn check_output(output: Option<&Path>) -> Result<(), Fault> {
    let Some(output) = output else { return Ok(()) };
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) || output.is_dir() {
        return Err(
            Fault::usage(format!("cannot write {}", output.display())).hint("name a file in a folder that exists")
        );
    }
    Ok(())
}

/// Shows what happens until the generation ends, and gives its last event.
pub(super) async fn follow(
    client: &Client,
    id: &GenerationId,
    after: After,
    stop: &CancellationToken,
) -> Result<Event, Fault> {
    let screen = Screen::open();
    let mut watch = client.watch(id, after);
    let mut last = None;
    let mut away = false;
    loop {
        let update = tokio::select! {
            biased;
            () = stop.cancelled() => {
                screen.close();
                return Err(Fault::new(Kind::Interrupted, "stopped watching; the generation goes on")
                    .hint(format!("`rushes watch {id}` looks again")));
            }
            update = watch.next() => update,
        };
        match update {
            None => break,
            Some(Err(error)) => {
                screen.close();
                return Err(error.into());
            }
            Some(Ok(Update::Event { event, snapshot, .. })) => {
                if snapshot {
                    screen.note("earlier events are gone from the server; this is where it stands");
                }
                screen.event(&event);
                last = Some(*event);
            }
            Some(Ok(Update::Hint(hint))) => screen.hint(&hint.status),
            // Said once, however many tries it takes.
            Some(Ok(Update::Reconnecting { why, .. })) if !std::mem::replace(&mut away, true) => {
                screen.note(&format!("connection lost ({why}); reconnecting"));
            }
            Some(Ok(Update::Live)) if std::mem::take(&mut away) => screen.note("connected again; nothing was missed"),
            Some(Ok(Update::Live | Update::Reconnecting { .. } | Update::Frame { .. })) => {}
        }
    }
    screen.close();
    match last {
        Some(last) => Ok(last),
        // It had ended before the position that was asked for.
        None => Ok(client.get(id).await?.status),
    }
}

/// Fetches the film, or says why there is none.
pub(super) async fn finish(client: &Client, end: &Event, output: Option<&Path>) -> Result<(), Fault> {
    let text = |key: &str| end.metadata.get(key).and_then(Value::as_str);
    if end.state != State::Complete {
        let message = text("errorMessage").unwrap_or(&end.message);
        let fault = Fault::failed(format!("{} {}: {message}", end.generation_id, end.state.as_str()));
        return Err(match text("errorHint") {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }
    match (text("videoUrl"), output) {
        (Some(url), Some(output)) => {
            let bytes = download(client, end, url, output).await?;
            eprintln!("{} ({})", output.display(), text::size(bytes));
        }
        (Some(url), None) => eprintln!("film: {}", text::plain(url)),
        (None, Some(_)) => return Err(Fault::failed(format!("{} left no film", end.generation_id))),
        (None, None) => {}
    }
    Ok(())
}

/// Checks the hash where the server names one for the film.
async fn download(client: &Client, end: &Event, url: &str, output: &Path) -> Result<u64, Fault> {
    let snapshot = client.get(&end.generation_id).await?;
    let path = url.split('?').next().unwrap_or(url);
    let known = snapshot.artifacts.iter().find(|artifact| path.ends_with(&format!("/{}", artifact.name)));
    Ok(match known {
        Some(artifact) => client.download_artifact(artifact, output).await?,
        None => client.download(url, output).await?,
    })
}
