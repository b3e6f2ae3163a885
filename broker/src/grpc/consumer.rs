//! `ConsumerService`.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::consumer_service_server::ConsumerService;
use tonic::{Request, Response, Status};

use super::{Service, convert, limit, status, subscribe};
use crate::auth::Principal;
use crate::error::BrokerError;
use crate::facade::{FetchEntry, FetchRequest, FetchedPartition, Payload};

#[tonic::async_trait]
impl ConsumerService for Service {
    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        let principal = self.principal(&request);
        let deadline = limit::deadline(request.metadata());
        let request = request.into_inner();
        convert::check_count("partitions", request.partitions.len())?;
        let bytes_max = self.broker.settings.limits.fetch_bytes_max;
        let names: Vec<_> = request
            .partitions
            .iter()
            .map(|entry| (entry.topic.clone(), entry.partition))
            .collect();
        let asked = convert::size("max_wait_ms", request.max_wait_ms, 0)?;
        let wait = Duration::from_millis(asked as u64);
        let fetch = FetchRequest {
            bytes_min: convert::size("min_bytes", request.min_bytes, 0)?,
            bytes_max: convert::size("max_bytes", request.max_bytes, bytes_max)?,
            wait: deadline.map_or(wait, |deadline| wait.min(deadline)),
            records: encoding(request.encoding)?,
            entries: request
                .partitions
                .into_iter()
                .map(|entry| self.fetch_entry(&principal, entry, bytes_max))
                .collect(),
        };
        let (fetched, budget) = self.broker.fetch(fetch).await;
        let partitions = fetched
            .into_iter()
            .zip(names)
            .map(|(fetched, (topic, partition))| {
                if let Err(error) = &fetched.result {
                    self.broker.metrics.observe_error(status::reason(error));
                }
                data(&topic, partition, fetched)
            })
            .collect();
        let response = Response::new(v1::FetchResponse { partitions });
        Ok(limit::hold_until_sent(response, budget))
    }

    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let principal = self.principal(&request);
        let stream = subscribe::start(self.broker.clone(), principal, request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream)))
    }
}

impl Service {
    fn fetch_entry(
        &self,
        principal: &Principal,
        entry: v1::FetchPartition,
        bytes_max: usize,
    ) -> Result<FetchEntry, BrokerError> {
        Ok(FetchEntry {
            position: convert::position(entry.position)?,
            leader_epoch: convert::leader_epoch(entry.leader_epoch)?,
            bytes_max: convert::size("partitions.max_bytes", entry.max_bytes, bytes_max)?,
            partition: self
                .broker
                .consume_partition(principal, &entry.topic, entry.partition)?,
        })
    }
}

/// Whether plain records are asked for.
pub(super) fn encoding(encoding: i32) -> Result<bool, BrokerError> {
    match v1::Encoding::try_from(encoding) {
        Ok(v1::Encoding::Unspecified | v1::Encoding::Records) => Ok(true),
        Ok(v1::Encoding::Batches) => Ok(false),
        Err(_) => Err(BrokerError::invalid(
            "encoding",
            format!("{encoding} is none of 0 to 2"),
        )),
    }
}

/// The wire form of what one partition gave.
pub(super) fn data(topic: &str, partition: i32, fetched: FetchedPartition) -> v1::PartitionData {
    let mut data = v1::PartitionData {
        topic: topic.to_owned(),
        partition,
        next_offset: fetched.next_offset.to_i64(),
        ..Default::default()
    };
    if let Some(bounds) = fetched.bounds {
        data.log_start_offset = bounds.log_start.to_i64();
        data.high_watermark = bounds.high_watermark.to_i64();
        data.leader_epoch = bounds.leader_epoch.0 as i32;
    }
    match fetched.result {
        Ok(Payload::Batches(batches)) => data.batches = batches,
        Ok(Payload::Records(records)) => {
            let number = partition as u32;
            data.records = records
                .into_iter()
                .map(|stored| convert::record_to_wire(stored, number))
                .collect();
        }
        Err(error) => data.error = Some(status::entry(&error)),
    }
    data
}
