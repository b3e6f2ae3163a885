//! The operator's own numbers.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::commands::kubectl;
use super::{Kubernetes, NAMESPACE};

/// Counters of the operator by name and labels, as they stand in its metrics.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<String, f64>);

impl Kubernetes {
    /// What the one operator counts.
    pub async fn counters(&self) -> Counters {
        let pods = self.operator_pods().await;
        let [pod] = pods.as_slice() else {
            panic!("there is not one operator but {}", pods.len());
        };
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:7680/proxy/metrics",
            pod.name_any()
        );
        Counters::parse(&kubectl(&["get", "--raw", &path]).text())
    }

    /// Bytes of memory that the operator's container works with, as the kubelet measures it.
    pub async fn operator_memory_bytes(&self) -> u64 {
        let pods = self.operator_pods().await;
        let pod = pods.first().expect("there is an operator");
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let path = format!(
            "/api/v1/nodes/{}/proxy/stats/summary",
            node.expect("it runs on a node")
        );
        self.eventually("the kubelet knows the operator's memory", async || {
            let summary = kubectl(&["get", "--raw", &path]).text();
            let summary: serde_json::Value = serde_json::from_str(&summary).ok()?;
            let mut pods = summary["pods"].as_array()?.iter();
            let found = pods.find(|other| other["podRef"]["name"] == pod.name_any().as_str())?;
            found["containers"][0]["memory"]["workingSetBytes"].as_u64()
        })
        .await
    }
}

impl Counters {
    fn parse(text: &str) -> Counters {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Counters(pairs.collect())
    }

    /// The sum of a counter over the label sets that hold all of `labels`, such as
    /// `kind="Topic"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.select(name, |set| labels.iter().all(|label| set.contains(label)))
    }

    /// Writes to the API server, but for the Lease by which operators elect one.
    pub fn writes(&self) -> f64 {
        let reads = ["method=\"GET\"", "resource=\"leases\""];
        self.select("headwater_operator_kubernetes_requests_total", |set| {
            !reads.iter().any(|label| set.contains(label))
        })
    }

    fn select(&self, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
        let chosen = self.0.iter().filter(|(key, _)| {
            let (family, labels) = key.split_once('{').unwrap_or((key, ""));
            family == name && wanted(labels)
        });
        chosen.map(|(_, value)| value).sum()
    }

    /// What was counted by name and labels since `before`, in the order of the names.
    pub fn since(&self, before: &Counters) -> Vec<(String, f64)> {
        let grown = self.0.iter().filter_map(|(name, value)| {
            let old = before.0.get(name).copied().unwrap_or_default();
            (*value != old).then(|| (name.clone(), value - old))
        });
        grown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_and_reads_are_no_writes() {
        let counters = Counters::parse(
            "# TYPE headwater_operator_kubernetes_requests counter\n\
             headwater_operator_kubernetes_requests_total{method=\"GET\",resource=\"pods\"} 7\n\
             headwater_operator_kubernetes_requests_total{method=\"PUT\",resource=\"leases\"} 5\n\
             headwater_operator_kubernetes_requests_total{method=\"PATCH\",resource=\"topics\"} 3\n",
        );
        assert_eq!(counters.writes(), 3.0);
        let name = "headwater_operator_kubernetes_requests_total";
        assert_eq!(counters.sum(name, &["resource=\"pods\""]), 7.0);
        assert_eq!(counters.sum(name, &[]), 15.0);
    }
}
