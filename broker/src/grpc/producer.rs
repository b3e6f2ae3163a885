//! `ProducerService`.

use std::pin::Pin;

use futures::Stream;
use headwater_core::replica::{Acks, Outcome};
use headwater_proto::v1;
use headwater_proto::v1::producer_service_server::ProducerService;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, convert, status, stream};
use crate::auth::Action;
use crate::error::BrokerError;
use crate::facade::{ProduceRequest, Produced};

#[tonic::async_trait]
impl ProducerService for Service {
    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let principal = self.principal(&request);
        let request = request.into_inner();
        let acks = convert::acks(request.acks)?;
        let produced = if request.batch.is_empty() {
            let request = convert::records_request(request)?;
            self.broker.produce_records(&principal, request).await?
        } else {
            convert::only_batch(&request)?;
            let index = request.partition.unwrap_or_default();
            let partition =
                self.broker
                    .partition(&principal, Action::Produce, &request.topic, index)?;
            let batch = self.broker.verify(request.batch)?;
            let expected_offset = convert::expected_offset(request.expected_offset)?;
            let request = ProduceRequest {
                partition,
                batch,
                acks,
                expected_offset,
            };
            vec![self.broker.produce(request).await]
        };
        // A call that failed as a whole says so as a status; one that failed in part, in the acks.
        if let [
            Produced {
                result: Err(error), ..
            },
        ] = produced.as_slice()
        {
            self.broker.metrics.observe_error(status::reason(error));
            return Err(status::status(error));
        }
        let hide_offsets = acks == Acks::None;
        let acks = produced
            .iter()
            .map(|part| ack(part, hide_offsets))
            .collect();
        Ok(Response::new(v1::ProduceResponse { acks }))
    }

    type ProduceStreamStream =
        Pin<Box<dyn Stream<Item = Result<v1::ProduceStreamResponse, Status>> + Send>>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let principal = self.principal(&request);
        let responses = stream::run(self.broker.clone(), principal, request.into_inner());
        Ok(Response::new(Box::pin(responses)))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let name = request.into_inner().producer_name;
        let (id, epoch) = self.broker.init_producer(&name).await?;
        let producer = Some(v1::Producer {
            id: id.0,
            epoch: i32::from(epoch),
        });
        Ok(Response::new(v1::InitProducerResponse { producer }))
    }
}

/// The wire form of what became of one partition's part.
pub(super) fn ack(part: &Produced, hide_offsets: bool) -> v1::PartitionAck {
    let failed = |error: &BrokerError| v1::PartitionAck {
        partition: part.partition as i32,
        base_offset: -1,
        last_offset: -1,
        append_time_ms: 0,
        duplicate: false,
        error: Some(status::entry(error)),
    };
    match &part.result {
        Ok(Outcome::Appended {
            appended,
            duplicate,
        }) => {
            let offset =
                |offset: headwater_record::Offset| if hide_offsets { -1 } else { offset.to_i64() };
            v1::PartitionAck {
                partition: part.partition as i32,
                base_offset: offset(appended.base_offset),
                last_offset: offset(appended.last_offset),
                append_time_ms: appended.append_time_ms,
                duplicate: *duplicate,
                error: None,
            }
        }
        Ok(Outcome::StartMoved(_)) => unreachable!("an append does not move the log start"),
        Err(error) => failed(error),
    }
}
