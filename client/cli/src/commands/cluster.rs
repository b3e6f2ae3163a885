//! `headwater cluster`.

use headwater_client::Error;
use headwater_client::types::{Broker, Finding, GetClusterResponse, GetHealthResponse, Severity};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Answer, OutputArgs, columns, facts, print};
use crate::session::Session;
use crate::units::{show_bytes, show_many};

/// Show the cluster and what is wrong with it
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Who the cluster is, and its bounds
    Info(#[command(flatten)] OutputArgs),
    /// What is wrong, why, and what to do; exit code 1 if anything is critical
    Health(#[command(flatten)] OutputArgs),
    /// The brokers
    Brokers(#[command(flatten)] OutputArgs),
}

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let doing = "ask the cluster";
    let (admin, target) = session.admin(doing).await?;
    let failed = |error: Error| Failure::from_client(doing, &error);
    match command {
        Command::Info(args) => {
            let cluster = admin.cluster().await.map_err(failed)?;
            print(
                args.output,
                &ClusterView::new(cluster, target.place.to_string()),
            )
        }
        Command::Brokers(args) => {
            let brokers = admin.brokers().await.map_err(failed)?;
            let brokers = brokers.into_iter().map(BrokerView::from).collect();
            print(args.output, &BrokerList { brokers })
        }
        Command::Health(args) => {
            let health = HealthView::from(admin.health().await.map_err(failed)?);
            print(args.output, &health)?;
            match health.healthy {
                true => Ok(()),
                false => Err(Failure::new("the cluster is not healthy")
                    .why("at least one finding is critical")
                    .fix("see the remedies above")),
            }
        }
    }
}

#[derive(Serialize)]
struct ClusterView {
    cluster_id: String,
    broker_id: i32,
    version: String,
    metadata_revision: i64,
    feature_level: i32,
    default_namespace: String,
    batch_bytes_max: i64,
    topics: i32,
    partitions: i32,
    brokers: i32,
    #[serde(skip)]
    endpoint: String,
}

impl ClusterView {
    fn new(cluster: GetClusterResponse, endpoint: String) -> ClusterView {
        ClusterView {
            cluster_id: cluster.cluster_id,
            broker_id: cluster.broker_id,
            version: cluster.version,
            metadata_revision: cluster.metadata_revision,
            feature_level: cluster.feature_level,
            default_namespace: cluster.default_namespace,
            batch_bytes_max: cluster.batch_bytes_max,
            topics: cluster.topics,
            partitions: cluster.partitions,
            brokers: cluster.brokers,
            endpoint,
        }
    }
}

impl Answer for ClusterView {
    fn table(&self) -> String {
        facts(&[
            ("cluster", self.cluster_id.clone()),
            (
                "endpoint",
                format!("{} (broker {})", self.endpoint, self.broker_id),
            ),
            (
                "version",
                format!("{} (feature level {})", self.version, self.feature_level),
            ),
            ("brokers", self.brokers.to_string()),
            (
                "topics",
                format!(
                    "{} with {}",
                    self.topics,
                    show_many(self.partitions, "partition")
                ),
            ),
            (
                "namespace",
                format!("{} (of bare names)", self.default_namespace),
            ),
            (
                "largest batch",
                show_bytes(u64::try_from(self.batch_bytes_max).unwrap_or(0)),
            ),
            ("metadata", format!("revision {}", self.metadata_revision)),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.cluster_id.clone()]
    }
}

#[derive(Serialize)]
struct BrokerList {
    brokers: Vec<BrokerView>,
}

#[derive(Serialize)]
struct BrokerView {
    broker_id: i32,
    address: String,
    broker_epoch: i64,
    storage_id: String,
    version: String,
    leaders: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_total_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_free_bytes: Option<i64>,
}

impl From<Broker> for BrokerView {
    fn from(broker: Broker) -> BrokerView {
        BrokerView {
            broker_id: broker.broker_id,
            address: broker.address,
            broker_epoch: broker.broker_epoch,
            storage_id: broker.storage_id,
            version: broker.version,
            leaders: broker.leaders,
            disk_total_bytes: broker.disk_total_bytes,
            disk_free_bytes: broker.disk_free_bytes,
        }
    }
}

impl Answer for BrokerList {
    fn table(&self) -> String {
        let disk = |bytes: Option<i64>| {
            bytes
                .and_then(|bytes| u64::try_from(bytes).ok())
                .map(show_bytes)
                .unwrap_or_default()
        };
        let row = |broker: &BrokerView| {
            vec![
                broker.broker_id.to_string(),
                broker.address.clone(),
                broker.version.clone(),
                broker.leaders.to_string(),
                disk(broker.disk_free_bytes),
                disk(broker.disk_total_bytes),
            ]
        };
        let header = [
            "broker",
            "address",
            "version",
            "leaders",
            "disk free",
            "disk",
        ];
        columns(&header, &[0, 3, 4, 5], self.brokers.iter().map(row))
    }

    fn names(&self) -> Vec<String> {
        self.brokers
            .iter()
            .map(|broker| broker.broker_id.to_string())
            .collect()
    }
}

/// What is wrong with a cluster, as it says itself.
#[derive(Debug, Serialize)]
pub(crate) struct HealthView {
    /// Whether nothing is critical.
    pub(crate) healthy: bool,
    findings: Vec<FindingView>,
}

#[derive(Debug, Serialize)]
struct FindingView {
    severity: &'static str,
    reason: String,
    subject: String,
    message: String,
    remedy: String,
}

impl From<GetHealthResponse> for HealthView {
    fn from(health: GetHealthResponse) -> HealthView {
        let finding = |finding: Finding| FindingView {
            severity: match finding.severity() {
                Severity::Critical => "critical",
                Severity::Warning => "warning",
                Severity::Info => "info",
                Severity::Unspecified => "unknown",
            },
            reason: finding.reason,
            subject: finding.subject,
            message: finding.message,
            remedy: finding.remedy,
        };
        let findings = health.findings.into_iter().map(finding).collect();
        HealthView {
            healthy: health.healthy,
            findings,
        }
    }
}

impl Answer for HealthView {
    fn table(&self) -> String {
        let mut text = match (self.healthy, self.findings.len()) {
            (true, 0) => "✓ healthy: nothing to report".to_owned(),
            (true, _) => "✓ healthy".to_owned(),
            (false, _) => "✗ not healthy".to_owned(),
        };
        for finding in &self.findings {
            let FindingView {
                severity,
                reason,
                subject,
                message,
                remedy,
            } = finding;
            text.push_str(&format!(
                "\n\n{severity}: {subject} ({reason})\n  why: {message}"
            ));
            if !remedy.is_empty() {
                text.push_str(&format!("\n  fix: {remedy}"));
            }
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.findings
            .iter()
            .map(|finding| finding.reason.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_why_and_the_remedy() {
        let finding = FindingView {
            severity: "critical",
            reason: "STORAGE_FULL".into(),
            subject: "broker 1".into(),
            message: "the disk is full".into(),
            remedy: "free some space".into(),
        };
        let health = HealthView {
            healthy: false,
            findings: vec![finding],
        };
        assert_eq!(
            health.table(),
            "✗ not healthy\n\ncritical: broker 1 (STORAGE_FULL)\n  why: the disk is full\n  \
             fix: free some space"
        );
    }
}
