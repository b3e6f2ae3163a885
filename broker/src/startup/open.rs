//! From a data directory to everything that stands on it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use anyhow::Context as _;
use headwater_core::ids::{ClusterId, IncarnationId, StorageId, TopicId};
use headwater_core::metadata::Command;
use headwater_core::metadata::FEATURE_LEVEL;
use headwater_core::metadata::{Identity, LocalBackend};
use headwater_log::{
    Disk, DiskGuard, FileCache, GuardLimits, Journal, JournalLimits, JournalReport, LogEnv,
    MarkStore, OsDisk, TopicFate, Trash, quarantined,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use uuid::Uuid;

use super::{findings, form};
use crate::clock::Clock;
use crate::config::Settings;
use crate::facade::{BrokerIdentity, Finding, Findings, Severity};
use crate::limits::{
    JOURNAL_BLOCK_BYTES_MAX, JOURNAL_BLOCK_BYTES_MIN, JOURNAL_DISK_SHARE, JOURNAL_FILES_MAX,
    JOURNAL_FILES_MIN,
};
use crate::metadata::{Applier, MetadataHandle};
use crate::metrics::Metrics;
use crate::partition::registry::Registry;
use crate::partition::shard::{self, ShardEnv};
use crate::storage::Storage;

/// The kernel's name for the time since the host was booted; empty where there is none.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The data directory, opened.
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) ids: BrokerIdentity,
    pub(super) clock: Clock,
    pub(super) storage: Arc<Storage>,
    pub(super) registry: Arc<Registry>,
    pub(super) metadata: MetadataHandle,
    pub(super) findings: Findings,
    pub(super) disk: Weak<dyn Disk>,
}

/// The data directory, locked, and who it is.
pub(super) struct Directory {
    disk: Arc<dyn Disk>,
    pub(super) identity: Identity,
    /// It holds nothing but its own UUID.
    pub(super) empty: bool,
}

/// Locks the data directory and reads who it is; an empty one becomes somebody.
pub(super) fn identify(settings: &Settings) -> anyhow::Result<Directory> {
    let data_dir = settings.data_dir.display();
    let disk = OsDisk::open(&settings.data_dir)
        .with_context(|| format!("cannot open the data directory {data_dir}"))?;
    crate::restore::check_finished(&settings.data_dir)?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let identity = Identity::open(disk.clone(), StorageId(Uuid::new_v4()), &boot_id())
        .with_context(|| format!("in the data directory {data_dir}"))?;
    let empty = identity
        .is_blank()
        .with_context(|| format!("in the data directory {data_dir}"))?;
    Ok(Directory {
        disk,
        identity,
        empty,
    })
}

/// Whether the data directory could not be locked because another broker holds it.
pub(super) fn is_in_use(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::ResourceBusy)
}

/// Descriptors that this process may have: as many as the system allows, from here on.
fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

/// Opens the journals, which writes what they hold to the logs.
fn open_journal(
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    marks: &MarkStore,
    findings: &Findings,
) -> anyhow::Result<Arc<Journal>> {
    let shards = settings.storage.shards;
    let share = disk.space()?.total_bytes / JOURNAL_DISK_SHARE / shards as u64;
    let block_bytes = share.clamp(JOURNAL_BLOCK_BYTES_MIN, JOURNAL_BLOCK_BYTES_MAX);
    let limits = JournalLimits {
        block_bytes,
        // A part of what there is: connections and readers need theirs.
        files_max: (descriptors() / 4 / shards).clamp(JOURNAL_FILES_MIN, JOURNAL_FILES_MAX),
    };
    let (journal, report) = Journal::open(disk.clone(), marks, shards, limits, rand::random())?;
    let JournalReport {
        frames,
        bytes,
        frames_lost,
    } = report;
    if 0 < frames {
        tracing::info!(frames, bytes, "the journal was written to the logs");
    }
    if 0 < frames_lost {
        findings.add(Finding {
            severity: Severity::Critical,
            reason: "JOURNAL_DAMAGED",
            subject: settings.data_dir.display().to_string(),
            message: format!(
                "{frames_lost} of {} frames of the journal cannot be read; acknowledged records that \
                 only they held are lost, and where they were the last of a partition their offsets \
                 are given anew",
                frames + frames_lost
            ),
            remedy: "check the disk; `headwater topic describe` tells which partitions are damaged"
                .to_owned(),
        });
    }
    Ok(Arc::new(journal))
}

/// Opens everything in a directory that belongs to `cluster`.
pub(super) fn open(
    settings: &Arc<Settings>,
    metrics: &Metrics,
    directory: Directory,
    cluster_id: ClusterId,
    tier: Option<bool>,
) -> anyhow::Result<Opened> {
    let findings = Findings::default();
    let data_dir = settings.data_dir.display();
    let Directory {
        disk, mut identity, ..
    } = directory;
    let found = identity.opened().clone();
    let clock = Clock::start(found.last_wall_ms);
    let mut backend = LocalBackend::open(disk.clone())
        .with_context(|| format!("in the data directory {data_dir}"))?;
    form::join(settings, &identity, &mut backend, cluster_id)?;
    let incarnation = IncarnationId(Uuid::new_v4());
    let broker_id = form::register(
        settings,
        &mut identity,
        &mut backend,
        incarnation,
        &findings,
    )?;
    if tier.is_some() {
        // What the tier needs of the metadata is newer than clusters of the first release.
        let level = FEATURE_LEVEL;
        backend.propose(&Command::RaiseFeatureLevel { level })?;
    }
    findings::add_findings(&findings, &found, backend.report(), &settings.node_name);

    findings::add_loss_finding(&findings, &found, backend.image(), settings);

    let marks = Arc::new(MarkStore::open(disk.clone(), settings.storage.shards)?);
    if marks.is_missing() {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "SYNC_MARKS_MISSING",
            subject: settings.data_dir.display().to_string(),
            message: "the directory marks is gone; every log counts as synced to its end, and \
                      what was cut off there cannot be noticed"
                .to_owned(),
            remedy: "find out who removed it; if a copy exists, stop the broker and restore all \
                     of the data directory"
                .to_owned(),
        });
    }
    let files = Arc::new(FileCache::new(settings.storage.open_files_max));
    let journal = open_journal(settings, &disk, &marks, &findings)?;
    let log = LogEnv {
        disk: disk.clone(),
        marks: marks.clone(),
        journal,
        files,
    };
    let guard = GuardLimits {
        reserve_bytes: settings.disk_guard.reserve_bytes,
        low_bytes: settings.disk_guard.low_water_bytes,
        high_bytes: settings.disk_guard.high_water_bytes,
    };
    let storage = Storage::new(
        log.clone(),
        DiskGuard::open(disk.clone(), guard)?,
        guard.low_bytes,
    );
    storage.check_space()?;
    let image = backend.image();
    let fate = |topic| match TopicId(topic) {
        topic if image.topic_by_id(topic).is_some() => TopicFate::Keep,
        topic if image.tombstones().any(|(id, _)| id == topic) => TopicFate::Delete,
        _ => TopicFate::Unknown,
    };
    let (trash, _) = Trash::open(log.clone(), fate)?;
    for name in quarantined(&*disk)? {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "QUARANTINED",
            subject: name.clone(),
            message: "a topic directory that the metadata does not know was set aside".to_owned(),
            remedy: format!("look at quarantine/{name} in the data directory; nothing deletes it"),
        });
    }
    let env = Arc::new(ShardEnv {
        log,
        storage: storage.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        retention_interval: settings.storage.retention_check_interval,
    });
    let shards = (0..settings.storage.shards)
        .map(|index| shard::start(index, env.clone()))
        .collect::<std::io::Result<Vec<_>>>()?;
    storage.set_shards(shards.clone());
    let registry = Arc::new(Registry::new(shards));
    let applier = Applier {
        own: broker_id,
        tier,
        defaults: settings.topics.effective(),
        background_sync_ms: settings.storage.background_sync_interval.as_millis() as u64,
        registry: registry.clone(),
        storage: storage.clone(),
        trash,
        findings: findings.clone(),
        metrics: metrics.clone(),
    };
    let started = Instant::now();
    applier.open_all(image, found.clean);
    // A partition that could not be opened still needs to know that its mark may be lost.
    if metrics.partitions_offline.get() == 0 {
        marks.settle()?;
    }
    // Only now, with what was found acted upon, may it be forgotten.
    identity.confirm(incarnation, broker_id)?;
    let (partitions, elapsed_ms) = (registry.len(), started.elapsed().as_millis() as u64);
    tracing::info!(
        partitions,
        elapsed_ms,
        clean = found.clean,
        "the log is open"
    );
    let metadata = MetadataHandle::start(backend, applier, storage.clone())?;
    let ids = BrokerIdentity {
        cluster_id,
        broker_id,
    };
    Ok(Opened {
        identity,
        ids,
        clock,
        storage,
        registry,
        metadata,
        findings,
        disk: Arc::downgrade(&disk),
    })
}
