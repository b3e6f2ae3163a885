//! TopicService and ClusterService, as far as clients need them.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::cluster_service_server::ClusterService;
use headwater_proto::v1::position::Position;
use headwater_proto::v1::topic_service_server::TopicService;
use tonic::{Request, Response, Status};

use super::{FakePartition, Shared};

pub(crate) struct Topics(pub(crate) Arc<Shared>);
pub(crate) struct Cluster(pub(crate) Arc<Shared>);

pub(crate) fn full(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("default/{name}")
    }
}

fn lookup(log: &FakePartition, position: v1::Position) -> u64 {
    let end = log.end();
    match position.position.expect("set") {
        Position::Offset(offset) => offset as u64,
        Position::LastN(count) => end.saturating_sub(count as u64).max(log.log_start),
        Position::Bound(bound) if bound == v1::Bound::Earliest as i32 => log.log_start,
        Position::Bound(_) => end,
        Position::TimestampMs(asked) => {
            let records = log
                .batches
                .iter()
                .flat_map(|batch| batch.records(1 << 30).expect("valid"));
            let mut found = records.filter(|stored| stored.record.timestamp_ms >= asked);
            found.next().map_or(end, |stored| stored.offset.get())
        }
    }
}

/// The rest of the two services, which no test calls; spelled as the trait's macro does.
macro_rules! unimplemented_calls {
    ($($name:ident: $request:ident => $response:ident),* $(,)?) => {
        $(fn $name<'a, 'b>(
            &'a self,
            _request: Request<v1::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<v1::$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("")) })
        })*
    };
}

#[tonic::async_trait]
impl TopicService for Topics {
    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        // Pages of two.
        let token = request.into_inner().page_token;
        let state = self.0.state();
        let mut left = state
            .topics
            .iter()
            .filter(|(name, _)| **name > token)
            .peekable();
        let mut topics = Vec::new();
        while let Some((name, partitions)) = left.next_if(|_| topics.len() < 2) {
            let (name, partitions) = (name.clone(), partitions.len() as i32);
            topics.push(v1::Topic {
                name,
                partitions,
                ..v1::Topic::default()
            });
        }
        let last = topics
            .last()
            .map(|topic| topic.name.clone())
            .unwrap_or_default();
        let next_page_token = if left.peek().is_some() {
            last
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListTopicsResponse {
            topics,
            next_page_token,
        }))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let request = request.into_inner();
        let state = self.0.state();
        let topic = &state.topics[&full(&request.topic)];
        let answer = |asked: v1::ListOffsetsPartition| v1::PartitionOffset {
            partition: asked.partition,
            offset: lookup(
                &topic[asked.partition as usize],
                asked.position.expect("set"),
            ) as i64,
            ..v1::PartitionOffset::default()
        };
        let offsets = request.partitions.into_iter().map(answer).collect();
        Ok(Response::new(v1::ListOffsetsResponse { offsets }))
    }

    unimplemented_calls! {
        create_topic: CreateTopicRequest => CreateTopicResponse,
        get_topic: GetTopicRequest => GetTopicResponse,
        update_topic: UpdateTopicRequest => UpdateTopicResponse,
        delete_topic: DeleteTopicRequest => DeleteTopicResponse,
        list_partitions: ListPartitionsRequest => ListPartitionsResponse,
        delete_records: DeleteRecordsRequest => DeleteRecordsResponse,
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    type WatchMetadataStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchMetadataResponse, Status>> + Send>>;

    async fn get_metadata(
        &self,
        request: Request<v1::GetMetadataRequest>,
    ) -> Result<Response<v1::GetMetadataResponse>, Status> {
        let state = self.0.state();
        let mut metadata = v1::Metadata::default();
        for asked in request.into_inner().topics {
            let name = full(&asked);
            let Some(partitions) = state.topics.get(&name) else {
                metadata.missing_topics.push(asked);
                continue;
            };
            let partition = |partition| v1::PartitionMetadata {
                partition: partition as i32,
                leader: 1,
                leader_epoch: 0,
            };
            metadata.topics.push(v1::TopicMetadata {
                name,
                topic_id: String::new(),
                partitions: (0..partitions.len()).map(partition).collect(),
                message_bytes_max: 16 << 20,
                revision: 1,
            });
        }
        Ok(Response::new(v1::GetMetadataResponse {
            metadata: Some(metadata),
        }))
    }

    async fn watch_metadata(
        &self,
        _request: Request<v1::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        Err(Status::unimplemented(""))
    }

    unimplemented_calls! {
        get_cluster: GetClusterRequest => GetClusterResponse,
        list_brokers: ListBrokersRequest => ListBrokersResponse,
        get_health: GetHealthRequest => GetHealthResponse,
    }
}
