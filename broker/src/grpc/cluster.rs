//! `ClusterService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use headwater_core::metadata::Image;
use headwater_proto::v1;
use headwater_proto::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use super::{Service, convert};
use crate::auth::Principal;
use crate::error::BrokerError;
use crate::facade::{Broker, Finding, Severity};
use crate::limits::{MESSAGE_BYTES_MAX, REQUEST_PARTITIONS_MAX};

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_cluster(
        &self,
        _: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let image = self.broker.image();
        let identity = &self.broker.identity;
        let partitions: usize = image.topics().map(|topic| topic.partitions.len()).sum();
        Ok(Response::new(v1::GetClusterResponse {
            cluster_id: identity.cluster_id.to_string(),
            broker_id: identity.broker_id.0 as i32,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata_revision: image.revision().0 as i64,
            feature_level: image.feature_level() as i32,
            default_namespace: self.broker.settings.default_namespace.clone(),
            batch_bytes_max: MESSAGE_BYTES_MAX as i64,
            topics: image.topics().count() as i32,
            partitions: partitions as i32,
            brokers: image.brokers().count() as i32,
        }))
    }

    async fn list_brokers(
        &self,
        _: Request<v1::ListBrokersRequest>,
    ) -> Result<Response<v1::ListBrokersResponse>, Status> {
        let brokers = brokers(&self.broker, &self.broker.image());
        Ok(Response::new(v1::ListBrokersResponse { brokers }))
    }

    async fn get_metadata(
        &self,
        request: Request<v1::GetMetadataRequest>,
    ) -> Result<Response<v1::GetMetadataResponse>, Status> {
        let principal = self.principal(&request);
        let topics = request.into_inner().topics;
        let metadata = Some(metadata(&self.broker, &principal, &topics)?);
        Ok(Response::new(v1::GetMetadataResponse { metadata }))
    }

    type WatchMetadataStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchMetadataResponse, Status>> + Send>>;

    async fn watch_metadata(
        &self,
        request: Request<v1::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        let principal = self.principal(&request);
        let topics = request.into_inner().topics;
        check_topics(&topics)?;
        let mut changes = self.broker.metadata.watch();
        changes.mark_changed();
        let state = (self.broker.clone(), changes, self.broker.draining());
        let stream = futures::stream::unfold(state, move |(broker, mut changes, mut draining)| {
            let (principal, topics) = (principal.clone(), topics.clone());
            async move {
                tokio::select! {
                    changed = changes.changed() => changed.ok()?,
                    _ = draining.wait_for(|draining| *draining) => return None,
                }
                let response = metadata(&broker, &principal, &topics)
                    .map(|metadata| v1::WatchMetadataResponse {
                        metadata: Some(metadata),
                    })
                    .map_err(Status::from);
                Some((response, (broker, changes, draining)))
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_health(
        &self,
        _: Request<v1::GetHealthRequest>,
    ) -> Result<Response<v1::GetHealthResponse>, Status> {
        let findings = self.broker.health();
        let healthy = findings
            .iter()
            .all(|finding| finding.severity < Severity::Critical);
        let findings = findings.into_iter().map(finding_to_wire).collect();
        Ok(Response::new(v1::GetHealthResponse { healthy, findings }))
    }
}

fn finding_to_wire(finding: Finding) -> v1::Finding {
    let severity = match finding.severity {
        Severity::Info => v1::Severity::Info,
        Severity::Warning => v1::Severity::Warning,
        Severity::Critical => v1::Severity::Critical,
    };
    v1::Finding {
        severity: severity.into(),
        reason: finding.reason.to_owned(),
        subject: finding.subject,
        message: finding.message,
        remedy: finding.remedy,
    }
}

fn check_topics(topics: &[String]) -> Result<(), BrokerError> {
    if topics.is_empty() || topics.len() <= REQUEST_PARTITIONS_MAX {
        return Ok(());
    }
    convert::check_count("topics", topics.len())
}

fn brokers(broker: &Broker, image: &Image) -> Vec<v1::Broker> {
    let own = broker.identity.broker_id;
    let space = broker.storage.space();
    let to_wire = |registered: &headwater_core::metadata::Broker| {
        let is_own = registered.id == own;
        let leaders = image
            .topics()
            .flat_map(|topic| &topic.partitions)
            .filter(|partition| partition.leader == Some(registered.id))
            .count();
        v1::Broker {
            broker_id: registered.id.0 as i32,
            address: if is_own {
                broker.advertised.clone()
            } else {
                String::new()
            },
            broker_epoch: registered.epoch.0 as i64,
            storage_id: registered.storage.to_string(),
            version: registered.version.clone(),
            leaders: leaders as i32,
            disk_total_bytes: is_own.then_some(space.total_bytes as i64),
            disk_free_bytes: is_own.then_some(space.free_bytes as i64),
        }
    };
    image.brokers().map(to_wire).collect()
}

fn metadata(
    broker: &Arc<Broker>,
    principal: &Principal,
    topics: &[String],
) -> Result<v1::Metadata, BrokerError> {
    check_topics(topics)?;
    let image = broker.image();
    let mut metadata = v1::Metadata {
        cluster_id: broker.identity.cluster_id.to_string(),
        revision: image.revision().0 as i64,
        brokers: brokers(broker, &image),
        ..Default::default()
    };
    if topics.is_empty() {
        let visible = image
            .topics()
            .filter(|topic| broker.may_describe(principal, &topic.name));
        metadata.topics = visible.map(|topic| topic_to_wire(broker, topic)).collect();
        return Ok(metadata);
    }
    for name in topics {
        match broker.get_topic(principal, name) {
            Ok(topic) => metadata.topics.push(topic_to_wire(broker, &topic)),
            Err(BrokerError::TopicNotFound { topic, .. }) => metadata.missing_topics.push(topic),
            Err(error) => return Err(error),
        }
    }
    Ok(metadata)
}

fn topic_to_wire(broker: &Broker, topic: &headwater_core::metadata::Topic) -> v1::TopicMetadata {
    let partition =
        |(index, partition): (usize, &headwater_core::metadata::Partition)| v1::PartitionMetadata {
            partition: index as i32,
            leader: partition.leader.map_or(-1, |leader| leader.0 as i32),
            leader_epoch: partition.leader_epoch.0 as i32,
        };
    v1::TopicMetadata {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partitions: topic.partitions.iter().enumerate().map(partition).collect(),
        message_bytes_max: broker.effective(topic).message_bytes_max as i64,
        revision: topic.revision.0 as i64,
    }
}
