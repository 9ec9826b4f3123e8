//! The orchestrator's counts, as metrics.

use std::sync::Arc;

use orchestrator::{Handle, STAGE_SECONDS, StageCounts};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};

/// Reads an orchestrator at each scrape.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) Arc<Handle>);

impl Collector for Work {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, value) in self.0.counts().values() {
            // The names say it: `generations_complete`, `leases_lost`.
            let help = format!("{}, since the start", name.replace('_', " "));
            let metric = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let stages = self.0.counts().stages();
        let mut failed = encoder.encode_descriptor(
            "stage_failures",
            "Tries of a stage that ended badly",
            None,
            MetricType::Counter,
        )?;
        for (stage, counts) in &stages {
            let labels = [("stage", stage.as_str())];
            ConstCounter::new(counts.failed).encode(failed.encode_family(&labels)?)?;
        }
        let help = "Seconds that completed stages took; against stage_failures, the share that succeeds";
        let mut durations = encoder.encode_descriptor("stage_seconds", help, None, MetricType::Histogram)?;
        for (stage, counts) in &stages {
            let labels = [("stage", stage.as_str())];
            let mut series = durations.encode_family(&labels)?;
            let buckets = buckets(counts);
            series.encode_histogram::<[(&str, &str); 0]>(
                counts.seconds,
                counts.buckets.iter().sum(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

/// Upper bounds with their counts; the encoder adds them up.
fn buckets(counts: &StageCounts) -> Vec<(f64, u64)> {
    STAGE_SECONDS.into_iter().chain([f64::MAX]).zip(counts.buckets).collect()
}
