//! Numbers for Prometheus, with the words of the glossary and units in their names.
//!
//! [`Metrics`] is a bundle of cheap handles that share their values when cloned. It registers with
//! a registry that is passed in, so that two brokers in one process do not share numbers.

mod process;
#[cfg(test)]
mod tests;

use std::time::Duration;

use headwater_log::RecoveryReport;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use process::ProcessCollector;

/// The reason of an error: one of the stable words in the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// A method of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

/// All numbers of one broker.
#[derive(Clone, Debug)]
pub struct Metrics {
    produced: Traffic,
    fetched: Traffic,
    /// Batches that were refused.
    refused: Counter,
    errors: Family<ReasonLabel, Counter>,
    request_seconds: Family<MethodLabel, Histogram>,
    append_seconds: Histogram,
    sync_seconds: Histogram,
    sync_partitions: Histogram,
    recovery: Recovery,
    /// Segments that retention or delete-records has unlinked.
    pub segments_deleted: Counter,
    /// Bytes of those segments.
    pub deleted_bytes: Counter,
    /// Topics of the cluster.
    pub topics: Gauge,
    /// Partitions with a replica here.
    pub partitions: Gauge,
    /// Partitions that this broker leads.
    pub leaders: Gauge,
    /// Partitions whose log could not be opened.
    pub partitions_offline: Gauge,
    /// Bytes of all segments here.
    pub log_bytes: Gauge,
    /// Segments here.
    pub segments: Gauge,
    /// Free bytes on the file system of the data directory.
    pub disk_free_bytes: Gauge,
    /// Size of that file system.
    pub disk_size_bytes: Gauge,
    /// 1 while produce is refused with STORAGE_FULL.
    pub storage_full: Gauge,
    /// Client connections.
    pub connections: Gauge,
    /// Connections closed at once because there were too many.
    pub connections_refused: Counter,
    /// Bytes of batches received and not yet answered.
    pub produce_in_flight_bytes: Gauge,
    /// Bytes of batches read and not yet taken.
    pub fetch_in_flight_bytes: Gauge,
    /// Findings that GetHealth would tell now.
    pub findings: Gauge,
    /// Segments that are in the tier's store and verified.
    pub tier_segments_uploaded: Counter,
    /// Bytes of those segments.
    pub tier_uploaded_bytes: Counter,
    /// Bytes of batches that readers were given from the tier.
    pub tier_read_bytes: Counter,
    /// Objects that nothing named any more and that were deleted.
    pub tier_objects_deleted: Counter,
    /// Objects that a check found missing or altered.
    pub tier_problems: Counter,
    /// Bytes of sealed segments that are not in the tier.
    pub tier_backlog_bytes: Gauge,
    /// Segments of them.
    pub tier_backlog_segments: Gauge,
    /// How long the oldest of them has waited.
    pub tier_backlog_age_seconds: Gauge,
    /// 1 while the tier's store does not do as asked.
    pub tier_unreachable: Gauge,
    /// Bytes of what was read from the tier that are kept in memory.
    pub tier_cache_bytes: Gauge,
}

/// What went one way.
#[derive(Clone, Debug, Default)]
struct Traffic {
    records: Counter,
    batches: Counter,
    bytes: Counter,
}

/// What was found when logs were opened.
#[derive(Clone, Debug, Default)]
struct Recovery {
    scanned_bytes: Counter,
    cut_bytes: Counter,
    cut_partitions: Counter,
    damaged_ranges: Counter,
    /// The sum of the times; opening runs on several threads.
    seconds: Counter<f64, std::sync::atomic::AtomicU64>,
}

impl Metrics {
    /// Makes the numbers, all zero, and registers them.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            produced: Traffic::default(),
            fetched: Traffic::default(),
            refused: Counter::default(),
            errors: Family::default(),
            request_seconds: Family::new_with_constructor(latency_histogram),
            append_seconds: latency_histogram(),
            sync_seconds: latency_histogram(),
            sync_partitions: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            recovery: Recovery::default(),
            segments_deleted: Counter::default(),
            deleted_bytes: Counter::default(),
            topics: Gauge::default(),
            partitions: Gauge::default(),
            leaders: Gauge::default(),
            partitions_offline: Gauge::default(),
            log_bytes: Gauge::default(),
            segments: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            disk_size_bytes: Gauge::default(),
            storage_full: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            produce_in_flight_bytes: Gauge::default(),
            fetch_in_flight_bytes: Gauge::default(),
            findings: Gauge::default(),
            tier_segments_uploaded: Counter::default(),
            tier_uploaded_bytes: Counter::default(),
            tier_read_bytes: Counter::default(),
            tier_objects_deleted: Counter::default(),
            tier_problems: Counter::default(),
            tier_backlog_bytes: Gauge::default(),
            tier_backlog_segments: Gauge::default(),
            tier_backlog_age_seconds: Gauge::default(),
            tier_unreachable: Gauge::default(),
            tier_cache_bytes: Gauge::default(),
        };
        let ours = registry.sub_registry_with_prefix("headwater");
        metrics.register_requests(ours);
        metrics.register_storage(ours);
        metrics.register_tier(ours);
        let build = Family::<VersionLabel, Gauge>::default();
        build
            .get_or_create(&VersionLabel {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        ours.register("build_info", "Always 1; the version is in the label", build);
        registry.register_collector(Box::new(ProcessCollector));
        metrics
    }

    fn register_requests(&self, ours: &mut Registry) {
        self.produced
            .register(ours, "produced", "appended for clients");
        self.fetched.register(ours, "fetched", "sent to clients");
        ours.register(
            "refused_batches",
            "Batches that were not appended",
            self.refused.clone(),
        );
        ours.register(
            "errors",
            "Errors told to clients, by reason",
            self.errors.clone(),
        );
        ours.register_with_unit(
            "request_duration",
            "Time from a call's arrival to its answer, by method; not for streams",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register(
            "connections",
            "Client connections",
            self.connections.clone(),
        );
        ours.register(
            "connections_refused",
            "Connections closed at once because there were too many",
            self.connections_refused.clone(),
        );
        ours.register_with_unit(
            "produce_in_flight",
            "Batches received and not yet answered",
            Unit::Bytes,
            self.produce_in_flight_bytes.clone(),
        );
        ours.register_with_unit(
            "fetch_in_flight",
            "Batches read and not yet taken by the client",
            Unit::Bytes,
            self.fetch_in_flight_bytes.clone(),
        );
        ours.register(
            "findings",
            "Findings that GetHealth tells",
            self.findings.clone(),
        );
    }

    fn register_storage(&self, ours: &mut Registry) {
        let gauges = [
            ("topics", "Topics of the cluster", &self.topics),
            (
                "partitions",
                "Partitions with a replica here",
                &self.partitions,
            ),
            (
                "leaders",
                "Partitions that this broker leads",
                &self.leaders,
            ),
            (
                "partitions_offline",
                "Partitions whose log could not be opened",
                &self.partitions_offline,
            ),
            ("segments", "Segments of all logs here", &self.segments),
            (
                "storage_full",
                "1 while produce is refused with STORAGE_FULL",
                &self.storage_full,
            ),
        ];
        for (name, help, gauge) in gauges {
            ours.register(name, help, gauge.clone());
        }
        let byte_gauges = [
            (
                "log",
                "Bytes in the segments of all logs here",
                &self.log_bytes,
            ),
            (
                "disk_free",
                "Free on the file system of the data directory",
                &self.disk_free_bytes,
            ),
            (
                "disk_size",
                "Size of the file system of the data directory",
                &self.disk_size_bytes,
            ),
        ];
        for (name, help, gauge) in byte_gauges {
            ours.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        let latencies = [
            (
                "append_duration",
                "Time to write one turn's batches",
                &self.append_seconds,
            ),
            (
                "sync_duration",
                "Time of one group commit",
                &self.sync_seconds,
            ),
        ];
        for (name, help, histogram) in latencies {
            ours.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        ours.register(
            "sync_partitions",
            "Partitions in a group commit",
            self.sync_partitions.clone(),
        );
        ours.register(
            "segments_deleted",
            "Segments unlinked",
            self.segments_deleted.clone(),
        );
        ours.register_with_unit(
            "segments_deleted",
            "Bytes of the segments unlinked",
            Unit::Bytes,
            self.deleted_bytes.clone(),
        );
        self.recovery.register(ours);
    }

    fn register_tier(&self, ours: &mut Registry) {
        let counters = [
            (
                "tier_segments_uploaded",
                "Segments that are in the tier's store and verified",
                &self.tier_segments_uploaded,
            ),
            (
                "tier_objects_deleted",
                "Objects of the tier that nothing named any more and that were deleted",
                &self.tier_objects_deleted,
            ),
            (
                "tier_problems",
                "Objects of the tier that a check found missing or altered",
                &self.tier_problems,
            ),
        ];
        for (name, help, counter) in counters {
            ours.register(name, help, counter.clone());
        }
        let byte_counters = [
            (
                "tier_uploaded",
                "Segments that are in the tier's store and verified",
                &self.tier_uploaded_bytes,
            ),
            (
                "tier_read",
                "Batches that readers were given from the tier",
                &self.tier_read_bytes,
            ),
        ];
        for (name, help, counter) in byte_counters {
            ours.register_with_unit(name, help, Unit::Bytes, counter.clone());
        }
        ours.register(
            "tier_backlog_segments",
            "Sealed segments that are not in the tier",
            self.tier_backlog_segments.clone(),
        );
        ours.register_with_unit(
            "tier_backlog_age",
            "How long the oldest sealed segment that is not in the tier has waited",
            Unit::Seconds,
            self.tier_backlog_age_seconds.clone(),
        );
        ours.register(
            "tier_unreachable",
            "1 while the tier's store does not do as asked",
            self.tier_unreachable.clone(),
        );
        let byte_gauges = [
            (
                "tier_backlog",
                "Sealed segments that are not in the tier",
                &self.tier_backlog_bytes,
            ),
            (
                "tier_cache",
                "What was read from the tier and is kept in memory",
                &self.tier_cache_bytes,
            ),
        ];
        for (name, help, gauge) in byte_gauges {
            ours.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
    }

    /// One batch that a client has sent, and whether it was appended.
    pub fn observe_produce(&self, records: u32, bytes: usize, appended: bool) {
        if appended {
            self.produced.observe(records.into(), 1, bytes);
        } else {
            self.refused.inc();
        }
    }

    /// Batches that a client was sent.
    pub fn observe_fetch(&self, records: u64, batches: u64, bytes: usize) {
        self.fetched.observe(records, batches, bytes);
    }

    /// An error that a client was told. Reasons are a fixed set of words.
    pub fn observe_error(&self, reason: &'static str) {
        self.errors.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A call that was answered.
    pub fn observe_request(&self, method: &'static str, elapsed: Duration) {
        self.request_seconds
            .get_or_create(&MethodLabel { method })
            .observe(elapsed.as_secs_f64());
    }

    /// A turn has written batches.
    pub fn observe_append(&self, elapsed: Duration) {
        self.append_seconds.observe(elapsed.as_secs_f64());
    }

    /// A group commit of so many partitions.
    pub fn observe_sync(&self, elapsed: Duration, partitions: usize) {
        self.sync_seconds.observe(elapsed.as_secs_f64());
        self.sync_partitions.observe(partitions as f64);
    }

    /// A log was opened.
    pub fn observe_recovery(&self, report: &RecoveryReport, elapsed: Duration) {
        let recovery = &self.recovery;
        recovery.scanned_bytes.inc_by(report.scanned_bytes);
        if let Some(cut) = &report.cut {
            recovery.cut_partitions.inc();
            recovery.cut_bytes.inc_by(cut.bytes);
        }
        recovery.damaged_ranges.inc_by(report.damaged.len() as u64);
        recovery.seconds.inc_by(elapsed.as_secs_f64());
    }
}

impl Traffic {
    fn register(&self, ours: &mut Registry, way: &str, done: &str) {
        ours.register(
            format!("{way}_records"),
            format!("Records {done}"),
            self.records.clone(),
        );
        ours.register(
            format!("{way}_batches"),
            format!("Batches {done}"),
            self.batches.clone(),
        );
        let help = format!("Bytes of batches {done}");
        ours.register_with_unit(way, help, Unit::Bytes, self.bytes.clone());
    }

    fn observe(&self, records: u64, batches: u64, bytes: usize) {
        self.records.inc_by(records);
        self.batches.inc_by(batches);
        self.bytes.inc_by(bytes as u64);
    }
}

impl Recovery {
    fn register(&self, ours: &mut Registry) {
        ours.register_with_unit(
            "recovery_scanned",
            "Read while logs were opened",
            Unit::Bytes,
            self.scanned_bytes.clone(),
        );
        ours.register_with_unit(
            "recovery_cut",
            "Cut above sync marks while logs were opened",
            Unit::Bytes,
            self.cut_bytes.clone(),
        );
        ours.register(
            "recovery_cut_partitions",
            "Partitions whose log was cut above its sync mark",
            self.cut_partitions.clone(),
        );
        ours.register(
            "recovery_damaged_ranges",
            "Ranges below sync marks that were found damaged",
            self.damaged_ranges.clone(),
        );
        ours.register_with_unit(
            "recovery_duration",
            "Time spent opening logs, summed over threads",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }
}

/// 10 us to 2.6 s: from a write into the page cache to a disk that stalls.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 4.0, 10))
}
