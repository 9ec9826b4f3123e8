//! `[[webhook]]` tables: who hears of a tenant's generations by HTTP, of which events, and signed with what.
//!
//! Sending is in `webhooks`. Whether an address may be called is decided there too, at each call.

use std::{ops::Range, path::PathBuf, time::Duration};

use access::webhook::{KEYS_MAX, SigningKey};
use protocol::{EventType, TenantId};
use reqwest::Url;
use serde::{
    Deserialize,
    de::{IntoDeserializer as _, value::StrDeserializer},
};
use toml::{Spanned, de::DeValue};

use super::{ConfigError, value};

/// Most endpoints: each has a task, and a few connections while it is called.
pub(super) const WEBHOOKS_MAX: usize = 64;
/// Longest name, which is a label of metrics and a part of paths.
const NAME_BYTES_MAX: usize = 64;
/// Most tries after the first, and the longest wait between two: 16 days in all, more than a holiday of whoever runs a receiver.
const RETRIES_MAX: usize = 16;
const RETRY_WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Shortest wait between two tries; below it a receiver that is down is hammered.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(10);

/// Waits between tries, as Standard Webhooks proposes them: three days in all. Each is drawn at random up to this.
const RETRIES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// Who hears of a tenant's generations.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Names it in metrics, in the log and for operators.
    pub name: String,
    /// Whose generations.
    pub tenant: TenantId,
    /// Where it listens.
    pub url: Url,
    /// Which events; empty means all.
    pub events: Vec<EventType>,
    /// Waits between tries.
    pub retries: Vec<Duration>,
    keys: Vec<SigningKey>,
    secret_file: Option<PathBuf>,
}

impl Webhook {
    /// Does it hear of events of this kind, of this tenant?
    #[must_use]
    pub fn wants(&self, tenant: &TenantId, kind: EventType) -> bool {
        self.tenant == *tenant && (self.events.is_empty() || self.events.contains(&kind))
    }

    /// What its messages are signed with, from wherever it is set.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or holds anything but keys.
    pub fn read_keys(&self) -> Result<Vec<SigningKey>, ConfigError> {
        let Some(file) = &self.secret_file else { return Ok(self.keys.clone()) };
        let place = format!("webhook {}: secret_file {}", self.name, file.display());
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::one(format!("{place}: {error}")))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        keys(lines).map_err(|problem| ConfigError::one(format!("{place}: {problem}")))
    }
}

/// One table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    tenant: Option<TenantId>,
    url: String,
    events: Option<Vec<String>>,
    secret: Option<Secrets>,
    secret_file: Option<PathBuf>,
    retries: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Secrets {
    One(String),
    Many(Vec<String>),
}

/// What a table of the file looks like, for the reference page.
pub(super) const EXAMPLE: &str = r#"[[webhook]]
name = "orders"
tenant = "default"
url = "https://shop.example/hooks/rushes"
events = ["complete", "failed", "cancelled"]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"#;

/// Reads one table.
pub(super) fn read(table: Spanned<DeValue<'_>>) -> Result<Webhook, (Option<Range<usize>>, String)> {
    let table = Table::deserialize(table.into_deserializer())
        .map_err(|error| (error.span(), format!("webhook: {}", error.message())))?;
    let name = table.name.clone();
    table.webhook().map_err(|problem| (None, format!("webhook {name:?}: {problem}")))
}

impl Table {
    fn webhook(self) -> Result<Webhook, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.chars().all(good) {
            return Err(format!("`name` has 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ -"));
        }
        let keys = match (self.secret, &self.secret_file) {
            (Some(Secrets::One(one)), None) => keys([one.as_str()].into_iter())?,
            (Some(Secrets::Many(many)), None) => keys(many.iter().map(String::as_str))?,
            (None, Some(_)) => Vec::new(),
            (Some(_), Some(_)) => return Err("both `secret` and `secret_file` are set: keep one".into()),
            (None, None) => return Err("set `secret` or `secret_file`, so that receivers know who calls".into()),
        };
        Ok(Webhook {
            tenant: self.tenant.unwrap_or_else(TenantId::fallback),
            url: url(&self.url)?,
            events: events(self.events)?,
            retries: retries(self.retries)?,
            name: self.name,
            keys,
            secret_file: self.secret_file,
        })
    }
}

fn keys<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<SigningKey>, String> {
    let keys: Vec<SigningKey> = texts
        .map(|text| text.parse().map_err(|error| format!("a secret that is none: {error}")))
        .collect::<Result<_, String>>()?;
    match keys.len() {
        1..=KEYS_MAX => Ok(keys),
        count => Err(format!("{count} secrets: from 1 to {KEYS_MAX}")),
    }
}

pub(crate) fn url(text: &str) -> Result<Url, String> {
    // This build knows no Unicode names, and its parser takes for granted that it meets none.
    // It takes any number of slashes, of either kind, before a host, and drops tabs and ends of lines anywhere.
    let rest = text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    let host = rest.split(['/', '?', '#', '\\']).next();
    if !text.is_ascii() || text.contains(|c: char| c.is_ascii_control()) || host.is_some_and(|host| host.contains('%'))
    {
        return Err("`url` is written in ASCII: a host's name in its xn-- form, a path with %".to_owned());
    }
    let rule = "`url` is an address such as https://shop.example/hooks/rushes, without user, password or fragment";
    let url: Url = text.parse().map_err(|_| rule.to_owned())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain { Ok(url) } else { Err(rule.into()) }
}

/// The ends, where nothing is said: what a back end acts upon.
fn events(texts: Option<Vec<String>>) -> Result<Vec<EventType>, String> {
    let Some(texts) = texts else { return Ok(vec![EventType::Complete, EventType::Failed, EventType::Cancelled]) };
    if texts == ["*"] {
        return Ok(Vec::new());
    }
    if texts.is_empty() {
        return Err("`events` names at least one type, or is [\"*\"] alone".into());
    }
    let read = |text: &String| {
        let word: StrDeserializer<'_, serde::de::value::Error> = text.as_str().into_deserializer();
        EventType::deserialize(word).map_err(|error| format!("`events`: {error}"))
    };
    texts.iter().map(read).collect()
}

fn retries(texts: Option<Vec<String>>) -> Result<Vec<Duration>, String> {
    let Some(texts) = texts else { return Ok(RETRIES.to_vec()) };
    if texts.len() > RETRIES_MAX {
        return Err(format!("`retries` has {} waits: {RETRIES_MAX} at most", texts.len()));
    }
    let read = |text: &String| {
        value::duration_within(text, RETRY_WAIT_MIN, RETRY_WAIT_MAX)
            .map_err(|rule| format!("`retries`: {text:?}: {rule}"))
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, Mode, Sources};

    fn load(table: &str) -> Result<Vec<Webhook>, String> {
        let file = Some(("rushes.toml".into(), table.to_owned()));
        let loaded = Loaded::read(&Sources { file, ..Sources::default() }, Mode::Demo);
        loaded.map(|loaded| loaded.config.webhooks).map_err(|error| error.to_string())
    }

    fn with(line: &str) -> Result<Vec<Webhook>, String> {
        load(&format!(
            "[[webhook]]\nname = \"a\"\nurl = \"https://x.example/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n{line}"
        ))
    }

    #[test]
    fn the_example_of_the_reference_page_is_read() {
        let webhooks = load(EXAMPLE).unwrap();
        let [orders] = &webhooks[..] else { panic!("{webhooks:?}") };
        let tenant = TenantId::fallback();
        assert!(orders.wants(&tenant, EventType::Complete) && !orders.wants(&tenant, EventType::StageProgress));
        assert!(!orders.wants(&TenantId::new("other").unwrap(), EventType::Complete));
        assert_eq!(orders.read_keys().unwrap().len(), 1);
        assert!(!format!("{orders:?}").contains("MfKQ"), "secrets are never shown");
        assert!(orders.retries.iter().sum::<Duration>() > Duration::from_secs(3 * 86_400));
    }

    #[test]
    fn all_events_or_named_ones_are_chosen() {
        let tenant = TenantId::fallback();
        assert!(with("events = [\"*\"]").unwrap()[0].wants(&tenant, EventType::StageProgress));
        assert!(with("events = [\"stage_failed\"]").unwrap()[0].wants(&tenant, EventType::StageFailed));
        assert!(with("").unwrap()[0].wants(&tenant, EventType::Cancelled));
    }

    #[test]
    fn a_table_that_makes_no_sense_is_refused_with_its_line() {
        for (line, says) in [
            ("events = []", "at least one"),
            ("events = [\"finished\"]", "finished"),
            ("events = [\"*\", \"failed\"]", "*"),
            ("retries = [\"1s\", \"48h\"]", "48h"),
            ("retries = [\"soon\"]", "soon"),
            ("secret_file = \"x\"", "keep one"),
            ("colour = \"red\"", "colour"),
        ] {
            let error = with(line).unwrap_err();
            assert!(error.starts_with("rushes.toml:") && error.contains(says), "{line}: {error}");
        }
        for (table, says) in [
            ("[[webhook]]\nname = \"a\"\nurl = \"https://x.example\"", "set `secret`"),
            ("[[webhook]]\nname = \"a\"\nurl = \"https://x.example\"\nsecret = \"hunter2\"", "whsec_"),
            ("[[webhook]]\nname = \"a\"\nurl = \"https://x.example\"\nsecret = []", "0 secrets"),
            (
                "[[webhook]]\nname = \"a b\"\nurl = \"https://x.example\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
                "`name`",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"ftp://x.example\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
                "`url`",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"https://u:p@x.example\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
                "`url`",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"https://Grüße.example\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
                "xn--",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"https://A%C3%9F.example\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
                "xn--",
            ),
            ("[webhook]\nname = \"a\"", "[[webhook]]"),
        ] {
            let error = load(table).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{table}: {error}");
        }
    }

    #[test]
    fn two_endpoints_of_one_name_are_refused() {
        let twice = format!("{EXAMPLE}\n{EXAMPLE}");
        let error = load(&twice).unwrap_err();
        assert!(error.contains("orders") && error.contains("twice"), "{error}");
    }
}
