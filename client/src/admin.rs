//! Topics, the cluster and the tier.

use futures::{Stream, StreamExt};
use headwater_proto::v1;
use tonic::{Response, Status};

use crate::error::Error;
use crate::record::Position;
use crate::transport::Transport;
use crate::types::{
    Broker, DeletedRecords, GetClusterResponse, GetHealthResponse, GetTierStatusResponse, Metadata,
    Partition, PartitionOffset, TierEvent, Topic, TopicConfig,
};

/// Administers topics and describes the cluster. Cheap to clone. Every call fails with
/// [`Error::Broker`] if the broker refuses, and as [`Client`](crate::Client) says if it does not
/// answer; nothing is retried.
#[derive(Clone, Debug)]
pub struct Admin {
    transport: Transport,
}

impl Admin {
    pub(crate) fn new(transport: Transport) -> Admin {
        Admin { transport }
    }

    /// Creates a topic with the cluster's replication factor and, where `config` is absent, the
    /// broker's defaults. With `validate_only` everything is checked and nothing created.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        config: TopicConfig,
        validate_only: bool,
    ) -> Result<Topic, Error> {
        let topic = Topic {
            name: name.to_owned(),
            partitions: partition_number(partitions),
            config: Some(config),
            ..Topic::default()
        };
        let request = v1::CreateTopicRequest {
            topic: Some(topic),
            validate_only,
        };
        let request = self.transport.unary(request);
        let answer = self.answer(self.transport.topic_service().create_topic(request).await)?;
        present(answer.topic, "CreateTopicResponse.topic")
    }

    /// One topic by name.
    pub async fn get_topic(&self, name: &str) -> Result<Topic, Error> {
        let request = self.transport.unary(v1::GetTopicRequest {
            name: name.to_owned(),
        });
        let answer = self.answer(self.transport.topic_service().get_topic(request).await)?;
        present(answer.topic, "GetTopicResponse.topic")
    }

    /// All topics by name, of one namespace or (`None`) of all.
    pub async fn list_topics(&self, namespace: Option<&str>) -> Result<Vec<Topic>, Error> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = self.transport.unary(v1::ListTopicsRequest {
                namespace: namespace.unwrap_or_default().to_owned(),
                page_size: 0,
                page_token: page_token.clone(),
            });
            let answer = self.answer(self.transport.topic_service().list_topics(request).await)?;
            topics.extend(answer.topics);
            if answer.next_page_token.is_empty() {
                return Ok(topics);
            }
            if answer.next_page_token == page_token {
                return Err(Error::protocol(
                    "the same page of topics comes again and again",
                ));
            }
            page_token = answer.next_page_token;
        }
    }

    /// Changes a topic: what `paths` names (such as `config.retention_ms`) becomes as in `topic`,
    /// and returns to the default where it is absent there. Without paths: every field that is
    /// set in `topic`. A non-zero `topic.revision` makes the change conditional.
    pub async fn update_topic(
        &self,
        topic: Topic,
        paths: &[&str],
        validate_only: bool,
    ) -> Result<Topic, Error> {
        let paths = paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>();
        let request = self.transport.unary(v1::UpdateTopicRequest {
            topic: Some(topic),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            validate_only,
        });
        let answer = self.answer(self.transport.topic_service().update_topic(request).await)?;
        present(answer.topic, "UpdateTopicResponse.topic")
    }

    /// Deletes a topic and its records; there is no way back. With `topic_id` only if it is that
    /// very topic.
    pub async fn delete_topic(&self, name: &str, topic_id: Option<&str>) -> Result<(), Error> {
        let request = self.transport.unary(v1::DeleteTopicRequest {
            name: name.to_owned(),
            topic_id: topic_id.unwrap_or_default().to_owned(),
        });
        self.answer(self.transport.topic_service().delete_topic(request).await)?;
        Ok(())
    }

    /// Grows a topic to `partitions` in all. Keys go to other partitions from then on.
    pub async fn add_partitions(&self, name: &str, partitions: u32) -> Result<Topic, Error> {
        let topic = Topic {
            name: name.to_owned(),
            partitions: partition_number(partitions),
            ..Topic::default()
        };
        self.update_topic(topic, &["partitions"], false).await
    }

    /// The partitions of a topic: leaders, replicas, offsets, sizes.
    pub async fn list_partitions(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        let request = self.transport.unary(v1::ListPartitionsRequest {
            topic: topic.to_owned(),
        });
        let answer = self
            .transport
            .topic_service()
            .list_partitions(request)
            .await;
        Ok(self.answer(answer)?.partitions)
    }

    /// Turns positions into offsets; answers come in the order of the questions, and each may
    /// hold an error of its own.
    pub async fn list_offsets(
        &self,
        topic: &str,
        questions: &[(u32, Position)],
    ) -> Result<Vec<PartitionOffset>, Error> {
        let partitions = questions
            .iter()
            .map(|(partition, position)| v1::ListOffsetsPartition {
                partition: partition_number(*partition),
                position: Some((*position).into()),
            });
        let request = self.transport.unary(v1::ListOffsetsRequest {
            topic: topic.to_owned(),
            partitions: partitions.collect(),
        });
        let answer = self.answer(self.transport.topic_service().list_offsets(request).await)?;
        if answer.offsets.len() != questions.len() {
            return Err(Error::protocol("ListOffsets left questions unanswered"));
        }
        Ok(answer.offsets)
    }

    /// Moves log starts forward to the given offsets, or to the high watermark (`None`). Answers
    /// come in the order of the request, and each may hold an error of its own.
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &[(u32, Option<u64>)],
    ) -> Result<Vec<DeletedRecords>, Error> {
        let partitions = before
            .iter()
            .map(|(partition, offset)| v1::DeleteRecordsPartition {
                partition: partition_number(*partition),
                before_offset: offset.map_or(-1, wire_offset),
            });
        let request = self.transport.unary(v1::DeleteRecordsRequest {
            topic: topic.to_owned(),
            partitions: partitions.collect(),
        });
        let answer = self.answer(self.transport.topic_service().delete_records(request).await)?;
        Ok(answer.partitions)
    }

    /// Who the cluster is, and the bounds that it sets.
    pub async fn cluster(&self) -> Result<GetClusterResponse, Error> {
        let request = self.transport.unary(v1::GetClusterRequest {});
        self.answer(self.transport.cluster_service().get_cluster(request).await)
    }

    /// The brokers, by id.
    pub async fn brokers(&self) -> Result<Vec<Broker>, Error> {
        let request = self.transport.unary(v1::ListBrokersRequest {});
        let answer = self.answer(self.transport.cluster_service().list_brokers(request).await)?;
        Ok(answer.brokers)
    }

    /// Who leads what, for these topics or (empty) for all.
    pub async fn metadata(&self, topics: &[&str]) -> Result<Metadata, Error> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let request = self.transport.unary(v1::GetMetadataRequest { topics });
        let answer = self.answer(self.transport.cluster_service().get_metadata(request).await)?;
        present(answer.metadata, "GetMetadataResponse.metadata")
    }

    /// The same, again after every change, until dropped.
    pub async fn watch_metadata(
        &self,
        topics: &[&str],
    ) -> Result<impl Stream<Item = Result<Metadata, Error>> + Send + use<>, Error> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let request = v1::WatchMetadataRequest { topics };
        let mut service = self.transport.cluster_service();
        let stream = self
            .transport
            .opening(service.watch_metadata(request))
            .await?
            .into_inner();
        let transport = self.transport.clone();
        Ok(stream.map(move |answer| {
            let answer = answer.map_err(|status| transport.error(status))?;
            present(answer.metadata, "WatchMetadataResponse.metadata")
        }))
    }

    /// What is wrong, why, and what to do.
    pub async fn health(&self) -> Result<GetHealthResponse, Error> {
        let request = self.transport.unary(v1::GetHealthRequest {});
        self.answer(self.transport.cluster_service().get_health(request).await)
    }

    /// The tier, and how far the partitions of these topics or (empty) of all are in it. A cluster
    /// without a tier answers without [`GetTierStatusResponse::tier`].
    pub async fn tier_status(&self, topics: &[&str]) -> Result<GetTierStatusResponse, Error> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let request = self.transport.unary(v1::GetTierStatusRequest { topics });
        self.answer(self.transport.tier_service().get_tier_status(request).await)
    }

    /// Compares what is in the tier with what should be there, for these topics or (empty) for
    /// all; with `checksums` every object is read whole. Ends after [`TierEvent::Summary`]; a
    /// stream that ends or fails before says nothing of what it has not come to.
    pub async fn verify_tier(
        &self,
        topics: &[&str],
        checksums: bool,
    ) -> Result<impl Stream<Item = Result<TierEvent, Error>> + Send + use<>, Error> {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let request = v1::VerifyTierRequest { topics, checksums };
        let mut service = self.transport.tier_service();
        let stream = self
            .transport
            .opening(service.verify_tier(request))
            .await?
            .into_inner();
        let transport = self.transport.clone();
        Ok(stream.map(move |answer| {
            let answer = answer.map_err(|status| transport.error(status))?;
            present(answer.event, "VerifyTierResponse.event")
        }))
    }

    fn answer<T>(&self, result: Result<Response<T>, Status>) -> Result<T, Error> {
        result
            .map(Response::into_inner)
            .map_err(|status| self.transport.error(status))
    }
}

/// A message that the contract promises.
fn present<T>(message: Option<T>, field: &str) -> Result<T, Error> {
    message.ok_or_else(|| Error::protocol(format!("{field} is absent")))
}

/// A partition's number, or a count of them, for the wire. What does not fit is larger than any
/// broker allows, and refused by it.
pub(crate) fn partition_number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// An offset for the wire; there is none above `i64::MAX`.
pub(crate) fn wire_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
