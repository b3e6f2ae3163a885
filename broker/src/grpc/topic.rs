//! `TopicService`.

use headwater_core::ids::BrokerId;
use headwater_core::metadata::{Durability, Retention, Topic, TopicConfig};
use headwater_proto::v1;
use headwater_proto::v1::topic_service_server::TopicService;
use headwater_record::Offset;
use tonic::{Request, Response, Status};

use super::{Service, convert, status};
use crate::auth::Action;
use crate::error::BrokerError;
use crate::facade::{Broker, SETTINGS, TopicChange, TopicPlan};
use crate::limits::LIST_PAGE_SIZE_MAX;

#[tonic::async_trait]
impl TopicService for Service {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let principal = self.principal(&request);
        let request = request.into_inner();
        let plan = plan(request.topic)?;
        let topic = self
            .broker
            .create_topic(&principal, plan, request.validate_only)
            .await?;
        let topic = Some(to_wire(&self.broker, &topic));
        Ok(Response::new(v1::CreateTopicResponse { topic }))
    }

    async fn get_topic(
        &self,
        request: Request<v1::GetTopicRequest>,
    ) -> Result<Response<v1::GetTopicResponse>, Status> {
        let principal = self.principal(&request);
        let topic = self
            .broker
            .get_topic(&principal, &request.into_inner().name)?;
        let topic = Some(to_wire(&self.broker, &topic));
        Ok(Response::new(v1::GetTopicResponse { topic }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let principal = self.principal(&request);
        let v1::ListTopicsRequest {
            namespace,
            page_size,
            page_token,
        } = request.into_inner();
        let size = convert::size("page_size", page_size, LIST_PAGE_SIZE_MAX)?;
        let size = size.min(LIST_PAGE_SIZE_MAX);
        let mut topics = self
            .broker
            .list_topics(&principal, &namespace, &page_token, size + 1);
        let more = topics.len() > size;
        topics.truncate(size);
        let next_page_token = match topics.last() {
            Some(last) if more => last.name.to_string(),
            _ => String::new(),
        };
        let topics = topics
            .iter()
            .map(|topic| to_wire(&self.broker, topic))
            .collect();
        Ok(Response::new(v1::ListTopicsResponse {
            topics,
            next_page_token,
        }))
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        let principal = self.principal(&request);
        let request = request.into_inner();
        let change = change(request.topic, request.update_mask)?;
        let topic = self
            .broker
            .update_topic(&principal, change, request.validate_only)
            .await?;
        let topic = Some(to_wire(&self.broker, &topic));
        Ok(Response::new(v1::UpdateTopicResponse { topic }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let principal = self.principal(&request);
        let v1::DeleteTopicRequest { name, topic_id } = request.into_inner();
        self.broker
            .delete_topic(&principal, &name, &topic_id)
            .await?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn list_partitions(
        &self,
        request: Request<v1::ListPartitionsRequest>,
    ) -> Result<Response<v1::ListPartitionsResponse>, Status> {
        let principal = self.principal(&request);
        let name = request.into_inner().topic;
        let topic = self.broker.get_topic(&principal, &name)?;
        let partition = |index: usize| partition_to_wire(&self.broker, &topic, index);
        let partitions = (0..topic.partitions.len()).map(partition).collect();
        Ok(Response::new(v1::ListPartitionsResponse { partitions }))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let principal = self.principal(&request);
        let v1::ListOffsetsRequest { topic, partitions } = request.into_inner();
        convert::check_count("partitions", partitions.len())?;
        let indexes: Vec<i32> = partitions
            .iter()
            .map(|question| question.partition)
            .collect();
        let question = |question: v1::ListOffsetsPartition| {
            let position = convert::position(question.position)?;
            let index = question.partition;
            Ok((
                self.broker
                    .partition(&principal, Action::Describe, &topic, index)?,
                position,
            ))
        };
        self.broker.get_topic(&principal, &topic)?;
        let resolved = self
            .broker
            .resolve(partitions.into_iter().map(question).collect())
            .await;
        let answer = |(resolved, partition): (Result<_, BrokerError>, i32)| match resolved {
            Ok(crate::partition::read::Resolved {
                offset,
                timestamp_ms,
                bounds,
            }) => v1::PartitionOffset {
                partition,
                offset: offset.to_i64(),
                timestamp_ms,
                leader_epoch: bounds.leader_epoch.0 as i32,
                error: None,
            },
            Err(error) => v1::PartitionOffset {
                partition,
                offset: -1,
                error: Some(status::entry(&error)),
                ..Default::default()
            },
        };
        let offsets = resolved.into_iter().zip(indexes).map(answer).collect();
        Ok(Response::new(v1::ListOffsetsResponse { offsets }))
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        let principal = self.principal(&request);
        let v1::DeleteRecordsRequest { topic, partitions } = request.into_inner();
        convert::check_count("partitions", partitions.len())?;
        self.broker.get_topic(&principal, &topic)?;
        let mut answers = Vec::with_capacity(partitions.len());
        for v1::DeleteRecordsPartition {
            partition,
            before_offset,
        } in partitions
        {
            let deleted = match before(before_offset) {
                Ok(before) => {
                    self.broker
                        .delete_records(&principal, &topic, partition, before)
                        .await
                }
                Err(error) => Err(error),
            };
            answers.push(match deleted {
                Ok(start) => v1::DeletedRecords {
                    partition,
                    log_start_offset: start.to_i64(),
                    error: None,
                },
                Err(error) => v1::DeletedRecords {
                    partition,
                    log_start_offset: -1,
                    error: Some(status::entry(&error)),
                },
            });
        }
        Ok(Response::new(v1::DeleteRecordsResponse {
            partitions: answers,
        }))
    }
}

fn before(offset: i64) -> Result<Option<Offset>, BrokerError> {
    match (offset, Offset::from_i64(offset)) {
        (-1, _) => Ok(None),
        (_, Some(offset)) => Ok(Some(offset)),
        _ => {
            let message = format!("{offset} is negative; -1 is the high watermark");
            Err(BrokerError::invalid("partitions.before_offset", message))
        }
    }
}

fn plan(topic: Option<v1::Topic>) -> Result<TopicPlan, BrokerError> {
    let Some(topic) = topic else {
        return Err(BrokerError::invalid("topic", "required"));
    };
    let set_by_cluster = [
        (!topic.topic_id.is_empty(), "topic.topic_id"),
        (topic.effective_config.is_some(), "topic.effective_config"),
        (topic.revision != 0, "topic.revision"),
        (topic.create_time_ms != 0, "topic.create_time_ms"),
    ];
    if let Some((_, field)) = set_by_cluster.into_iter().find(|(given, _)| *given) {
        return Err(BrokerError::invalid(
            field,
            "set by the cluster; leave it out",
        ));
    }
    Ok(TopicPlan {
        partitions: count("topic.partitions", topic.partitions)?,
        replication_factor: count("topic.replication_factor", topic.replication_factor)?,
        config: config(topic.config.unwrap_or_default())?,
        name: topic.name,
    })
}

/// A count; 0 is "not said".
fn count(field: &str, value: i32) -> Result<Option<u32>, BrokerError> {
    match u32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(BrokerError::invalid(field, format!("{value} is negative"))),
    }
}

fn change(
    topic: Option<v1::Topic>,
    mask: Option<prost_types::FieldMask>,
) -> Result<TopicChange, BrokerError> {
    let Some(topic) = topic else {
        return Err(BrokerError::invalid("topic", "required"));
    };
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    let partitions = count("topic.partitions", topic.partitions)?;
    let named = |path: &str| paths.is_empty() || paths.iter().any(|named| named == path);
    let known = |path: &&String| match path.split_once('.') {
        Some(("config", setting)) => SETTINGS.contains(&setting),
        Some(_) => false,
        None => *path == "partitions" || *path == "config",
    };
    if let Some(path) = paths.iter().find(|path| !known(path)) {
        let message = format!(
            "{path} cannot be changed; known are partitions, config and config. followed by one of {}",
            SETTINGS.join(", ")
        );
        return Err(BrokerError::invalid("update_mask", message));
    }
    let settings = SETTINGS.into_iter().filter(|setting| {
        paths
            .iter()
            .any(|path| path == "config" || path.strip_prefix("config.") == Some(setting))
    });
    Ok(TopicChange {
        name: topic.name,
        revision: u64::try_from(topic.revision)
            .ok()
            .filter(|revision| *revision > 0),
        partitions: partitions.filter(|_| named("partitions")),
        config: config(topic.config.unwrap_or_default())?,
        settings: (!paths.is_empty()).then(|| settings.collect()),
    })
}

fn config(config: v1::TopicConfig) -> Result<TopicConfig, BrokerError> {
    let retention = |field, given| {
        let allowed = "give a positive number, or -1 to keep everything";
        convert::retention(field, given, allowed)
    };
    let local_retention = |field, given| {
        let allowed = "give a positive number, 0 to drop local copies as soon as they are in the \
                       tier, or -1 to keep them as long as the records";
        convert::retention(field, given, allowed)
    };
    let durability = match config.durability.map(v1::Durability::try_from) {
        None | Some(Ok(v1::Durability::Unspecified)) => None,
        Some(Ok(v1::Durability::Fsync)) => Some(Durability::Fsync),
        Some(Ok(v1::Durability::Replicated)) => Some(Durability::Replicated),
        Some(Err(_)) => {
            return Err(BrokerError::invalid(
                "config.durability",
                "it is none of 0 to 2",
            ));
        }
    };
    Ok(TopicConfig {
        retention_ms: retention("config.retention_ms", config.retention_ms)?,
        retention_bytes: retention("config.retention_bytes", config.retention_bytes)?,
        segment_bytes: positive("segment_bytes", config.segment_bytes)?,
        segment_ms: positive("segment_ms", config.segment_ms)?,
        durability,
        compression: convert::compression(config.compression.unwrap_or_default())?,
        message_bytes_max: positive("message_bytes_max", config.message_bytes_max)?,
        timestamp_ahead_ms_max: positive("timestamp_ahead_ms_max", config.timestamp_ahead_ms_max)?,
        min_in_sync_replicas: positive("min_in_sync_replicas", config.min_in_sync_replicas)?,
        tiering: config.tiering,
        local_retention_ms: local_retention(
            "config.local_retention_ms",
            config.local_retention_ms,
        )?,
        local_retention_bytes: local_retention(
            "config.local_retention_bytes",
            config.local_retention_bytes,
        )?,
    })
}

fn positive<Wire, Own>(field: &str, given: Option<Wire>) -> Result<Option<Own>, BrokerError>
where
    Wire: Copy + std::fmt::Display,
    Own: TryFrom<Wire>,
{
    let parse = |value| {
        Own::try_from(value).map_err(|_| {
            BrokerError::invalid(format!("config.{field}"), format!("{value} is negative"))
        })
    };
    given.map(parse).transpose()
}

fn to_wire(broker: &Broker, topic: &Topic) -> v1::Topic {
    let replicas = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len());
    let effective = broker.effective(topic);
    v1::Topic {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partitions: topic.partitions.len() as i32,
        replication_factor: replicas as i32,
        config: Some(config_to_wire(&topic.config)),
        effective_config: Some(config_to_wire(&TopicConfig {
            retention_ms: Some(effective.retention_ms),
            retention_bytes: Some(effective.retention_bytes),
            segment_bytes: Some(effective.segment_bytes),
            segment_ms: Some(effective.segment_ms),
            durability: Some(effective.durability),
            compression: Some(effective.compression),
            message_bytes_max: Some(effective.message_bytes_max),
            timestamp_ahead_ms_max: Some(effective.timestamp_ahead_ms_max),
            min_in_sync_replicas: Some(effective.min_in_sync_replicas),
            tiering: Some(effective.tiering),
            local_retention_ms: Some(effective.local_retention_ms),
            local_retention_bytes: Some(effective.local_retention_bytes),
        })),
        revision: topic.revision.0 as i64,
        create_time_ms: topic.create_time_ms,
    }
}

fn config_to_wire(config: &TopicConfig) -> v1::TopicConfig {
    let durability = |durability| match durability {
        Durability::Fsync => v1::Durability::Fsync.into(),
        Durability::Replicated => v1::Durability::Replicated.into(),
    };
    v1::TopicConfig {
        retention_ms: config.retention_ms.map(Retention::to_i64),
        retention_bytes: config.retention_bytes.map(Retention::to_i64),
        segment_bytes: config.segment_bytes.map(|value| value as i64),
        segment_ms: config.segment_ms.map(|value| value as i64),
        durability: config.durability.map(durability),
        compression: config
            .compression
            .map(|value| convert::compression_to_wire(value).into()),
        message_bytes_max: config.message_bytes_max.map(|value| value as i32),
        timestamp_ahead_ms_max: config.timestamp_ahead_ms_max.map(|value| value as i64),
        min_in_sync_replicas: config.min_in_sync_replicas.map(|value| value as i32),
        tiering: config.tiering,
        local_retention_ms: config.local_retention_ms.map(Retention::to_i64),
        local_retention_bytes: config.local_retention_bytes.map(Retention::to_i64),
    }
}

fn partition_to_wire(broker: &Broker, topic: &Topic, index: usize) -> v1::Partition {
    let partition = &topic.partitions[index];
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0 as i32).collect();
    let mut wire = v1::Partition {
        topic: topic.name.to_string(),
        partition: index as i32,
        leader: partition.leader.map_or(-1, |leader| leader.0 as i32),
        leader_epoch: partition.leader_epoch.0 as i32,
        replicas: ids(&partition.replicas),
        in_sync_replicas: ids(&partition.isr),
        ..Default::default()
    };
    if let Some(published) = broker.published(topic, index) {
        wire.log_start_offset = published.view.log_start().to_i64();
        wire.high_watermark = published.high_watermark.to_i64();
        wire.log_end_offset = published.view.end().to_i64();
        wire.synced_end_offset = published.synced_end.to_i64();
        wire.size_bytes = published.size_bytes as i64;
        wire.segments = published.segments as i32;
    }
    wire
}
