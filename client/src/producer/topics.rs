//! How many partitions topics have.

use std::sync::Arc;

use super::accumulator::Accumulator;
use crate::admin::Admin;
use crate::backoff::Backoff;
use crate::clock::BootTime;
use crate::error::Error;
use crate::transport::Transport;

/// Looks a topic up, trying again for as long as a record may wait.
pub(super) async fn look_up(
    transport: &Transport,
    mut backoff: Backoff,
    accumulator: &Accumulator,
    topic: &Arc<str>,
) -> Result<(), Error> {
    let started = BootTime::now();
    loop {
        match look_up_once(transport, accumulator, topic).await {
            Err(error) if error.is_transient() => {
                let pause = backoff.next_pause();
                let waited = BootTime::now().since(started);
                if waited + pause > accumulator.config().delivery_timeout {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
            }
            result => return result,
        }
    }
}

async fn look_up_once(
    transport: &Transport,
    accumulator: &Accumulator,
    topic: &Arc<str>,
) -> Result<(), Error> {
    let metadata = Admin::new(transport.clone()).metadata(&[topic]).await?;
    let Some(found) = metadata.topics.first() else {
        return Err(Error::NoSuchTopic {
            topic: topic.to_string(),
        });
    };
    let partitions = u32::try_from(found.partitions.len()).unwrap_or(u32::MAX);
    if partitions == 0 {
        return Err(Error::protocol(format!("{topic} has no partitions")));
    }
    let batch_bytes_max = usize::try_from(found.message_bytes_max).unwrap_or(0);
    accumulator.learn_topic(topic, partitions, batch_bytes_max);
    Ok(())
}

/// Looks all known topics up again, to see partitions that were added. What cannot be looked up
/// stays as it is.
pub(super) async fn refresh(transport: Transport, accumulator: Arc<Accumulator>) {
    for topic in accumulator.topics() {
        if let Err(error) = look_up_once(&transport, &accumulator, &topic).await {
            tracing::debug!(%error, %topic, "partitions were not looked up again");
        }
    }
}
