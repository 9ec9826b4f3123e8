//! The gateway's counts, as metrics.

use std::sync::Arc;

use gateway::{Gateway, Transport, counts::Histogram};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Reads a gateway at each scrape.
#[derive(Debug)]
pub(crate) struct Listeners(pub(crate) Arc<Gateway>);

impl Collector for Listeners {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts();
        by_transport(&mut encoder, "connections", "Open connections, by transport", false, |t| {
            counts.of(t).connections.get()
        })?;
        by_transport(&mut encoder, "subscriptions", "Watched generations, by transport", false, |t| {
            counts.of(t).subscriptions.get()
        })?;
        by_transport(&mut encoder, "connections_opened", "Connections opened, by transport", true, |t| {
            counts.of(t).opened.get()
        })?;
        by_transport(&mut encoder, "messages_sent", "Messages sent, by transport", true, |t| {
            counts.of(t).messages.get()
        })?;
        by_transport(&mut encoder, "bytes_sent", "Bytes handed to sockets, by transport", true, |t| {
            counts.of(t).bytes.get()
        })?;
        for (name, help, value) in [
            ("frames_sent", "Preview frames sent to watchers", counts.frames_sent.get()),
            ("frames_dropped", "Preview frames wanted and not sent in time", counts.frames_dropped.get()),
            ("log_pages_read", "Pages read from the log for watchers behind their tail", counts.log_pages.get()),
            (
                "log_pages_shared",
                "Pages of the log a watcher got from the read of another",
                counts.log_pages_shared.get(),
            ),
            (
                "connects_delayed",
                "Connections let in later because their user makes too many",
                counts.connects_delayed.get(),
            ),
            (
                "watchers_churning",
                "Users who began to watch one generation more than 20 times in a minute, by minute",
                counts.churning.get(),
            ),
            ("streams_rotated", "Streams of events ended because of their age", counts.streams_rotated.get()),
            ("snapshots_sent", "Watchers whose position was gone", counts.snapshots.get()),
            (
                "generations_abandoned",
                "Generations whose last watcher left before the end and was not back in time",
                self.0.hub().abandoned(),
            ),
            ("watchers_stalled", "Watchers disconnected because their socket took nothing", counts.stalled.get()),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "Seconds from the decision of an event to the moment its bytes were handed to a socket";
        histogram(&mut encoder, "commit_to_socket_seconds", help, &counts.commit_to_socket, 1_000.0)?;
        histogram(
            &mut encoder,
            "watcher_lag_events",
            "Events a watcher was behind when it was served",
            &counts.lag,
            1.0,
        )
    }
}

fn by_transport(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counter: bool,
    value: impl Fn(Transport) -> u64,
) -> Result<(), std::fmt::Error> {
    let kind = if counter { MetricType::Counter } else { MetricType::Gauge };
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for transport in Transport::ALL {
        let labels = [("transport", transport.as_str())];
        let series = metric.encode_family(&labels)?;
        if counter {
            ConstCounter::new(value(transport)).encode(series)?;
        } else {
            ConstGauge::new(i64::try_from(value(transport)).unwrap_or(i64::MAX)).encode(series)?;
        }
    }
    Ok(())
}

/// Buckets of powers of two of whole units become buckets of what is shown; `units` of them are one.
fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    source: &Histogram,
    units: f64,
) -> Result<(), std::fmt::Error> {
    let counts = source.buckets();
    let last = counts.len() - 1;
    // Bucket `n` holds whole numbers below `1 << n`: at most that less one.
    let bound = |n: usize| if n == last { f64::MAX } else { ((1_u64 << n) - 1) as f64 / units };
    let buckets: Vec<(f64, u64)> = counts.iter().enumerate().map(|(n, count)| (bound(n), *count)).collect();
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<[(&str, &str); 0]>(source.sum() as f64 / units, counts.iter().sum(), &buckets, None)
}
