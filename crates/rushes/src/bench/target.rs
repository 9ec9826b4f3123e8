//! A server under load, ours or another: where it is, whose memory and time count as its own, and how a connection to it gets
//! ready. The adapters of all dialects are here and in [`super::publish`], each a few lines.

use access::Role;
use anyhow::Result;
use serde::Deserialize;

use super::{
    clock,
    house::{House, mint},
    load::orders::{Plan, Seat, Step, Transport},
    workers::EVENTS_BEFORE,
};

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    /// Our own.
    Rushes,
    /// The first dialect, from a server on Node with Redis behind it.
    Node,
    /// nginx with nchan.
    Nchan,
    /// NATS over WebSocket.
    Nats,
}

/// A server that runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// As the table calls it.
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// Where watchers connect, `127.0.0.1:port`.
    pub(crate) address: String,
    /// The certificate it shows, where it speaks TLS; as PEM.
    #[serde(default)]
    pub(crate) authority: Option<String>,
    /// Where messages are published, where that is elsewhere.
    #[serde(default)]
    pub(crate) publish: String,
    /// Its processes.
    pub(crate) processes: Vec<u32>,
    /// Processes it cannot do without: its bus.
    #[serde(default)]
    pub(crate) beside: Vec<u32>,
    /// Signs its tokens.
    #[serde(default)]
    pub(crate) secret: String,
}

/// What a connection follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Nothing: it is known to the server, and idle.
    Nothing,
    /// The events of its channel.
    Events,
    /// Events and previews.
    Pictures,
}

fn step(say: &str, until: &str) -> Step {
    Step { say: say.to_owned(), until: until.to_owned() }
}

impl Target {
    /// Of a server that the bench started.
    pub(crate) fn of_house(house: &House) -> Result<Self> {
        Ok(Self {
            name: "Rushes".to_owned(),
            dialect: Dialect::Rushes,
            address: house.door.address.clone(),
            authority: house.authority.clone(),
            publish: String::new(),
            processes: vec![house.pid()?],
            beside: Vec::new(),
            secret: String::new(),
        })
    }

    /// How channels are called when nobody hands out ids, and whose they are.
    /// They are new with every call, so that nothing is left of a run before.
    pub(crate) fn seats(&self, channels: usize) -> Result<Vec<Seat>> {
        let run = clock::nanos() / 1_000_000;
        let seat = |channel| {
            let user = format!("u{channel}");
            let token = if self.secret.is_empty() { String::new() } else { mint(&self.secret, &user, Role::User)? };
            Ok(Seat { channel: format!("gen_{run:x}_{channel:06}"), token, stalls: false })
        };
        (0..channels).map(seat).collect()
    }

    /// Does whoever comes back get what was said last while it was away?
    pub(crate) const fn keeps(&self) -> bool {
        !matches!(self.dialect, Dialect::Nats)
    }

    /// What the load is told: `seats` are connections.
    pub(crate) fn plan(&self, follow: Follow, seats: Vec<Seat>) -> Plan {
        let authenticate = step(r#"{"type":"authenticate","token":"{token}"}"#, r#""type":"authenticated""#);
        let subscribe = |rest: &str| {
            step(&format!(r#"{{"type":"subscribe","generationId":"{{channel}}"{rest}}}"#), r#""type":"subscribed""#)
        };
        let watches = follow != Follow::Nothing;
        let pictures = if follow == Follow::Pictures { r#","frames":{"maxFps":12,"maxWidth":854}"# } else { "" };
        let (path, first, again) = match self.dialect {
            Dialect::Rushes => {
                let mut first = vec![authenticate.clone()];
                let mut again = vec![authenticate];
                if watches {
                    first.push(subscribe(&format!(r#","after":"now"{pictures}"#)));
                    again.push(subscribe(&format!(r#","after":"{{seen}}"{pictures}"#)));
                }
                ("/v1/live", first, again)
            }
            Dialect::Node => {
                let mut first = vec![authenticate];
                if watches {
                    first.push(subscribe(""));
                }
                ("/ws", first.clone(), first)
            }
            Dialect::Nchan => ("/sub/{channel}", Vec::new(), Vec::new()),
            Dialect::Nats => {
                let subscribe = if watches { "SUB {channel} 1\r\n" } else { "" };
                let connect = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{subscribe}PING\r\n");
                let first = vec![step(&connect, "PONG")];
                ("/", first.clone(), first)
            }
        };
        Plan {
            address: self.address.clone(),
            authority: self.authority.clone(),
            transport: Transport::WebSocket,
            path: path.to_owned(),
            first,
            again,
            base: EVENTS_BEFORE,
            stream: self.dialect == Dialect::Nats,
            pictures: follow == Follow::Pictures,
            seats,
        }
    }

    /// The events of each seat's channel over HTTP, of a server of ours.
    pub(crate) fn plan_http(&self, transport: Transport, seats: Vec<Seat>) -> Plan {
        let plan = self.plan(Follow::Nothing, seats);
        let path = match transport {
            Transport::Stream => "/v1/generations/{channel}/events?after=now",
            Transport::WebSocket | Transport::Poll => "/v1/generations/{channel}/events",
        };
        Plan { transport, path: path.to_owned(), first: Vec::new(), again: Vec::new(), ..plan }
    }
}
