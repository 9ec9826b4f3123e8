//! Opening a page in the browser of whoever sits here. That it did not open is worth a line, and fails nothing.

use std::process::Stdio;

use tokio::process::Command;

/// What opens an address with the program of the person's choice.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Asks the system to open `url`; answers why it did not. Waits until the opener ends, which some do with the browser.
///
/// # Cancel safety
/// Dropped, the opener goes on by itself: a browser that was started is not ours to end.
pub(crate) async fn open(url: &str) -> Result<(), String> {
    let mut opener = Command::new(OPENER);
    // What a browser says on its pipes would stand in the middle of ours.
    opener.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match opener.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("no browser opened: {OPENER} ended with {status}")),
        Err(error) => Err(format!("no browser opened: {OPENER}: {error}")),
    }
}
