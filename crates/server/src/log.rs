//! Log output: lines for people or JSON for programs, to standard error, so that standard output stays for answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Reads `log.level`.
///
/// # Errors
/// A sentence that says what to write.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    let rule = "write error, warn, info, debug or trace, or directives such as info,rushes_gateway=debug";
    // The parser takes a lone unknown word as the name of a crate, which is how `verbose` would silence everything.
    let is_level = |word: &str| matches!(word, "error" | "warn" | "info" | "debug" | "trace" | "off");
    if !text.contains(['=', ',', '[']) && !is_level(text) {
        return Err(rule.to_owned());
    }
    EnvFilter::builder().parse(text).map_err(|_| rule.to_owned())
}

/// Starts logging for the whole process. Does nothing when something else did before, as in tests.
pub fn start(log: &Log) {
    let Ok(filter) = filter(&log.level) else { return };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_directives_are_taken_and_a_typo_is_not() {
        for good in ["info", "off", "info,rushes_gateway=debug", "rushes_server=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "rushes=loud"] {
            assert!(filter(bad).is_err(), "{bad} was taken");
        }
    }
}
