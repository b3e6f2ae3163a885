//! Who a producer is to the brokers.

use headwater_proto::v1;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::transport::Transport;

/// Who a batch is from, apart from its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// Asks for an identity until there is one, or an answer that will not change.
pub(super) async fn init_producer(
    transport: Transport,
    producer_name: String,
    mut backoff: Backoff,
) -> Result<Identity, Error> {
    loop {
        let request = v1::InitProducerRequest {
            producer_name: producer_name.clone(),
        };
        let request = transport.unary(request);
        match transport.producer_service().init_producer(request).await {
            Ok(answer) => {
                let producer = answer.into_inner().producer.unwrap_or_default();
                let epoch = i16::try_from(producer.epoch)
                    .map_err(|_| Error::protocol("the epoch of a producer is a 16-bit number"))?;
                return Ok(Identity {
                    id: producer.id,
                    epoch,
                });
            }
            Err(status) => {
                let error = transport.error(status);
                if !error.is_transient() {
                    return Err(error);
                }
                tracing::debug!(%error, "no producer identity yet");
            }
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}
