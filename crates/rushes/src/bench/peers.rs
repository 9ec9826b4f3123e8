//! Us beside other servers: the same load, the same machine, one after another. `bench/peers/run` starts them and names them
//! in a file.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Load, Row, broadcast, idle,
    rows::{grouped, megabytes, short},
    stand::{Shape, Stand, Subject},
    storm,
    target::Target,
    unique,
};

/// Idle servers are watched for one round of pings.
const WATCHED: Duration = Duration::from_secs(30);
/// Watchers of one channel, and connections with a channel each.
const WATCHERS: usize = 1_000;
const CONNECTIONS: usize = 10_000;

/// What was measured of one server; `None` where it does not have that.
#[derive(Debug, Default)]
struct Column {
    name: String,
    cells: Vec<(&'static str, Option<f64>, String)>,
}

impl Column {
    fn cell(&mut self, about: &'static str, value: Option<f64>, text: String) {
        eprintln!("{}: {about}: {text}", self.name);
        self.cells.push((about, value, text));
    }
}

/// The mode.
pub(crate) async fn measure(load: &Load) -> Result<Vec<Row>> {
    let path =
        load.peers.as_deref().context("name the other servers with --peers; bench/peers/run starts them and does")?;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let targets: Vec<Target> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let mut columns = Vec::new();
    if load.wants("rushes") {
        columns.push(column(load, "Rushes, durable", &Subject::durable()).await?);
    }
    if load.wants("relayed") {
        columns.push(column(load, "Rushes, relayed", &Subject::relayed()).await?);
    }
    for target in targets {
        let name = target.name.clone();
        if load.wants(&name) {
            columns.push(column(load, &name, &Subject::Peer(Box::new(target))).await?);
        }
    }
    Ok(rows(&columns))
}

async fn column(load: &Load, name: &str, subject: &Subject) -> Result<Column> {
    let mut column = Column { name: name.to_owned(), ..Column::default() };
    let idle = match subject {
        Subject::House(_) => idle::house(load, CONNECTIONS, WATCHED).await?,
        Subject::Peer(target) => idle::peer(load, target, CONNECTIONS, WATCHED).await?,
    };
    let beside =
        if idle.beside > 0 { format!(" (and {:.0} MB of bus)", megabytes(idle.beside)) } else { String::new() };
    column.cell("memory, 10,000 idle, MB", Some(megabytes(idle.with)), format!("{:.1}{beside}", megabytes(idle.with)));
    column.cell("KB an idle connection", Some(idle.each() / 1e3), format!("{:.2}", idle.each() / 1e3));
    column.cell("CPU idle, % of a core", None, format!("{:.1}", idle.cpu * 100.0));
    let mut stand = Stand::start(load, subject, Shape::unique(CONNECTIONS)).await?;
    let calm = stand.run(1_000.0, Duration::from_secs(5)).await?;
    let p50 = calm.tally.latency.percentile(0.5);
    column.cell("1,000/s unique, p50 ms", p50, short(p50.unwrap_or(f64::NAN)));
    column.cell("1,000/s unique, p99 ms", Some(calm.p99()), short(calm.p99()));
    let each = calm.cpu * 1e6 / calm.sent as f64;
    let bus = calm.cpu_beside * 1e6 / calm.sent as f64;
    let beside = if bus > 0.0 { format!(" (and {bus:.0} of bus)") } else { String::new() };
    column.cell("µs of CPU an event, at that rate", Some(each), format!("{each:.0}{beside}"));
    let best = stand.highest(&unique::RATES).await?;
    let rate = best.as_ref().map(super::stand::Ran::published);
    column.cell("unique/s, p99 < 100 ms", rate, rate.map_or_else(|| "none".to_owned(), |rate| grouped(rate as u64)));
    drop(stand);
    let mut stand = Stand::start(load, subject, Shape::broadcast(WATCHERS)).await?;
    let best = stand.highest(&broadcast::RATES).await?;
    let rate = best.as_ref().map(super::stand::Ran::delivered);
    column.cell(
        "deliveries/s, 1,000 watchers",
        rate,
        rate.map_or_else(|| "none".to_owned(), |rate| grouped(rate as u64)),
    );
    let each = best.as_ref().map(|best| best.cpu * 1e6 / best.tally.counts.received.max(1) as f64);
    column.cell("µs of CPU a delivery, at that rate", each, each.map_or_else(|| "-".to_owned(), short));
    drop(stand);
    match storm::run(load, subject, CONNECTIONS).await {
        Ok(storm) => {
            let seconds = storm.took.as_secs_f64();
            let how = if keeps(subject) { "" } else { " (nothing is caught up)" };
            column.cell("10,000 come back, s", Some(seconds), format!("{}{how}", short(seconds)));
        }
        Err(error) => column.cell("10,000 come back, s", None, format!("{error:#}")),
    }
    Ok(column)
}

fn keeps(subject: &Subject) -> bool {
    match subject {
        Subject::House(_) => true,
        Subject::Peer(target) => target.keeps(),
    }
}

/// A row for each thing measured, with every server's figure and how many times ours it is.
fn rows(columns: &[Column]) -> Vec<Row> {
    let Some(first) = columns.first() else { return Vec::new() };
    let mut rows = Vec::new();
    for (at, (about, ours, _)) in first.cells.iter().enumerate() {
        let mut facts = json!({});
        let mut texts = Vec::new();
        for column in columns {
            let Some((_, value, text)) = column.cells.get(at) else { continue };
            let ratio = value.zip(*ours).filter(|(_, ours)| *ours > 0.0).map(|(value, ours)| value / ours);
            let times = ratio
                .filter(|_| column.name != first.name)
                .map_or_else(String::new, |ratio| format!(" ×{}", short(ratio)));
            texts.push(format!("{} {text}{times}", column.name));
            facts[&column.name] = json!({"value": value, "text": text, "times_ours": ratio});
        }
        rows.push(Row { name: (*about).to_owned(), value: texts.join(" · "), facts: Value::clone(&facts) });
    }
    rows
}
