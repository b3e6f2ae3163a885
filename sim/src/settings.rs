//! What a run's topic and brokers are set to.

use headwater_core::metadata::Durability;
use headwater_core::replica::ReplicaConfig;
use headwater_log::LogConfig;
use headwater_tier::{Policy, Retention};
use uuid::Uuid;

use crate::rng::Rng;

/// Settings; those of the topic change while a run goes on.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) tiering: bool,
    pub(crate) retention: Retention,
    pub(crate) local_retention_ms: Option<u64>,
    pub(crate) local_retention_bytes: Option<u64>,
    pub(crate) storage_full: bool,
    pub(crate) clock_suspect: bool,
    pub(crate) eager: bool,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) page_entries: usize,
    pub(crate) grace_ms: u64,
    pub(crate) sweep_interval_ms: u64,
    pub(crate) retain_interval_ms: u64,
    /// Objects are damaged behind everybody's back.
    pub(crate) damage: bool,
}

impl Settings {
    /// Draws a run's settings.
    pub(crate) fn draw(rng: &mut Rng) -> Settings {
        let mut settings = Settings {
            tiering: true,
            retention: Retention::default(),
            local_retention_ms: None,
            local_retention_bytes: None,
            storage_full: false,
            clock_suspect: false,
            eager: rng.below(5) == 0,
            durability: match rng.below(3) {
                0 => Durability::Replicated,
                _ => Durability::Fsync,
            },
            segment_bytes: rng.within(400, 1_600),
            page_entries: rng.within(2, 8) as usize,
            grace_ms: rng.within(60_000, 150_000),
            sweep_interval_ms: rng.within(60_000, 240_000),
            retain_interval_ms: rng.within(5_000, 60_000),
            damage: rng.below(4) == 0,
        };
        settings.redraw(rng);
        settings
    }

    /// Draws the topic's settings again.
    pub(crate) fn redraw(&mut self, rng: &mut Rng) {
        self.tiering = rng.below(5) > 0;
        self.retention = Retention {
            ms: (rng.below(3) == 0).then(|| rng.within(300_000, 3_000_000)),
            bytes: (rng.below(3) == 0).then(|| rng.within(2_000, 30_000)),
        };
        self.local_retention_ms = match rng.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(rng.within(1_000, 600_000)),
        };
        self.local_retention_bytes = match rng.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(rng.within(500, 8_000)),
        };
    }

    pub(crate) fn replica(&self) -> ReplicaConfig {
        ReplicaConfig {
            durability: self.durability,
            message_bytes_max: 1 << 20,
            timestamp_ahead_ms_max: 3_600_000,
            min_in_sync: 1,
            background_sync_ms: 5_000,
            tiering: self.tiering,
            local_retention_ms: self.local_retention_ms,
            local_retention_bytes: self.local_retention_bytes,
            log: LogConfig {
                segment_bytes: self.segment_bytes,
                segment_ms: 120_000,
                retention_ms: self.retention.ms,
                retention_bytes: self.retention.bytes,
                index_interval_bytes: 256,
                producers_max: 10,
            },
        }
    }

    pub(crate) fn policy(&self, cluster: Uuid) -> Policy {
        Policy {
            tiering: self.tiering,
            retention: self.retention,
            wall_clock_suspect: self.clock_suspect,
            retain_interval_ms: self.retain_interval_ms,
            grace_ms: self.grace_ms,
            sweep_interval_ms: self.sweep_interval_ms,
            clusters: vec![cluster],
        }
    }
}
