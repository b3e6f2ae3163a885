//! Topics and the cluster.

use futures::Stream;

use crate::error::Error;
use crate::record::Position;
use crate::types::{
    Broker, DeletedRecords, GetClusterResponse, GetHealthResponse, Metadata, Partition,
    PartitionOffset, Topic, TopicConfig,
};

/// Administers topics and describes the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {}

impl Admin {
    /// Creates a topic with the cluster's replication factor and, where `config` is absent, the
    /// broker's defaults. With `validate_only` everything is checked and nothing created.
    pub async fn create_topic(
        &self,
        _name: &str,
        _partitions: u32,
        _config: TopicConfig,
        _validate_only: bool,
    ) -> Result<Topic, Error> {
        todo!()
    }

    /// One topic by name.
    pub async fn get_topic(&self, _name: &str) -> Result<Topic, Error> {
        todo!()
    }

    /// All topics by name, of one namespace or (`None`) of all.
    pub async fn list_topics(&self, _namespace: Option<&str>) -> Result<Vec<Topic>, Error> {
        todo!()
    }

    /// Changes a topic: what `paths` names (such as `config.retention_ms`) becomes as in `topic`,
    /// and returns to the default where it is absent there. Without paths: every field that is
    /// set in `topic`. A non-zero `topic.revision` makes the change conditional.
    pub async fn update_topic(
        &self,
        _topic: Topic,
        _paths: &[&str],
        _validate_only: bool,
    ) -> Result<Topic, Error> {
        todo!()
    }

    /// Deletes a topic and its records; there is no way back. With `topic_id` only if it is that
    /// very topic.
    pub async fn delete_topic(&self, _name: &str, _topic_id: Option<&str>) -> Result<(), Error> {
        todo!()
    }

    /// Grows a topic to `partitions` in all. Keys go to other partitions from then on.
    pub async fn add_partitions(&self, _name: &str, _partitions: u32) -> Result<Topic, Error> {
        todo!()
    }

    /// The partitions of a topic: leaders, replicas, offsets, sizes.
    pub async fn list_partitions(&self, _topic: &str) -> Result<Vec<Partition>, Error> {
        todo!()
    }

    /// Turns positions into offsets; answers come in the order of the questions, and each may
    /// hold an error of its own.
    pub async fn list_offsets(
        &self,
        _topic: &str,
        _questions: &[(u32, Position)],
    ) -> Result<Vec<PartitionOffset>, Error> {
        todo!()
    }

    /// Moves log starts forward to the given offsets, or to the high watermark (`None`). Answers
    /// come in the order of the request, and each may hold an error of its own.
    pub async fn delete_records(
        &self,
        _topic: &str,
        _before: &[(u32, Option<u64>)],
    ) -> Result<Vec<DeletedRecords>, Error> {
        todo!()
    }

    /// Who the cluster is, and the bounds that it sets.
    pub async fn cluster(&self) -> Result<GetClusterResponse, Error> {
        todo!()
    }

    /// The brokers, by id.
    pub async fn brokers(&self) -> Result<Vec<Broker>, Error> {
        todo!()
    }

    /// Who leads what, for these topics or (empty) for all.
    pub async fn metadata(&self, _topics: &[&str]) -> Result<Metadata, Error> {
        todo!()
    }

    /// The same, again after every change, until dropped.
    pub async fn watch_metadata(
        &self,
        _topics: &[&str],
    ) -> Result<impl Stream<Item = Result<Metadata, Error>> + Send + use<>, Error> {
        Ok(futures::stream::once(async { todo!() }))
    }

    /// What is wrong, why, and what to do.
    pub async fn health(&self) -> Result<GetHealthResponse, Error> {
        todo!()
    }
}

/// The error that one entry of a per-partition answer holds.
impl From<headwater_proto::v1::Error> for Error {
    fn from(_error: headwater_proto::v1::Error) -> Error {
        todo!()
    }
}
