//! The operator's numbers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tower::{Layer, Service};

/// Kind of a resource, and how its reconciliation went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `Cluster` or `Topic`.
    pub kind: &'static str,
    /// `ok` or `error`.
    pub result: &'static str,
}

/// One kind of request to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The HTTP method.
    pub method: String,
    /// Plural name of the resource.
    pub resource: String,
}

/// Every number of this operator.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Reconciliations.
    pub reconciliations: Family<Outcome, Counter>,
    /// How long they took.
    pub duration: Arc<DurationHistogram>,
    /// 1 while this operator holds the lease.
    pub leader: Gauge,
    /// Requests to the API server.
    pub requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
}

/// Seconds, from a millisecond to about half a minute.
#[derive(Clone, Debug)]
pub struct DurationHistogram(pub Histogram);

impl Default for DurationHistogram {
    fn default() -> DurationHistogram {
        DurationHistogram(Histogram::new(exponential_buckets(0.001, 2.0, 15)))
    }
}

impl Metrics {
    /// Counts a reconciliation.
    pub(crate) fn reconciled(&self, kind: &'static str, ok: bool, took: Duration) {
        let result = if ok { "ok" } else { "error" };
        self.reconciliations
            .get_or_create(&Outcome { kind, result })
            .inc();
        self.duration.0.observe(took.as_secs_f64());
    }

    /// Makes them known to the registry.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("headwater_operator");
        registry.register(
            "reconciliations",
            "Reconciliations by kind and result",
            metrics.reconciliations.clone(),
        );
        registry.register_with_unit(
            "reconciliation_duration",
            "How long reconciliations took",
            Unit::Seconds,
            metrics.duration.0.clone(),
        );
        registry.register(
            "leader",
            "1 while this operator holds the lease",
            metrics.leader.clone(),
        );
        registry.register(
            "kubernetes_requests",
            "Requests to the API server by method and resource",
            metrics.requests.clone(),
        );
        metrics
    }
}

/// Counts what goes to the API server.
#[derive(Clone)]
pub struct CountRequests(pub Metrics);

impl<S> Layer<S> for CountRequests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            metrics: self.0.clone(),
            inner,
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counting<S> {
    metrics: Metrics,
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Counting<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        let labels = RequestLabels {
            method: request.method().to_string(),
            resource: resource(request.uri().path()).to_owned(),
        };
        self.metrics.requests.get_or_create(&labels).inc();
        self.inner.call(request)
    }
}

/// Plural name of the resource in a path of the API server.
fn resource(path: &str) -> &str {
    let mut parts = path.trim_start_matches('/').split('/');
    // /api/v1/... or /apis/group/version/...
    let skipped = if parts.next() == Some("api") { 1 } else { 2 };
    let mut rest = parts.skip(skipped);
    match (rest.next(), rest.next(), rest.next()) {
        (Some("namespaces"), Some(_), Some(resource)) => resource,
        (Some(resource), _, _) => resource,
        (None, _, _) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_found_in_paths_of_both_forms() {
        assert_eq!(resource("/api/v1/namespaces/a/pods/b/eviction"), "pods");
        assert_eq!(
            resource("/apis/apps/v1/namespaces/a/statefulsets/x"),
            "statefulsets"
        );
        assert_eq!(resource("/apis/headwater.dev/v1alpha1/topics"), "topics");
        assert_eq!(resource("/api/v1/namespaces/a"), "namespaces");
        assert_eq!(resource("/version"), "");
    }
}
