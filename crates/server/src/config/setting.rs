//! The one table of options. What is read, checked, printed and documented is made from it and from nothing else.

use std::{path::PathBuf, time::Duration};

use access::{Secret, origin::Origins};
use protocol::{Durability, limits};

use super::{
    Allowed, Config, LogFormat,
    value::{
        boolean, bytes_within, duration_within, list, listen, network, number_within, quoted, quoted_list, shown,
        shown_bytes,
    },
};

/// One option.
pub struct Setting {
    /// As in the file, with its section: `log.level`.
    pub key: &'static str,
    /// What it takes, with its bound.
    pub takes: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// First version that has it.
    pub since: &'static str,
    /// A variable that others set already.
    pub environment_alias: Option<&'static str>,
    /// Never shown.
    pub secret: bool,
    pub(super) read: fn(&mut Config, &str) -> Result<(), String>,
    /// As TOML; `None` where nothing is set.
    pub(super) show: fn(&Config) -> Option<String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Setting {
    /// Its variable: `log.level` is `RUSHES_LOG_LEVEL`.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("RUSHES_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Its flag: `log.level` is `--log-level`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace(['.', '_'], "-"))
    }
}

/// The option with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MIB: u64 = 1024 * 1024;
/// A pebibyte: more than any disk of one machine, and `off` says that.
const UPLOAD_BYTES_MAX: u64 = 1 << 50;
/// Ten years: longer means for ever, and `off` says that.
const RETENTION_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// Every option; those outside a section first, as TOML wants them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        takes: "an address and a port; port 0 takes a free one",
        doc: "Where to listen. `WS_PORT` changes the port alone.",
        since: "0.1.0",
        environment_alias: Some("WS_PORT"),
        secret: false,
        read: |config, text| {
            // A bare number comes from `WS_PORT`, or from somebody who means the same.
            match text.parse::<u16>() {
                Ok(port) => config.listen.set_port(port),
                Err(_) => config.listen = listen(text)?,
            }
            Ok(())
        },
        show: |config| Some(quoted(&config.listen.to_string())),
    },
    Setting {
        key: "data",
        takes: "a folder; made when it is missing",
        doc: "Everything that is kept lies below: the database, artifacts, uploads.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.data = path(text)?;
            Ok(())
        },
        show: |config| Some(quoted(&config.data.to_string_lossy())),
    },
    Setting {
        key: "public_url",
        takes: "an http or https address without query",
        doc: "Under which address clients reach the server. Links to films are absolute below it; without it they are paths.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.public_url = Some(public_url(text)?);
            Ok(())
        },
        show: |config| config.public_url.as_deref().map(quoted),
    },
    Setting {
        key: "secret",
        takes: "text, 32 bytes or more",
        doc: "Signs and checks every token. The same on all nodes. Anybody who knows it can act as any user. Prefer `secret_file`.",
        since: "0.1.0",
        environment_alias: Some("JWT_SECRET"),
        secret: true,
        read: |config, text| {
            config.secret = Some(Secret::new(text).map_err(|_| "the secret is empty".to_owned())?);
            Ok(())
        },
        show: |config| config.secret.as_ref().map(|_| quoted("(hidden)")),
    },
    Setting {
        key: "secret_file",
        takes: "a file; white space at its end does not count",
        doc: "Where the secret is read from instead, as container platforms mount it.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.secret_file = Some(path(text)?);
            Ok(())
        },
        show: |config| config.secret_file.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Setting {
        key: "allowed_origins",
        takes: "a list of origins such as https://app.example, or * alone",
        doc: "Which web pages may talk to the server. Any, while every request carries a token; the server's own pages always may.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            let entries: Vec<String> = list(text).map(str::to_owned).collect();
            let origins = Origins::parse(&entries).map_err(|error| error.to_string())?;
            config.allowed_origins = Allowed { entries, origins };
            Ok(())
        },
        show: |config| Some(quoted_list(&config.allowed_origins.entries)),
    },
    Setting {
        key: "trusted_proxies",
        takes: "a list of addresses or networks",
        doc: "Proxies in front that speak TLS. With one, plain text between it and the server is fine, and the client's address is what they say it is (`X-Forwarded-For` or `Forwarded`), which nobody else is believed.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.trusted_proxies = list(text).map(network).collect::<Result<_, _>>()?;
            Ok(())
        },
        show: |config| Some(quoted_list(&config.trusted_proxies)),
    },
    Setting {
        key: "insecure",
        takes: "true or false",
        doc: "Serves plain text on an address that others can reach. Tokens and films can be read on the way.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.insecure = boolean(text)?;
            Ok(())
        },
        show: |config| Some(config.insecure.to_string()),
    },
    Setting {
        key: "durability",
        takes: "strict, relaxed or relay",
        doc: "What events of the pipeline `video` wait for: `strict` the disk, before anybody sees them; `relaxed` the commit, so that a power cut may take back the last moments; `relay` is strict at stage edges and does not store progress between them.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.durability = durability(text)?;
            Ok(())
        },
        show: |config| Some(quoted(durability_word(config.durability))),
    },
    Setting {
        key: "pipelines",
        takes: "a folder",
        doc: "Its files `*.toml` hold further `[[pipeline]]` tables, and nothing else.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.pipelines_folder = Some(path(text)?);
            Ok(())
        },
        show: |config| config.pipelines_folder.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Setting {
        key: "worker_pipelines",
        takes: "true or false",
        doc: "May workers register pipelines of their own? `demo` allows it.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.worker_pipelines = boolean(text)?;
            Ok(())
        },
        show: |config| Some(config.worker_pipelines.to_string()),
    },
    Setting {
        key: "external_stall",
        takes: "from 1s to 7d",
        doc: "A generation of pipeline `external` fails when its producer is silent for this time.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.external_stall = duration_within(text, SECOND, 7 * DAY)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown(config.external_stall))),
    },
    Setting {
        key: "drain",
        takes: "from 0s to 1h",
        doc: "How long a stopping server waits, half of it at most for workers to finish what they run, before it closes \
              connections. What a worker still runs then goes on after the start.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.drain = duration_within(text, Duration::ZERO, HOUR)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown(config.drain))),
    },
    Setting {
        key: "tls.cert",
        takes: "a file with a certificate and its chain, as PEM",
        doc: "Speaks TLS with this certificate: HTTPS, HTTP/2 and WebSocket over TLS on the one address. Read again when it changes, and on SIGHUP.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.tls.cert = Some(path(text)?);
            Ok(())
        },
        show: |config| config.tls.cert.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Setting {
        key: "tls.key",
        takes: "a file with the private key of the certificate, as PEM without a passphrase",
        doc: "The key of `tls.cert`; both or neither.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.tls.key = Some(path(text)?);
            Ok(())
        },
        show: |config| config.tls.key.as_ref().map(|path| quoted(&path.to_string_lossy())),
    },
    Setting {
        key: "log.format",
        takes: "pretty or json",
        doc: "Lines for a terminal, or one JSON object a line for programs.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.log.format = match text {
                "pretty" => LogFormat::Pretty,
                "json" => LogFormat::Json,
                _ => return Err("write pretty or json".to_owned()),
            };
            Ok(())
        },
        show: |config| {
            Some(quoted(match config.log.format {
                LogFormat::Pretty => "pretty",
                LogFormat::Json => "json",
            }))
        },
    },
    Setting {
        key: "log.level",
        takes: "error, warn, info, debug or trace, or directives such as info,rushes_gateway=debug",
        doc: "What is logged. Prompts, tokens and pictures never are.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            crate::log::filter(text)?;
            text.clone_into(&mut config.log.level);
            Ok(())
        },
        show: |config| Some(quoted(&config.log.level)),
    },
    Setting {
        key: "retention.events",
        takes: "from 1m to 3650d, or off",
        doc: "Finished generations and their events are removed after this time.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.retention.events = retention(text)?;
            Ok(())
        },
        show: |config| Some(quoted(&retention_word(config.retention.events))),
    },
    Setting {
        key: "retention.artifacts",
        takes: "from 1m to 3650d, or off",
        doc: "Films and other files of finished generations are removed after this time; their events stay.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.retention.artifacts = retention(text)?;
            Ok(())
        },
        show: |config| Some(quoted(&retention_word(config.retention.artifacts))),
    },
    Setting {
        key: "retention.uploads",
        takes: "from 1m to 3650d, or off",
        doc: "Uploaded input files are removed after this time, unless an unfinished generation names them.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.retention.uploads = retention(text)?;
            Ok(())
        },
        show: |config| Some(quoted(&retention_word(config.retention.uploads))),
    },
    Setting {
        key: "limits.unfinished_per_owner",
        takes: "from 1 to 1000000",
        doc: "Unfinished generations of one owner; one more answers 429 `queue_full`.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.unfinished_per_owner = number_within(text, 1, 1_000_000)?;
            Ok(())
        },
        show: |config| Some(config.limits.unfinished_per_owner.to_string()),
    },
    Setting {
        key: "limits.unfinished_per_tenant",
        takes: "from 1 to 10000000",
        doc: "Unfinished generations of one tenant; one more answers 429 `queue_full`.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.unfinished_per_tenant = number_within(text, 1, 10_000_000)?;
            Ok(())
        },
        show: |config| Some(config.limits.unfinished_per_tenant.to_string()),
    },
    Setting {
        key: "limits.running_per_owner",
        takes: "from 1 to 100000, or off",
        doc: "Runs of one owner under way at once; what is more waits in the queue.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.running_per_owner = number_or_off(text, 100_000)?;
            Ok(())
        },
        show: |config| Some(number_word(config.limits.running_per_owner)),
    },
    Setting {
        key: "limits.running_per_tenant",
        takes: "from 1 to 100000, or off",
        doc: "Runs of one tenant under way at once; what is more waits in the queue.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.running_per_tenant = number_or_off(text, 100_000)?;
            Ok(())
        },
        show: |config| Some(number_word(config.limits.running_per_tenant)),
    },
    Setting {
        key: "limits.artifact_bytes",
        takes: "from 1KiB to 4GiB",
        doc: "Largest artifact or upload; a larger one answers 413 `too_large`.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.artifact_bytes = bytes_within(text, 1024, limits::ARTIFACT_BYTES_MAX)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown_bytes(config.limits.artifact_bytes))),
    },
    Setting {
        key: "limits.upload_bytes_per_owner",
        takes: "from 1MiB to 1048576GiB, or off",
        doc: "Bytes of all uploads kept for one owner with a token of role `user`, each counted for at least 64 KiB; an upload that does not fit answers 413 `too_large`. `retention.uploads` makes room again. Tokens of other roles are not bounded.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.upload_bytes_per_owner = match text {
                "off" => None,
                _ => Some(bytes_within(text, MIB, UPLOAD_BYTES_MAX).map_err(|rule| format!("{rule}, or off"))?),
            };
            Ok(())
        },
        show: |config| {
            Some(quoted(&config.limits.upload_bytes_per_owner.map_or_else(|| "off".to_owned(), shown_bytes)))
        },
    },
    Setting {
        key: "limits.connects_per_user",
        takes: "from 10 to 60000 a minute, or off",
        doc: "Sockets and streams one user may open at once, and as many a minute; each one more waits, up to 5 seconds, and is refused nothing. Tokens of other roles never wait.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.limits.connects_per_user = match text {
                "off" => None,
                _ => Some(number_within(text, 10, 60_000).map_err(|rule| format!("{rule}, or off"))?),
            };
            Ok(())
        },
        show: |config| Some(number_word(config.limits.connects_per_user)),
    },
    Setting {
        key: "lease.silence",
        takes: "from 5s to 10m",
        doc: "A worker that sends nothing for this time on an open socket loses its runs. It sends a heartbeat every 2 s.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.lease.silence = duration_within(text, 5 * SECOND, 10 * MINUTE)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown(config.lease.silence))),
    },
    Setting {
        key: "lease.after_close",
        takes: "from 1s to 10m",
        doc: "A worker whose socket closed loses its runs unless it is back within this time.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.lease.after_close = duration_within(text, SECOND, 10 * MINUTE)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown(config.lease.after_close))),
    },
    Setting {
        key: "webhooks.allow",
        takes: "a list of addresses or networks",
        doc: "Networks that webhooks may call although they are private, loopback or link-local, and the only ones they call in plain text. Without an entry, webhooks go to public addresses by https.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.webhooks_allow = list(text).map(network).collect::<Result<_, _>>()?;
            Ok(())
        },
        show: |config| Some(quoted_list(&config.webhooks_allow)),
    },
    Setting {
        key: "breaker.failures",
        takes: "from 1 to 1000, or off",
        doc: "So many failed tries of a stage in a row, on one backend, open its breaker: nothing that needs it starts.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.breaker.failures = number_or_off(text, 1_000)?;
            Ok(())
        },
        show: |config| Some(number_word(config.breaker.failures)),
    },
    Setting {
        key: "breaker.open",
        takes: "from 100ms to 1h",
        doc: "An open breaker lets one run through after this time, to test whether the backend works again.",
        since: "0.1.0",
        environment_alias: None,
        secret: false,
        read: |config, text| {
            config.breaker.open = duration_within(text, SECOND / 10, HOUR)?;
            Ok(())
        },
        show: |config| Some(quoted(&shown(config.breaker.open))),
    },
];

/// A number from 1 on, or no bound.
fn number_or_off(text: &str, most: usize) -> Result<Option<usize>, String> {
    if text == "off" {
        return Ok(None);
    }
    number_within(text, 1, most).map(Some).map_err(|rule| format!("{rule}, or off"))
}

fn number_word(number: Option<usize>) -> String {
    number.map_or_else(|| quoted("off"), |number| number.to_string())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("write a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn public_url(text: &str) -> Result<String, String> {
    let rule = || "write an address such as https://films.example".to_owned();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(rule)?;
    let uri: http::Uri = text.parse().map_err(|_| rule())?;
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && uri.query().is_none();
    if rest.is_empty() || rest.contains('#') || !plain {
        return Err(rule());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "strict" => Ok(Durability::Strict),
        "relaxed" => Ok(Durability::Relaxed),
        "relay" => Ok(Durability::Relay),
        _ => Err("write strict, relaxed or relay".to_owned()),
    }
}

const fn durability_word(durability: Durability) -> &'static str {
    match durability {
        Durability::Strict => "strict",
        Durability::Relaxed => "relaxed",
        Durability::Relay => "relay",
    }
}

fn retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    duration_within(text, MINUTE, RETENTION_MAX).map(Some).map_err(|rule| format!("{rule}, or off"))
}

fn retention_word(retention: Option<Duration>) -> String {
    retention.map_or_else(|| "off".to_owned(), shown)
}
