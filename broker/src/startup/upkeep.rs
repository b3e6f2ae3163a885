//! What a broker does by the clock.

use std::sync::{Arc, Mutex, PoisonError};

use headwater_core::ids::IncarnationId;
use headwater_core::metadata::{Command, ConfirmIncarnation, Identity, MetadataError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::facade::Broker;
use crate::limits::{DISK_CHECK_INTERVAL, INCARNATION_CONFIRM_INTERVAL};
use crate::partition::registry::Registry;
use crate::storage::Storage;

/// What a broker does by the clock.
pub(super) struct Upkeep {
    pub(super) broker: Arc<Broker>,
    pub(super) registry: Arc<Registry>,
    pub(super) identity: Arc<Mutex<Identity>>,
    pub(super) clock: Clock,
}

impl Upkeep {
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let upkeep = Arc::new(self);
        let mut disk = tokio::time::interval(DISK_CHECK_INTERVAL);
        let mut confirm = tokio::time::interval(INCARNATION_CONFIRM_INTERVAL);
        confirm.reset();
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                _ = disk.tick() => upkeep.clone().check_disk().await,
                _ = confirm.tick() => upkeep.clone().confirm_incarnation().await,
            }
        }
    }

    async fn check_disk(self: Arc<Self>) {
        let check = move || {
            let broker = &self.broker;
            if let Err(error) = broker.storage.check_space() {
                tracing::error!(%error, "the disk's space cannot be measured");
            }
            let space = broker.storage.space();
            let shown = self
                .registry
                .handles()
                .into_iter()
                .filter_map(|handle| handle.published());
            let sum = shown.fold((0, 0), |(bytes, segments), shown| {
                (
                    bytes + shown.size_bytes as i64,
                    segments + shown.segments as i64,
                )
            });
            let metrics = &broker.metrics;
            metrics.log_bytes.set(sum.0);
            metrics.segments.set(sum.1);
            metrics.disk_free_bytes.set(space.free_bytes as i64);
            metrics.disk_size_bytes.set(space.total_bytes as i64);
            metrics
                .storage_full
                .set(i64::from(broker.storage.is_full()));
            let (produce, fetch) = broker.in_flight_bytes();
            metrics.produce_in_flight_bytes.set(produce as i64);
            metrics.fetch_in_flight_bytes.set(fetch as i64);
            metrics.findings.set(broker.health().len() as i64);
        };
        drop(tokio::task::spawn_blocking(check).await);
    }

    /// Records that this broker still runs, and the wall clock with it.
    async fn confirm_incarnation(self: Arc<Self>) {
        // What the failure left for the next start would be taken away.
        if self.broker.storage.has_failed() {
            return;
        }
        let incarnation = IncarnationId(Uuid::new_v4());
        let begun = self.with_identity(move |identity, wall_ms| {
            identity.begin_incarnation(incarnation, wall_ms)
        });
        if let Err(error) = begun.await {
            return tracing::warn!(%error, "the incarnation could not be recorded");
        }
        let broker = self.broker.identity.broker_id;
        let image = self.broker.image();
        let Some(epoch) = image.broker(broker).map(|broker| broker.epoch) else {
            return;
        };
        let command = Command::ConfirmIncarnation(ConfirmIncarnation {
            broker,
            epoch,
            incarnation,
        });
        let confirmed = match self.broker.metadata.propose(command).await {
            Ok(_) => {
                self.with_identity(move |identity, _| identity.confirm(incarnation, broker))
                    .await
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = confirmed {
            tracing::warn!(%error, "the incarnation could not be confirmed");
        }
    }

    async fn with_identity(
        &self,
        act: impl FnOnce(&mut Identity, i64) -> Result<(), MetadataError> + Send + 'static,
    ) -> anyhow::Result<()> {
        let (identity, wall_ms) = (self.identity.clone(), self.clock.now().wall_ms);
        let act = move || {
            act(
                &mut identity.lock().unwrap_or_else(PoisonError::into_inner),
                wall_ms,
            )
        };
        let acted = tokio::task::spawn_blocking(act).await?;
        Ok(judge(&self.broker.storage, acted)?)
    }
}

/// What cannot be tried again is the end of the data directory.
fn judge(storage: &Storage, acted: Result<(), MetadataError>) -> Result<(), MetadataError> {
    if let Err(error) = &acted
        && error.is_final()
    {
        storage.fail_with(&error.to_string());
    }
    acted
}

#[cfg(test)]
mod tests {
    use headwater_core::ids::{BrokerId, StorageId};
    use headwater_log::sim::{Fault, SimDisk, SimOp};

    use super::*;

    #[test]
    fn an_identity_that_could_not_be_synced_is_the_end_of_the_data_directory() {
        for (fault, is_final) in [
            (Fault::once(SimOp::Write).full(), false),
            (Fault::once(SimOp::Sync), true),
        ] {
            let disk = SimDisk::new(1);
            let opened = Identity::open(Arc::new(disk.clone()), StorageId(Uuid::nil()), "");
            let mut identity = opened.unwrap();
            let storage = Storage::with_room(Arc::new(disk.clone()), 1 << 20);
            let mut confirm = |number| {
                let incarnation = IncarnationId(Uuid::from_u128(number));
                judge(&storage, identity.begin_incarnation(incarnation, 0))?;
                judge(&storage, identity.confirm(incarnation, BrokerId(1)))
            };
            confirm(1).unwrap();
            disk.inject(fault);
            assert!(confirm(2).is_err());
            assert_eq!(storage.has_failed(), is_final);
            assert_eq!(confirm(3).is_err(), is_final, "nothing is tried again");
        }
    }
}
