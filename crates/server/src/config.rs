//! Configuration: `rushes.toml`, then the environment, then flags, each over the one before.
//!
//! ```text
//! config/setting.rs   the one table of options: bound, doc line, since; everything below is made from it
//! config/value.rs     how a value is read from text and written back
//! config/file.rs      rushes.toml with line numbers
//! config/pipeline.rs  [[pipeline]] tables
//! config/webhook.rs   [[webhook]] tables
//! config/tenant.rs    [[tenant]] tables
//! config/folder.rs    a folder of files with pipelines, and what two definitions may not do
//! config/check.rs     what `serve` wants before it starts
//! config/page.rs      `config print` and the reference page
//! ```
//! Reading is pure: the texts come in as [`Sources`]. Which flags exist on the command line belongs to the binary,
//! which finds them in [`SETTINGS`].

mod check;
mod file;
mod folder;
mod nearest;
mod page;
mod pipeline;
mod setting;
mod tenant;
mod value;
pub(crate) mod webhook;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use access::{Secret, origin::Origins};
use protocol::{Durability, Pipeline, limits};

pub use check::{Mode, Warning};
pub use page::reference_page;
pub use setting::{SETTINGS, Setting};
pub use tenant::Tenant;
pub use value::{LogFormat, Network};
pub use webhook::Webhook;

/// Read when no other file is named and it exists.
pub const FILE_DEFAULT: &str = "rushes.toml";

/// Everything an operator can set, with its effective value.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Everything that is kept lies below this folder.
    pub data: PathBuf,
    /// Under which address clients reach the server; links are absolute below it.
    pub public_url: Option<String>,
    /// Signs and checks tokens.
    pub secret: Option<Secret>,
    /// Where the secret is read from instead.
    pub secret_file: Option<PathBuf>,
    /// Pages that may talk to the server.
    pub allowed_origins: Allowed,
    /// Proxies that speak TLS for us.
    pub trusted_proxies: Vec<Network>,
    /// Plain text on a non-loopback address is wanted.
    pub insecure: bool,
    /// How the default pipeline's events are written.
    pub durability: Durability,
    /// May workers bring pipelines?
    pub worker_pipelines: bool,
    /// The certificate of our own TLS.
    pub tls: Tls,
    /// What is logged, and how.
    pub log: Log,
    /// How long finished work is kept.
    pub retention: Retention,
    /// Bounds of what one caller may use.
    pub limits: Limits,
    /// When a worker counts as lost.
    pub lease: Lease,
    /// An external producer silent for so long has failed.
    pub external_stall: Duration,
    /// A stopping server waits so long for its connections.
    pub drain: Duration,
    /// Networks that webhooks may call although they are not public.
    pub webhooks_allow: Vec<Network>,
    /// `[[webhook]]` tables, in the order of the file.
    pub webhooks: Vec<Webhook>,
    /// When a stage's breaker opens, and for how long.
    pub breaker: Breaker,
    /// A folder of files with further `[[pipeline]]` tables.
    pub pipelines_folder: Option<PathBuf>,
    /// `[[pipeline]]` tables, in the order of the files.
    pub pipelines: Vec<Pipeline>,
    /// `[[tenant]]` tables.
    pub tenants: Vec<Tenant>,
}

/// Pages that may talk to the server, as written and as read.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// As the operator wrote them.
    pub entries: Vec<String>,
    /// As they are compared.
    pub origins: Origins,
}

/// The certificate of our own TLS: both files, or neither, which [`Config::check`] judges.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The certificate and its chain.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Both files, where TLS is wanted.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// A level, or directives such as `info,rushes_gateway=debug`.
    pub level: String,
}

/// How long finished work is kept; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events and generations.
    pub events: Option<Duration>,
    /// Artifacts.
    pub artifacts: Option<Duration>,
    /// Uploads that no unfinished generation names.
    pub uploads: Option<Duration>,
}

/// Bounds of what one caller may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unfinished generations of one owner.
    pub unfinished_per_owner: usize,
    /// Unfinished generations of one tenant.
    pub unfinished_per_tenant: usize,
    /// Runs of one owner under way at once; `None` for as many as there are slots.
    pub running_per_owner: Option<usize>,
    /// Runs of one tenant under way at once; `None` for as many as there are slots.
    pub running_per_tenant: Option<usize>,
    /// Bytes of one artifact or upload.
    pub artifact_bytes: u64,
    /// Bytes of all uploads kept for one owner; `None` for any number.
    pub upload_bytes_per_owner: Option<u64>,
    /// Connections one user is let in with at once, and as many a minute; `None` for any number.
    pub connects_per_user: Option<usize>,
}

/// When a stage's breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    /// Failures in a row; `None` for never.
    pub failures: Option<usize>,
    /// How long nothing runs before a probe may.
    pub open: Duration,
}

/// When a worker counts as lost.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// After so much silence on an open socket.
    pub silence: Duration,
    /// So long after its socket closed.
    pub after_close: Duration,
}

impl Config {
    /// What holds where nobody sets anything.
    #[must_use]
    pub fn defaults(mode: Mode) -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            data: PathBuf::from("./rushes-data"),
            public_url: None,
            secret: None,
            secret_file: None,
            allowed_origins: Allowed { entries: vec!["*".to_owned()], origins: Origins::Any },
            trusted_proxies: Vec::new(),
            insecure: false,
            durability: Durability::Strict,
            worker_pipelines: mode == Mode::Demo,
            tls: Tls::default(),
            log: Log { format: LogFormat::Pretty, level: "info".to_owned() },
            retention: Retention { events: Some(30 * DAY), artifacts: Some(7 * DAY), uploads: Some(7 * DAY) },
            limits: Limits {
                unfinished_per_owner: limits::UNFINISHED_PER_OWNER_MAX,
                unfinished_per_tenant: limits::UNFINISHED_PER_TENANT_MAX,
                running_per_owner: None,
                running_per_tenant: None,
                artifact_bytes: limits::ARTIFACT_BYTES_MAX,
                upload_bytes_per_owner: Some(limits::UPLOAD_BYTES_PER_OWNER_MAX),
                connects_per_user: Some(limits::CONNECTS_PER_MINUTE),
            },
            lease: Lease {
                silence: Duration::from_millis(limits::LEASE_SILENCE_MAX_MS),
                after_close: Duration::from_millis(limits::LEASE_AFTER_CLOSE_MS),
            },
            external_stall: Duration::from_millis(limits::EXTERNAL_STALL_MS),
            drain: Duration::from_secs(10),
            webhooks_allow: Vec::new(),
            webhooks: Vec::new(),
            breaker: Breaker {
                failures: Some(limits::BREAKER_FAILURES as usize),
                open: Duration::from_millis(limits::BREAKER_OPEN_MS),
            },
            pipelines_folder: None,
            pipelines: Vec::new(),
            tenants: Vec::new(),
        }
    }
}

/// Where values are read from, as texts.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file's path, for messages, and its text.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags as `(key, value)` with the keys of [`SETTINGS`]: `("log.level", "debug")`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Reads the file and the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`] when the file was named and cannot be read, or exists under its default name and cannot be read.
    pub fn gather(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or_else(|| Path::new(FILE_DEFAULT));
        let file = match std::fs::read_to_string(path) {
            Ok(text) => Some((path.to_owned(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => None,
            Err(error) => return Err(ConfigError::one(format!("{}: {error}", path.display()))),
        };
        // A variable that is not text cannot be one of ours.
        let environment =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Ok(Self { file, environment, flags })
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A configuration that was read, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// By key, only what somebody set.
    pub sources: BTreeMap<&'static str, Source>,
    mode: Mode,
    definitions: folder::Definitions,
}

/// Everything that is wrong with a configuration, not only the first thing. Each line says where and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Variables with our prefix that are no options: the command line's own.
const ENVIRONMENT_OF_THE_CLI: &[&str] = &["RUSHES_CONFIG", "RUSHES_TOKEN", "RUSHES_URL"];

impl Loaded {
    /// Reads all layers.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn read(sources: &Sources, mode: Mode) -> Result<Self, ConfigError> {
        let mut loaded = Self {
            config: Config::defaults(mode),
            sources: BTreeMap::new(),
            mode,
            definitions: folder::Definitions::built_in(),
        };
        let mut problems = Vec::new();
        if let Some((path, text)) = &sources.file {
            loaded.read_file(path, text, &mut problems);
        }
        loaded.read_environment(&sources.environment, &mut problems);
        for (key, value) in &sources.flags {
            match setting::find(key) {
                Some(setting) => loaded.set(setting, value, Source::Flag(setting.flag()), &mut problems),
                None => problems.push(format!("flag {key}: {}", nearest::unknown(key))),
            }
        }
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError { problems }) }
    }

    fn read_file(&mut self, path: &Path, text: &str, problems: &mut Vec<String>) {
        let contents = file::read(path, text);
        let mut found = contents.problems;
        for entry in contents.entries {
            let mut wrong = Vec::new();
            self.set(entry.setting, &entry.text, Source::File(path.to_owned(), entry.line), &mut wrong);
            found.extend(wrong.into_iter().map(|problem| (entry.line, problem)));
        }
        found.extend(self.define(path, contents.pipelines));
        self.config.tenants = contents.tenants.into_iter().map(|(_, tenant)| tenant).collect();
        found.sort_by_key(|(line, _)| *line);
        problems.extend(found.into_iter().map(|(_, problem)| problem));
        self.config.webhooks = contents.webhooks;
    }

    fn read_environment(&mut self, environment: &[(String, String)], problems: &mut Vec<String>) {
        // Names known to others come first, so that ours, which nobody sets by accident, has the last word.
        for setting in SETTINGS {
            for name in
                [setting.environment_alias.map(str::to_owned), Some(setting.environment())].into_iter().flatten()
            {
                if let Some((_, value)) = environment.iter().find(|(known, _)| *known == name) {
                    self.set(setting, value, Source::Environment(name), problems);
                }
            }
        }
        for (name, _) in environment {
            let ours = SETTINGS.iter().any(|setting| setting.environment() == *name);
            if name.starts_with("RUSHES_") && !ours && !is_of_others(name) {
                let key = name["RUSHES_".len()..].to_ascii_lowercase();
                problems.push(format!("environment {name}: {}", nearest::unknown(&key)));
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, text: &str, source: Source, problems: &mut Vec<String>) {
        match (setting.read)(&mut self.config, text) {
            Ok(()) => {
                self.sources.insert(setting.key, source);
            }
            Err(rule) => {
                let shown = if setting.secret { "(hidden)" } else { text };
                problems.push(format!("{source}: {} = {shown:?}: {rule}", setting.key));
            }
        }
    }
}

/// Kubernetes describes a service called `rushes` to its neighbours in variables with our prefix.
fn is_of_others(name: &str) -> bool {
    ENVIRONMENT_OF_THE_CLI.contains(&name) || name.starts_with("RUSHES_SERVICE_") || name.starts_with("RUSHES_PORT")
}

#[cfg(test)]
mod tests;
