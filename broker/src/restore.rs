//! A new broker from a bucket alone: topics, settings, records up to what was in the tier, producer state.
//!
//! The new cluster has a UUID of its own and writes under that alone, but for a fence or a hold before the old cluster's
//! objects, which its first manifests name.
//! `docs/format/tier.md` ("Rebuilding a cluster") says which objects count, `docs/format/metadata.md` in which order the
//! directory is filled. Until the last step a file in the directory says that it is unfinished: no broker starts on it,
//! and the same restore begins anew there.

mod directory;
mod keep;
mod partition;
mod release;
mod report;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use headwater_core::ids::{ClusterId, ProducerId};
use headwater_core::metadata::TierHead;
use headwater_log::highest_producer_id;
use headwater_tier::{CacheLimits, Depth, Manifest, Store, Tier};
use uuid::Uuid;

pub(crate) use directory::check_finished;
pub use release::{ReleaseOptions, release};
pub use report::{
    HoldReport, PartitionReport, ProblemReport, RestoreReport, TopicReport, UnreadObject,
    VanishedTopic,
};
pub(crate) use source::moment;

use crate::tier::store::{self, StoreMetrics, StoreOptions};
use directory::{Contents, Unfinished};
use partition::{Counters, Survey};
use source::Source;

/// Memory for manifests, pages and footers, and for the batches behind the newest producer snapshot.
const CACHE: CacheLimits = CacheLimits {
    chunk_bytes: 64 << 20,
    meta_bytes: 64 << 20,
};

/// Partitions that are looked at at once.
const PARTITIONS_AT_ONCE: usize = 8;

/// Producer ids that are passed over: those that the old cluster may have handed out behind what the bucket knows.
const PRODUCER_IDS_PASSED_OVER: i64 = 1_000_000;

/// What to restore, and where to.
pub struct RestoreOptions {
    /// Where the old cluster's objects are: its `tier.url`.
    pub from: String,
    /// Directory with the credentials, as the setting `tier.credentials_dir`.
    pub credentials_dir: Option<PathBuf>,
    /// Data directory of the new broker; absent or empty, or what an unfinished restore has left.
    pub data_dir: PathBuf,
    /// Which cluster, if the bucket holds several.
    pub cluster: Option<Uuid>,
    /// Take the old cluster's objects over: it is kept from writing, and what is garbage of its objects is deleted later.
    pub adopt: bool,
    /// Read every object whole and compare checksums, instead of looking for it and its length.
    pub checksums: bool,
    /// Only say what would be restored.
    pub dry_run: bool,
    /// Hears how far it is.
    pub progress: OnProgress,
    /// For tests alone.
    #[doc(hidden)]
    pub testing: Testing,
}

impl RestoreOptions {
    /// From a bucket into a directory, with nothing else asked for.
    pub fn new(from: &str, data_dir: PathBuf) -> RestoreOptions {
        RestoreOptions {
            from: from.to_owned(),
            credentials_dir: None,
            data_dir,
            cluster: None,
            adopt: false,
            checksums: false,
            dry_run: false,
            progress: Arc::new(|_| {}),
            testing: Testing::default(),
        }
    }
}

/// For tests alone: what cannot be waited for, and a stop as by a crash.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Testing {
    /// Instead of the ten minutes behind the fence.
    pub adopt_wait: Option<Duration>,
    /// Stops right before this step.
    pub stop_before: Option<Step>,
}

/// Steps of a restore, in their order.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The fence, if the old cluster's objects are taken over.
    Fence,
    /// The hold, if they are not.
    Hold,
    /// The first manifests of the new cluster.
    Manifests,
    /// The directory's identity and logs.
    Logs,
    /// The metadata.
    Metadata,
    /// The directory is finished.
    Finish,
}

/// Hears how far a restore is.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Manifests are read and objects looked at: so many so far.
    Checked {
        /// Partitions that are done.
        partitions: usize,
        /// Of so many.
        partitions_total: usize,
        /// Objects.
        objects: u64,
        /// Their bytes of records.
        bytes: u64,
    },
    /// The fence is there; the old cluster may not have seen it yet.
    WaitingBehindFence {
        /// For so long still.
        left: Duration,
    },
    /// The first manifests of the new cluster are written.
    Writing {
        /// Partitions that are done.
        partitions: usize,
        /// Of so many.
        partitions_total: usize,
    },
}

/// Makes the data directory of a new broker, the first of a new cluster, from what an old one has in a bucket. Must run
/// within a Tokio runtime.
///
/// # Errors
/// When the store does not do as asked, nothing in it can be restored or it is not clear what, or the directory is not
/// empty. What is missing in the bucket is no error: the report says so.
pub async fn restore(options: RestoreOptions) -> anyhow::Result<RestoreReport> {
    let url = store::redacted(&options.from);
    let unfinished = match directory::look(&options.data_dir)? {
        Contents::Empty => None,
        Contents::Unfinished(unfinished) => {
            unfinished.check_same(&url, &options)?;
            Some(unfinished)
        }
    };
    let credentials = options.credentials_dir.as_deref();
    let store = open(&options.from, credentials, &options.data_dir)?;
    let own = unfinished.as_ref().map(|unfinished| unfinished.new_cluster);
    let asked = unfinished
        .as_ref()
        .map_or(options.cluster, |unfinished| Some(unfinished.cluster));
    let cluster = source::choose(&store, &url, asked, own).await?;
    let new_cluster = own.unwrap_or_else(Uuid::new_v4);
    let restore = Restore {
        url,
        old: Tier::new(store.clone(), cluster, CACHE),
        new: Tier::new(store, new_cluster, CACHE),
        options,
    };
    restore.run().await
}

/// Opens the store that has the old cluster's objects.
fn open(
    from: &str,
    credentials_dir: Option<&Path>,
    data_dir: &Path,
) -> anyhow::Result<Arc<dyn Store>> {
    store::check(from)?;
    ensure!(
        !matches!(from, "fs:" | "memory:"),
        "{from} is within the broker that it belongs to: name the old broker's directory, fs:///OLD/DATA/tier"
    );
    if let Some(dir) = store::directory(from) {
        // Opening it would make one, and a directory without objects has nothing to restore.
        ensure!(
            dir.is_dir(),
            "there is no directory {}: check --from, which is the old cluster's tier.url",
            dir.display()
        );
    }
    let (options, metrics) = (StoreOptions::default(), StoreMetrics::default());
    store::open(from, credentials_dir, data_dir, &options, &metrics)
}

/// A restore of which it is known what and where to.
struct Restore {
    options: RestoreOptions,
    url: String,
    /// The old cluster's objects; never written but for the fence or the hold.
    old: Tier,
    /// The new cluster's.
    new: Tier,
}

/// What the bucket holds, looked through.
struct Looked {
    source: Source,
    surveys: Vec<Survey>,
}

impl Restore {
    async fn run(self) -> anyhow::Result<RestoreReport> {
        let RestoreOptions { adopt, dry_run, .. } = self.options;
        let depth = match self.options.checksums {
            true => Depth::Checksum,
            false => Depth::Length,
        };
        if dry_run {
            let looked = self.look(Some(depth)).await?;
            if adopt {
                self.check_may_adopt(&looked).await?;
            }
            return Ok(self.report(&looked, adopt, &[]));
        }
        let kept = match adopt {
            true => self.take_over(depth).await?,
            false => self.keep_beside(depth).await?,
        };
        let (directory, looked) = (kept.directory, kept.looked);
        // What has come to be damaged since is left to people.
        let adopted = adopt && looked.unsound().is_none();
        let report = self.report(&looked, adopted, &kept.holds);
        self.stop(Step::Manifests)?;
        let manifests = self.write_manifests(&looked).await?;
        self.stop(Step::Logs)?;
        let heads = manifests
            .iter()
            .map(|manifest| (manifest.key, manifest.head()));
        let plan = directory::Plan {
            cluster: ClusterId(self.new.cluster()),
            adopted: adopted.then_some(ClusterId(self.old.cluster())),
            next_producer: looked.next_producer(),
            image: looked.source.image,
            heads: heads.collect(),
            seeds: looked
                .surveys
                .into_iter()
                .map(|survey| (survey.key, survey.seed))
                .collect(),
        };
        let stop_before = self.options.testing.stop_before;
        tokio::task::spawn_blocking(move || directory.fill(plan, stop_before))
            .await
            .context("filling the data directory")??;
        Ok(report)
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished {
            from: self.url.clone(),
            cluster: self.old.cluster(),
            new_cluster: self.new.cluster(),
            adopt: self.options.adopt,
        }
    }

    /// Looks through the bucket; without a depth at manifests and pages only.
    async fn look(&self, depth: Option<Depth>) -> anyhow::Result<Looked> {
        let source = Source::read(self.old.store(), self.old.cluster()).await?;
        let partitions = source.partitions();
        let counters = Counters::new(partitions.len(), self.options.progress.clone());
        let surveys = partitions.into_iter().map(|(topic, key, committed)| {
            let counters = &counters;
            async move {
                let survey = partition::survey(&self.old, key, committed, depth, counters).await;
                survey.with_context(|| format!("looking through {topic}/{}", key.index))
            }
        });
        let mut surveys: Vec<Survey> = stream::iter(surveys)
            .buffer_unordered(PARTITIONS_AT_ONCE)
            .try_collect()
            .await?;
        surveys.sort_by_key(|survey| survey.key);
        Ok(Looked { source, surveys })
    }

    async fn write_manifests(&self, looked: &Looked) -> anyhow::Result<Vec<Manifest>> {
        let manifests = looked
            .surveys
            .iter()
            .filter_map(|survey| survey.manifest.as_ref());
        let total = manifests.clone().count();
        let mut written = Vec::with_capacity(total);
        let mut writes = stream::iter(manifests)
            .map(|manifest| self.new.write_first(manifest))
            .buffer_unordered(PARTITIONS_AT_ONCE);
        while let Some(manifest) = writes.next().await {
            written.push(manifest.context("writing the new cluster's first manifests")?);
            (self.options.progress)(Progress::Writing {
                partitions: written.len(),
                partitions_total: total,
            });
        }
        Ok(written)
    }

    fn report(&self, looked: &Looked, adopted: bool, holds: &[Uuid]) -> RestoreReport {
        let start = start_command(&self.options);
        let holder = self.new.cluster().to_string();
        let hold = |&cluster| HoldReport {
            cluster_id: cluster,
            release_command: release::command(&self.options, cluster, &holder),
        };
        RestoreReport::new(
            &self.unfinished(),
            self.options.dry_run,
            adopted,
            looked,
            holds.iter().map(hold).collect(),
            start,
        )
    }

    fn stop(&self, step: Step) -> anyhow::Result<()> {
        stop(self.options.testing.stop_before, step)
    }
}

/// A stop as by a crash, where a test asks for one.
fn stop(stop_before: Option<Step>, step: Step) -> anyhow::Result<()> {
    ensure!(
        stop_before != Some(step),
        "stopped before {step:?}, as a test wanted"
    );
    Ok(())
}

impl Looked {
    /// The first manifest or page without which it is not known what counts.
    fn unsound(&self) -> Option<&str> {
        let mut unsound = self
            .surveys
            .iter()
            .filter_map(|survey| survey.unsound.as_deref());
        unsound.next()
    }

    /// The clusters that wrote what was found.
    fn origins(&self) -> BTreeSet<Uuid> {
        let origins = self.surveys.iter().flat_map(|survey| &survey.origins);
        origins.copied().collect()
    }

    /// No producer of the old cluster has an id from here on.
    fn next_producer(&self) -> ProducerId {
        let snapshots = self
            .surveys
            .iter()
            .filter_map(|survey| survey.seed.producers.as_deref());
        let seen = snapshots.filter_map(highest_producer_id).max();
        let behind = seen.map_or(0, |seen| seen.saturating_add(1));
        let known = self.source.image.next_producer().0;
        ProducerId(known.max(behind).saturating_add(PRODUCER_IDS_PASSED_OVER))
    }
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    match text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/:._-=@%+,".contains(&byte))
    {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Restored and started like this the new broker finds everything.
fn start_command(options: &RestoreOptions) -> String {
    let mut command = format!(
        "headwater-broker --data-dir {} --set {}",
        quoted(&options.data_dir.display().to_string()),
        quoted(&format!("tier.url={}", options.from))
    );
    if let Some(dir) = &options.credentials_dir {
        let setting = format!("tier.credentials_dir={}", dir.display());
        command.push_str(&format!(" --set {}", quoted(&setting)));
    }
    command
}

/// The head of a partition, as far as the snapshot knows.
type Committed = Option<TierHead>;
