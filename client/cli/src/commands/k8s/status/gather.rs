//! Asks Kubernetes, and the brokers themselves.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use headwater_client::Client;
use headwater_crds::{Cluster, Topic};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::view::ClusterView;
use crate::commands::cluster::HealthView;
use crate::failure::{Failure, Outcome};
use crate::kubernetes::brokers::{BROKER_LABELS, Brokers};
use crate::kubernetes::forward::{Forward, News};
use crate::kubernetes::lease::{Operator, operators};
use crate::kubernetes::{Kubernetes, Refusal};
use crate::session::Session;

/// What Kubernetes says.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) clusters: Vec<Cluster>,
    /// Of all namespaces that may be read.
    pub(super) topics: Vec<Topic>,
    /// The broker pods of the clusters' namespaces.
    pub(super) pods: Vec<Pod>,
    /// All claims of the clusters' namespaces.
    pub(super) claims: Vec<PersistentVolumeClaim>,
    /// All warnings of the clusters' namespaces.
    pub(super) events: Vec<Event>,
    /// `None` if Leases may not be read.
    pub(super) operators: Option<Vec<Operator>>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

impl Findings {
    /// What was read, or nothing and a note.
    fn read<T>(&mut self, what: &str, read: Result<Vec<T>, Refusal>) -> Vec<T> {
        read.unwrap_or_else(|refusal| {
            let Failure {
                what: failed, why, ..
            } = refusal.failure;
            let why = why.unwrap_or(failed);
            self.unread.push(format!("{what} could not be read: {why}"));
            Vec::new()
        })
    }
}

/// Everything about the clusters. What cannot be read is noted.
pub(super) async fn gather(kubernetes: &Kubernetes, clusters: Vec<Cluster>) -> Findings {
    let mut namespaces: Vec<_> = clusters
        .iter()
        .filter_map(|cluster| cluster.namespace())
        .collect();
    namespaces.sort();
    namespaces.dedup();
    let mut findings = Findings {
        clusters,
        operators: operators(kubernetes).await.ok(),
        ..Findings::default()
    };
    let all = ListParams::default();
    let everywhere = kubernetes.list::<Topic>("Topics", None, &all).await;
    let topics_by_namespace = everywhere.is_err();
    findings.topics = findings.read("Topics of all namespaces", everywhere);
    for namespace in &namespaces {
        let place = Some(namespace.as_str());
        let brokers = ListParams::default().labels(BROKER_LABELS);
        let warnings = ListParams::default().fields("type=Warning");
        let (pods, claims, events) = futures::join!(
            kubernetes.list("pods", place, &brokers),
            kubernetes.list("volume claims", place, &all),
            kubernetes.list("events", place, &warnings),
        );
        let named = |what: &str| format!("{what} of namespace {namespace}");
        let pods = findings.read(&named("pods"), pods);
        findings.pods.extend(pods);
        let claims = findings.read(&named("volume claims"), claims);
        findings.claims.extend(claims);
        let events = findings.read(&named("events"), events);
        findings.events.extend(events);
        if topics_by_namespace {
            let topics = kubernetes.list("Topics", place, &all).await;
            let topics = findings.read(&named("Topics"), topics);
            findings.topics.extend(topics);
        }
    }
    findings
}

/// Asks a ready broker of each cluster what it finds wrong.
pub(super) async fn health(
    kubernetes: &Kubernetes,
    session: &Session,
    clusters: &mut [ClusterView],
) {
    let questions = clusters.iter_mut().map(async |cluster| {
        let brokers = Brokers {
            kubernetes: kubernetes.clone(),
            namespace: cluster.namespace.clone(),
            cluster: cluster.name.clone(),
        };
        match ask(brokers, session).await {
            Ok(health) => cluster.health = Some(health),
            Err(failure) => {
                let why = failure.why.map(|why| format!(": {why}"));
                let text = failure.what + &why.unwrap_or_default();
                cluster.health_unknown = Some(text.replace('\n', "; "));
            }
        }
    });
    join_all(questions).await;
}

async fn ask(brokers: Brokers, session: &Session) -> Outcome<HealthView> {
    let trouble = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&trouble);
    let tell = move |news: News| {
        if let Some(text) = news.trouble() {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
    };
    let tunnel = Forward::to_clients(brokers, tell).await?;
    let config = session.client_config(&tunnel.address().to_string());
    let doing = "ask a broker";
    let answer = async {
        let client = Client::connect(config).await?;
        client.admin().health().await
    };
    let health = answer.await.map_err(|error| {
        let failure = Failure::from_client(doing, &error);
        // What the tunnel says is nearer to the cause.
        let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble.clone() {
            Some(trouble) => failure.why(trouble),
            None => failure,
        }
    })?;
    Ok(HealthView::from(health))
}
