//! What a server wants of its configuration before it starts.

use std::fmt;

use access::Secret;

use super::{Config, ConfigError};

/// How the server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For others: a secret is required, every request carries a token.
    Serve,
    /// For oneself, on loopback: signs in by itself, makes its own secret.
    Demo,
}

/// Something worth changing that does not keep the server from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    /// The secret, from wherever it is set. `None` when it is set nowhere, which [`Config::check`] judges.
    ///
    /// # Errors
    /// [`ConfigError`] when it is set twice, or its file cannot be read or is empty.
    pub fn read_secret(&self) -> Result<Option<Secret>, ConfigError> {
        match (&self.secret, &self.secret_file) {
            (Some(_), Some(file)) => {
                Err(ConfigError::one(format!("both `secret` and `secret_file` ({}) are set: keep one", file.display())))
            }
            (Some(secret), None) => Ok(Some(secret.clone())),
            (None, None) => Ok(None),
            (None, Some(file)) => {
                let bytes = std::fs::read(file)
                    .map_err(|error| ConfigError::one(format!("secret_file {}: {error}", file.display())))?;
                let secret = Secret::new(bytes.trim_ascii_end())
                    .map_err(|_| ConfigError::one(format!("secret_file {} is empty", file.display())))?;
                Ok(Some(secret))
            }
        }
    }

    /// May a server start with this?
    ///
    /// # Errors
    /// [`ConfigError`] with everything that keeps it from starting, each with what to do.
    pub fn check(&self, mode: Mode) -> Result<Vec<Warning>, ConfigError> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        match (self.read_secret(), mode) {
            (Err(error), _) => problems.extend(error.problems),
            (Ok(None), Mode::Serve) => problems.push(
                "no secret: tokens could not be checked. Make one with `openssl rand -hex 32` and give it as JWT_SECRET, \
                 or in a file as `secret_file`"
                    .to_owned(),
            ),
            (Ok(Some(secret)), _) if secret.is_weak() => warnings.push(Warning(
                "the secret is shorter than 32 bytes and can be guessed from one token; `openssl rand -hex 32` makes a good one"
                    .to_owned(),
            )),
            (Ok(_), _) => {}
        }
        let unreadable = self.webhooks.iter().filter_map(|webhook| webhook.read_keys().err());
        problems.extend(unreadable.flat_map(|error| error.problems));
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => {
                problems.push("`tls.cert` without `tls.key`: name the file of its private key".to_owned())
            }
            (None, Some(_)) => {
                problems.push("`tls.key` without `tls.cert`: name the file of the certificate".to_owned())
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.check_listen(mode, &mut problems, &mut warnings);
        if problems.is_empty() { Ok(warnings) } else { Err(ConfigError { problems }) }
    }

    fn check_listen(&self, mode: Mode, problems: &mut Vec<String>, warnings: &mut Vec<Warning>) {
        let listen = self.listen;
        if listen.ip().to_canonical().is_loopback() {
            return;
        }
        if mode == Mode::Demo {
            problems.push(format!(
                "the demo signs in whoever asks, and {listen} can be reached by others: listen on 127.0.0.1, or use `rushes serve`"
            ));
        } else if self.tls.files().is_some() {
            // Nobody on the way reads along.
        } else if self.insecure {
            warnings.push(Warning(format!("plain text on {listen}: tokens and films can be read on the way")));
        } else if self.trusted_proxies.is_empty() {
            problems.push(format!(
                "plain text on {listen} can be read on the way: give a certificate as `tls.cert` and `tls.key`, \
                 put a TLS proxy in front and name it in `trusted_proxies`, listen on 127.0.0.1, or accept it with `--insecure`"
            ));
        }
    }
}
