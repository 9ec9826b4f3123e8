//! What is sent: the body and the headers of Standard Webhooks.

use access::{digest::sha256, webhook};
use data_encoding::BASE32_DNSSEC;
use gateway::encode::Encoder;
use protocol::{Event, Timestamp};
use serde::Serialize;

use super::Endpoint;

/// One message, ready for one try.
#[derive(Debug)]
pub(super) struct Message {
    /// `webhook-id`: the same for every try, whatever happened in between.
    pub(super) id: String,
    /// `webhook-timestamp`: this try's.
    pub(super) timestamp: u64,
    /// `webhook-signature`.
    pub(super) signature: String,
    /// The request that caused it, as everywhere.
    pub(super) correlation: String,
    /// JSON.
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    /// `generation.complete` and the like.
    #[serde(rename = "type")]
    kind: String,
    /// When it happened, in ISO 8601.
    timestamp: String,
    /// As every watcher gets it, `sequence` included; links are fresh.
    data: &'a Event,
}

impl Message {
    /// `event` for `endpoint`, tried at `now`.
    pub(super) fn new(endpoint: &Endpoint, encoder: &Encoder, event: &Event, now: Timestamp) -> Self {
        let id = id(&endpoint.config.name, event);
        let data = encoder.event(event, now);
        let kind = serde_json::to_value(event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        let body = Body {
            kind: format!("generation.{}", kind.unwrap_or_default()),
            timestamp: iso(event.timestamp),
            data: &data,
        };
        let body = serde_json::to_vec(&body).expect("events hold texts, numbers and JSON");
        let signature = webhook::signature(&endpoint.keys, &id, now, &body);
        Self { id, timestamp: webhook::seconds(now), signature, correlation: event.causal_id.to_string(), body }
    }
}

/// Made of what it names, so that every try has the same one, after a crash too. Event ids are unique within their
/// generation only, and may hold full stops, which a message id may not.
fn id(endpoint: &str, event: &Event) -> String {
    let names = format!("{endpoint}\n{}\n{}", event.generation_id, event.event_id);
    // 20 bytes: no two messages meet, and the text is of the length of ids people are used to.
    format!("msg_{}", BASE32_DNSSEC.encode(&sha256(names.as_bytes())[..20]))
}

/// `2026-01-19T22:08:00.000Z`.
fn iso(at: Timestamp) -> String {
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

/// Year, month and day of the day so many days after 1970-01-01, counted in years that begin in March, so that the day
/// that is there or not stands at their end.
const fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_iso_8601() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_737_331_280_123, "2025-01-20T00:01:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(Timestamp(ms)), text);
        }
    }

    /// Every day for 400 years follows the one before it.
    #[test]
    fn days_follow_each_other() {
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
