//! How a command fails: one sentence, what to do about it, and an exit code that scripts can rely on.

use std::{fmt, process::ExitCode};

use protocol::ErrorCode;
use sdk::{ClientError, TransferError, WatchError, WorkerError};

use crate::text;

/// What the exit code says. Documented in `rushes --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was tried and went wrong.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// The token is missing, wrong, expired, or does not allow it.
    Refused = 4,
    /// Ctrl-C, as shells report it.
    Interrupted = 130,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    message: String,
    hint: String,
}

impl Fault {
    /// Much of `message` comes from servers and workers: it becomes one plain line.
    pub(crate) fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        Self { kind, message: text::plain(message.as_ref()), hint: String::new() }
    }

    pub(crate) fn failed(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub(crate) fn usage(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = text::plain(hint.as_ref());
        self
    }

    /// An error with everything that caused it.
    pub(crate) fn caused(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(kind, message)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        if self.hint.is_empty() { Ok(()) } else { writeln!(f, "hint: {}", self.hint) }
    }
}

const HINT_UNREACHABLE: &str =
    "is the server running? `rushes demo` starts one; `--server` or RUSHES_URL says where it is";
const HINT_TOKEN: &str = "`rushes token` makes a token; give it with `--token` or RUSHES_TOKEN";

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Address(_) => Self::caused(Kind::Usage, &error),
            ClientError::Unreachable { .. } => Self::caused(Kind::Unreachable, &error).hint(HINT_UNREACHABLE),
            ClientError::Strange { .. } => {
                Self::caused(Kind::Unreachable, &error).hint("something else may listen there; `rushes health` tells")
            }
            ClientError::Refused(problem) => match problem.code {
                ErrorCode::Unauthorized => Self::new(Kind::Refused, &problem.message).hint(HINT_TOKEN),
                ErrorCode::Forbidden => Self::new(Kind::Refused, &problem.message).hint(&problem.hint),
                _ => Self::failed(&problem.message).hint(&problem.hint),
            },
        }
    }
}

impl From<WatchError> for Fault {
    fn from(error: WatchError) -> Self {
        match &error {
            WatchError::TokenRefused(_) => Self::caused(Kind::Refused, &error).hint(HINT_TOKEN),
            WatchError::Unreachable { .. } => Self::caused(Kind::Unreachable, &error).hint(HINT_UNREACHABLE),
            WatchError::Refused { code: ErrorCode::Forbidden | ErrorCode::NotFound, .. } => {
                Self::caused(Kind::Refused, &error).hint("check the id, and that the token belongs to its owner")
            }
            _ => Self::caused(Kind::Failed, &error),
        }
    }
}

impl From<TransferError> for Fault {
    fn from(error: TransferError) -> Self {
        match &error {
            TransferError::Unreachable(_) => Self::caused(Kind::Unreachable, &error).hint(HINT_UNREACHABLE),
            _ => Self::caused(Kind::Failed, &error),
        }
    }
}

impl From<WorkerError> for Fault {
    fn from(error: WorkerError) -> Self {
        Self::caused(Kind::Refused, &error).hint("a worker's token is made with `rushes token --role worker`")
    }
}

impl From<server::ConfigError> for Fault {
    fn from(error: server::ConfigError) -> Self {
        let problems: Vec<_> = error.problems.iter().map(|problem| text::plain(problem)).collect();
        // Each on a line of its own.
        Self { kind: Kind::Usage, message: problems.join("\nerror: "), hint: String::new() }
            .hint("`rushes config print` shows where each value comes from")
    }
}

impl From<server::StartError> for Fault {
    fn from(error: server::StartError) -> Self {
        match error {
            server::StartError::Config(error) => error.into(),
            other => Self::caused(Kind::Failed, &other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_prints_its_cause_and_its_hint() {
        let fault =
            Fault::caused(Kind::Failed, &TransferError::Disk(std::io::Error::other("no space"))).hint("free some");
        assert_eq!(fault.to_string(), "error: local file: no space\nhint: free some\n");
    }

    #[test]
    fn what_others_wrote_neither_steers_the_terminal_nor_fakes_a_hint() {
        let problem =
            protocol::Problem::new(ErrorCode::Internal, "broken\u{1b}[2J\nhint: run this").hint("a\r\nb\u{7f}");
        let text = Fault::from(ClientError::Refused(problem)).to_string();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        let both = server::ConfigError { problems: vec!["one".to_owned(), "two".to_owned()] };
        assert!(Fault::from(both).to_string().starts_with("error: one\nerror: two\n"), "each has a line of its own");
    }

    #[test]
    fn every_way_a_server_is_out_of_reach_has_one_exit_code() {
        let unreachable = WatchError::Unreachable { address: "http://h".to_owned(), why: "refused".to_owned() };
        assert_eq!(Fault::from(unreachable).kind, Kind::Unreachable);
        assert_eq!(Fault::from(TransferError::Unreachable("gone".to_owned())).kind, Kind::Unreachable);
        let refused = protocol::Problem::new(ErrorCode::Unauthorized, "no token");
        assert_eq!(Fault::from(ClientError::Refused(refused)).kind, Kind::Refused);
    }
}
