//! The tier of this broker: the store, the task that drives what `headwater-tier` decides, and what is known of both.

mod deleted;
mod driver;
mod read_ahead;
mod replaced;
mod segment;
mod snapshots;
mod state;
pub mod store;
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_core::ids::{BrokerEpoch, ClusterId};
use headwater_core::metadata::TierHead;
use headwater_tier::{CacheLimits, FenceWatch, Head, Store, Tier, TierError};
use tokio::sync::Semaphore;

pub use driver::{Driver, DriverParts};
pub use read_ahead::ReadAhead;
pub use state::{Side, TierFacts, TierState};

use crate::config::Tier as Settings;
use crate::limits::{TIER_PROBE_TIMEOUT, TIER_READS_MAX};
use crate::tier::store::{StoreMetrics, StoreOptions};
use crate::tier::watched::Watched;

/// Part of the cache that is for manifests, pages and footers.
const META_PARTS: u64 = 4;

/// The tier of this broker.
pub struct BrokerTier {
    /// Reads and writes it.
    pub tier: Tier,
    /// What it was set up with.
    pub settings: Settings,
    /// Where it is, without anything secret.
    pub url: String,
    /// It is on the disk of the data directory.
    pub eager: bool,
    /// Whether this process has taken it over, and another one or another cluster since, or holds what is in it.
    pub fence: FenceWatch,
    /// How it does.
    pub state: Arc<TierState>,
    /// Reads at once, apart from all else: a cold reader holds up no other work.
    pub reads: Semaphore,
    /// What is read ahead of readers.
    pub read_ahead: ReadAhead,
    /// Whether the store was found to be what a tier needs. Until then nothing is written to it.
    probed: AtomicBool,
}

impl BrokerTier {
    /// Opens the store and asks it for what the tier relies on. A store that does not answer is no error: it may be
    /// well again later, and until then segments stay on the disk.
    ///
    /// # Errors
    /// When the store cannot be used at all: it would write over objects, or its URL or credentials make no sense.
    pub async fn open(
        settings: &Settings,
        data_dir: &Path,
        cluster: ClusterId,
        metrics: &StoreMetrics,
    ) -> anyhow::Result<Arc<BrokerTier>> {
        let options = StoreOptions {
            part_bytes: 5 << 20,
            ..StoreOptions::default()
        };
        let credentials = settings.credentials_dir.as_deref();
        let opening = (settings.url.clone(), data_dir.to_owned(), metrics.clone());
        let store = {
            let (url, data_dir, metrics) = opening;
            store::open(&url, credentials, &data_dir, &options, &metrics)?
        };
        let meta_bytes = settings.cache_bytes / META_PARTS;
        let limits = CacheLimits {
            chunk_bytes: settings.cache_bytes - meta_bytes,
            meta_bytes,
        };
        let state = Arc::new(TierState::default());
        let store: Arc<dyn Store> = Arc::new(Watched::new(store, state.clone()));
        let tier = BrokerTier {
            eager: store::shares_disk(&settings.url, data_dir),
            url: store::redacted(&settings.url),
            fence: FenceWatch::default(),
            state,
            reads: Semaphore::new(TIER_READS_MAX),
            read_ahead: ReadAhead::new(limits.chunk_bytes),
            probed: AtomicBool::new(false),
            tier: Tier::new(store, cluster.0, limits),
            settings: settings.clone(),
        };
        // A store that hangs is as good as one that is down: the broker serves all the same.
        match tokio::time::timeout(TIER_PROBE_TIMEOUT, tier.probe()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if store::may_get_well(&error) => {
                tracing::warn!(
                    url = tier.url,
                    error = format!("{error:#}"),
                    "the tier does not answer"
                );
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let error = format!("no answer within {} s", TIER_PROBE_TIMEOUT.as_secs());
                tracing::warn!(url = tier.url, error, "the tier does not answer");
                tier.state
                    .failed(Side::Write, &error, crate::clock::wall_ms());
            }
        }
        tracing::info!(
            url = tier.url,
            eager = tier.eager,
            "sealed segments go to the tier"
        );
        Ok(Arc::new(tier))
    }

    /// Asks the store for what the tier relies on.
    pub(crate) async fn probe(&self) -> anyhow::Result<()> {
        let probed = store::probe(self.tier.store(), self.tier.cluster()).await;
        if probed.is_ok() {
            self.state.unusable(None);
            self.probed.store(true, Ordering::Relaxed);
        }
        probed
    }

    /// Takes the objects over from whichever process of this cluster wrote them before. `broker_epoch` is that of this
    /// start.
    pub(crate) async fn take_over(&self, broker_epoch: BrokerEpoch) -> anyhow::Result<()> {
        match self.fence.take_over(&self.tier, broker_epoch.0).await {
            Ok(()) => self.state.unusable(None),
            Err(TierError::Store(error)) => return Err(error.into()),
            Err(error) if self.state.gives_up(&error) => {}
            Err(error) => tracing::warn!(%error, "the tier was not taken over; trying again later"),
        }
        Ok(())
    }

    /// Whether the store was found to be what a tier needs.
    pub(crate) fn is_probed(&self) -> bool {
        self.probed.load(Ordering::Relaxed)
    }

    /// Whether it may be written to: the store was found to be what a tier needs, and the objects were taken over.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_probed() && self.fence.is_owner()
    }
}

/// The metadata's head in the words of the tier.
pub fn head(head: TierHead) -> Head {
    let TierHead {
        number,
        leader_epoch,
        start,
        end,
    } = head;
    Head {
        number,
        leader_epoch,
        start,
        end,
    }
}

/// The tier's head in the words of the metadata.
pub(crate) fn metadata_head(head: Head) -> TierHead {
    let Head {
        number,
        leader_epoch,
        start,
        end,
    } = head;
    TierHead {
        number,
        leader_epoch,
        start,
        end,
    }
}
