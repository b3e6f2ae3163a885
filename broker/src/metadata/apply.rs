//! Carrying out what the metadata has decided: partitions are opened, closed, configured; the files
//! of deleted topics go.

use std::ops::Range;
use std::sync::Arc;

use headwater_core::ids::{BrokerId, PartitionIdx, TopicId};
use headwater_core::metadata::{Applied, EffectiveConfig, Image, Partition, Topic};
use headwater_core::replica::ReplicaConfig;
use headwater_log::{LogConfig, PartitionKey, RecoveryReport, Trash, TrashStep};
use headwater_record::Offset;
use tokio::sync::oneshot;

use crate::facade::{Finding, Findings, Severity, damage};
use crate::limits::{INDEX_INTERVAL_BYTES, PRODUCERS_PER_PARTITION_MAX, TRASH_FILES_PER_STEP};
use crate::metrics::Metrics;
use crate::partition::handle::PartitionHandle;
use crate::partition::registry::Registry;
use crate::partition::shard::{Message, Open, Tiered};
use crate::storage::Storage;

/// Carries out what commands have changed.
pub struct Applier {
    /// This broker.
    pub own: BrokerId,
    /// Settings of topics that do not say.
    pub defaults: EffectiveConfig,
    /// For class `replicated`, in milliseconds.
    pub background_sync_ms: u64,
    /// Whether there is a tier, and if so whether it is on the disk of the data directory.
    pub tier: Option<bool>,
    /// Partitions of this broker.
    pub registry: Arc<Registry>,
    /// The data directory.
    pub storage: Arc<Storage>,
    /// Deleted topics whose files are not all gone.
    pub trash: Trash,
    /// Told of what recovery finds.
    pub findings: Findings,
    /// Counters.
    pub metrics: Metrics,
}

impl Applier {
    /// Carries out what a command has changed. `image` is the state after it.
    pub fn apply(&mut self, image: &Image, applied: &Applied) {
        match applied {
            Applied::TopicCreated { id } => self.open(image, &keys(image, *id, 0..u32::MAX), false),
            Applied::TopicUpdated {
                id,
                config_changed,
                added,
            } => {
                if *config_changed {
                    self.configure(image, *id);
                }
                self.open(image, &keys(image, *id, added.clone()), false);
            }
            Applied::TopicDeleted { id, partitions } => self.delete(*id, *partitions),
            _ => {}
        }
        self.count(image);
    }

    /// Carries out what may only happen once readers are shown the image: local copies go only when the head that has
    /// them in the tier can be found.
    pub fn shown(&self, image: &Image, applied: &Applied) {
        if let Applied::TierHeads { committed, .. } = applied {
            self.tiered(image, committed);
        }
    }

    /// Opens every partition that this broker holds, on all shards at once.
    pub fn open_all(&self, image: &Image, clean: bool) {
        let keys: Vec<_> = image
            .topics()
            .flat_map(|topic| keys(image, topic.id, 0..u32::MAX))
            .collect();
        self.open(image, &keys, clean);
        self.count(image);
    }

    fn open(&self, image: &Image, keys: &[PartitionKey], clean: bool) {
        let opening: Vec<_> = keys
            .iter()
            .filter_map(|key| self.start_open(image, *key, clean))
            .collect();
        // The last first: whoever waits for each in turn is woken for each.
        let opened: Vec<_> = opening
            .into_iter()
            .rev()
            .map(|(topic, key, answer)| (topic, key, answer.blocking_recv()))
            .collect();
        for (topic, key, opened) in opened.into_iter().rev() {
            match opened {
                Ok(Ok(report)) => self.report(&topic, key, &report),
                Ok(Err(error)) => self.offline(&topic, key, &error.to_string()),
                Err(_) => self.offline(&topic, key, "its storage thread has ended"),
            }
        }
    }

    #[expect(
        clippy::type_complexity,
        reason = "the pending answer of one private step"
    )]
    fn start_open(
        &self,
        image: &Image,
        key: PartitionKey,
        clean: bool,
    ) -> Option<(
        String,
        PartitionKey,
        oneshot::Receiver<Result<RecoveryReport, headwater_log::LogError>>,
    )> {
        let topic = image.topic_by_id(TopicId(key.topic))?;
        let partition = topic.partitions.get(key.index as usize)?;
        if partition.leader != Some(self.own) {
            return None;
        }
        let shard = self.registry.shard(self.storage.shard_of(key));
        let handle = PartitionHandle::new(key, shard.clone());
        self.registry.insert([handle.clone()]);
        let (done, answer) = oneshot::channel();
        shard.send(Message::Open(Box::new(Open {
            handle,
            config: self.replica_config(topic),
            leader_epoch: partition.leader_epoch,
            in_sync: partition.isr.len(),
            tiered: self.tiered_of(partition),
            clean,
            done,
        })));
        Some((topic.name.to_string(), key, answer))
    }

    fn tiered_of(&self, partition: &Partition) -> Option<Tiered> {
        let head = partition.tier?;
        Some(Tiered {
            start: head.start,
            // Without the tier the copies on the disk are all that can be read: none may go.
            end: match self.tier {
                Some(_) => head.end,
                None => Offset::ZERO,
            },
            eager: self.tier == Some(true),
        })
    }

    /// What the tier holds from now on need not stay on the disk.
    fn tiered(&self, image: &Image, committed: &[PartitionKey]) {
        for &key in committed {
            let partition = image.partition(key);
            if let Some(tiered) = partition.and_then(|partition| self.tiered_of(partition)) {
                let shard = self.registry.shard(self.storage.shard_of(key));
                shard.send(Message::Tiered { key, tiered });
            }
        }
    }

    fn configure(&self, image: &Image, topic: TopicId) {
        let Some(topic) = image.topic_by_id(topic) else {
            return;
        };
        let config = self.replica_config(topic);
        for index in 0..topic.partitions.len() {
            let key = topic.id.partition(PartitionIdx(index as u32));
            let shard = self.registry.shard(self.storage.shard_of(key));
            shard.send(Message::Configure {
                key,
                config: config.clone(),
            });
        }
    }

    /// Closes the partitions, then takes their directory away from where logs are opened. The
    /// files go by and by, see [`Applier::empty_trash`].
    fn delete(&mut self, topic: TopicId, partitions: u32) {
        let closing: Vec<_> = (0..partitions)
            .map(|index| {
                let key = topic.partition(PartitionIdx(index));
                self.registry.remove(key);
                let (done, closed) = oneshot::channel();
                self.registry
                    .shard(self.storage.shard_of(key))
                    .send(Message::Close { key, done });
                closed
            })
            .collect();
        for closed in closing {
            drop(closed.blocking_recv());
        }
        if let Err(error) = self.trash.delete(topic.0) {
            tracing::error!(%topic, %error, "the files of a deleted topic stay until the next start");
        }
    }

    /// Unlinks a few files of deleted topics; `None` if that failed until the next start.
    pub fn empty_trash(&mut self) -> Option<TrashStep> {
        let step = self.trash.step(TRASH_FILES_PER_STEP);
        step.inspect_err(|error| tracing::error!(%error, "files of a deleted topic stay"))
            .ok()
    }

    fn replica_config(&self, topic: &Topic) -> ReplicaConfig {
        let effective = topic.config.effective(&self.defaults);
        ReplicaConfig {
            durability: effective.durability,
            message_bytes_max: effective.message_bytes_max as usize,
            timestamp_ahead_ms_max: effective.timestamp_ahead_ms_max,
            min_in_sync: effective.min_in_sync_replicas as usize,
            background_sync_ms: self.background_sync_ms,
            tiering: self.tier.is_some() && effective.tiering,
            local_retention_ms: effective.local_retention_ms.bound(),
            local_retention_bytes: effective.local_retention_bytes.bound(),
            log: LogConfig {
                segment_bytes: effective.segment_bytes,
                segment_ms: effective.segment_ms,
                retention_ms: effective.retention_ms.bound(),
                retention_bytes: effective.retention_bytes.bound(),
                index_interval_bytes: INDEX_INTERVAL_BYTES,
                producers_max: PRODUCERS_PER_PARTITION_MAX,
            },
        }
    }

    fn count(&self, image: &Image) {
        self.metrics.topics.set(image.topics().count() as i64);
        self.metrics.partitions.set(self.registry.len() as i64);
        self.metrics.leaders.set(self.registry.len() as i64);
    }

    fn offline(&self, topic: &str, key: PartitionKey, error: &str) {
        self.metrics.partitions_offline.inc();
        self.findings.add(Finding {
            severity: Severity::Critical,
            reason: "PARTITION_OFFLINE",
            subject: format!("{topic}/{}", key.index),
            message: format!("the partition's log could not be opened: {error}"),
            remedy: "repair or restore the file that is named, then restart the broker".to_owned(),
        });
    }

    fn report(&self, topic: &str, key: PartitionKey, report: &RecoveryReport) {
        let subject = format!("{topic}/{}", key.index);
        let find = |severity, reason, message: String, remedy: &str| {
            let (subject, remedy) = (subject.clone(), remedy.to_owned());
            self.findings.add(Finding {
                severity,
                reason,
                subject,
                message,
                remedy,
            });
        };
        for range in &report.damaged {
            self.findings.add(damage(&subject, range));
        }
        let torn = report.cut.as_ref().filter(|cut| cut.nonzero_bytes > 0);
        match torn {
            Some(cut) if report.mark_lost => find(
                Severity::Critical,
                "DATA_LOSS_POSSIBLE",
                format!(
                    "{} bytes behind offset {} were not a whole batch and were cut; the sync marks \
                     are lost, so nobody knows whether they had been acknowledged",
                    cut.bytes, cut.offset
                ),
                "check the disk; compare with what the producers know",
            ),
            Some(cut) => find(
                Severity::Info,
                "LOG_CUT",
                format!(
                    "{} bytes behind offset {} were not a whole batch and had never been \
                     confirmed as synced; they were cut",
                    cut.bytes, cut.offset
                ),
                "none; expected after a crash or power loss",
            ),
            None => {}
        }
        if report.start_lost {
            find(
                Severity::Warning,
                "LOG_START_LOST",
                "the recorded log start could not be read; deleted records may show again"
                    .to_owned(),
                "check the disk, then delete the records again",
            );
        }
        if report.epochs_rebuilt {
            find(
                Severity::Warning,
                "EPOCHS_REBUILT",
                "the epochs file was damaged and has been rebuilt from the batches".to_owned(),
                "check the disk",
            );
        }
        if report.mark_lost {
            find(
                Severity::Warning,
                "SYNC_MARK_LOST",
                "both sync marks were damaged; the whole log counts as synced".to_owned(),
                "check the disk",
            );
        }
    }
}

/// Keys of those of a topic's partitions that lie in `range`.
fn keys(image: &Image, topic: TopicId, range: Range<u32>) -> Vec<PartitionKey> {
    let count = image
        .topic_by_id(topic)
        .map_or(0, |topic| topic.partitions.len() as u32);
    (range.start..range.end.min(count))
        .map(|index| topic.partition(PartitionIdx(index)))
        .collect()
}
