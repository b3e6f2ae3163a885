//! Numbers about the tier's store.

use std::time::Duration;

use headwater_tier::store::StoreError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: &'static str,
    reason: &'static str,
}

/// Numbers about the tier's store; cheap handles that share their values when cloned. One call of the store's trait
/// counts once, however many requests and attempts it takes.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    requests: Family<OperationLabel, Counter>,
    errors: Family<ErrorLabels, Counter>,
    request_seconds: Family<OperationLabel, Histogram>,
    /// Bytes handed to the store.
    pub(super) sent_bytes: Counter,
    /// Bytes read from the store.
    pub(super) received_bytes: Counter,
    /// Attempts after the first.
    pub(super) retries: Counter,
}

impl Default for StoreMetrics {
    fn default() -> StoreMetrics {
        StoreMetrics {
            requests: Family::default(),
            errors: Family::default(),
            request_seconds: Family::new_with_constructor(latency_histogram),
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            retries: Counter::default(),
        }
    }
}

impl StoreMetrics {
    /// Registers the numbers with the registry of this broker, whose prefix is `headwater`.
    pub fn register(&self, ours: &mut Registry) {
        ours.register(
            "tier_requests",
            "Calls of the tier's store, by operation",
            self.requests.clone(),
        );
        ours.register(
            "tier_request_errors",
            "Calls of the tier's store that failed, by operation and reason",
            self.errors.clone(),
        );
        ours.register_with_unit(
            "tier_request_duration",
            "Time of a call of the tier's store with all its attempts, by operation",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register_with_unit(
            "tier_sent",
            "Handed to the tier's store",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        ours.register_with_unit(
            "tier_received",
            "Read from the tier's store",
            Unit::Bytes,
            self.received_bytes.clone(),
        );
        ours.register(
            "tier_retries",
            "Requests to the tier's store that were tried again",
            self.retries.clone(),
        );
    }

    pub(super) fn observe(
        &self,
        operation: &'static str,
        elapsed: Duration,
        error: Option<&StoreError>,
    ) {
        let label = OperationLabel { operation };
        self.requests.get_or_create(&label).inc();
        self.request_seconds
            .get_or_create(&label)
            .observe(elapsed.as_secs_f64());
        if let Some(error) = error {
            let reason = error.kind.reason();
            self.errors
                .get_or_create(&ErrorLabels { operation, reason })
                .inc();
        }
    }
}

/// 1 ms to 262 s: from a file in the page cache to a big part over a slow line, tried again.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}
