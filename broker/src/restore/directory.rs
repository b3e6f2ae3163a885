//! The data directory of the new broker: empty, then unfinished and marked so, then whole.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use headwater_core::ids::{ClusterId, ProducerId, StorageId};
use headwater_core::metadata::{Cluster, Command, Identity, Image, LocalBackend};
use headwater_log::{
    Disk, FileCache, Journal, JournalLimits, Log, LogEnv, LogSeed, MarkStore, OsDisk, PartitionKey,
};
use headwater_tier::Head;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{RestoreOptions, Step, stop};
use crate::startup::boot_id;
use crate::tier::metadata_head;

/// It is there from the first to the last moment of a restore, and no broker starts beside it.
const MARKER: &str = "unfinished-restore";
const MARKER_NEW: &str = "unfinished-restore.new";

/// What a restore makes, and makes anew if it is begun again.
const MADE: [&str; 5] = ["metadata", "topics", "marks", "identity", "identity.new"];

/// What may be in a directory that is empty: our lock, a marker without a name, and what new file systems have.
const NOTHING: [&str; 3] = ["LOCK", MARKER_NEW, "lost+found"];

/// Files of the log that are open at once while it is seeded; a seeding opens them one after the other.
const OPEN_FILES_MAX: usize = 16;

/// What an unfinished restore was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// Where from.
    pub(super) from: String,
    /// The old cluster.
    pub(super) cluster: Uuid,
    /// The new one.
    pub(super) new_cluster: Uuid,
    /// Take over the old one's objects.
    pub(super) adopt: bool,
}

/// What is in a directory.
#[derive(Debug)]
pub(super) enum Contents {
    /// Nothing.
    Empty,
    /// A restore that was not finished.
    Unfinished(Unfinished),
}

/// Looks at the directory that is to be filled; refuses one that is anybody's.
pub(super) fn look(dir: &Path) -> anyhow::Result<Contents> {
    let shown = dir.display();
    if let Some(unfinished) = marker(dir)? {
        return Ok(Contents::Unfinished(unfinished));
    }
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::Empty),
        entries => entries.with_context(|| format!("looking at the data directory {shown}"))?,
    };
    for entry in entries {
        let name = entry
            .with_context(|| format!("listing {shown}"))?
            .file_name();
        ensure!(
            NOTHING.iter().any(|known| name == *known),
            "the data directory {shown} is not empty, {} is in it: name another with --data-dir; a restore makes a new \
             broker and changes none that is there",
            name.display()
        );
    }
    Ok(Contents::Empty)
}

/// For a broker that is about to start.
pub(crate) fn check_finished(dir: &Path) -> anyhow::Result<()> {
    match marker(dir)? {
        None => Ok(()),
        Some(unfinished) => bail!(
            "a restore into the data directory {} was not finished; run it again: {}; or remove the directory and begin \
             anew",
            dir.display(),
            unfinished.command(dir)
        ),
    }
}

fn marker(dir: &Path) -> anyhow::Result<Option<Unfinished>> {
    let path = dir.join(MARKER);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let read = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} says that a restore was not finished, and cannot be read: remove the directory and begin anew",
            path.display()
        )
    });
    read.map(Some)
}

impl Unfinished {
    /// Whether the same is asked for.
    pub(super) fn check_same(&self, url: &str, options: &RestoreOptions) -> anyhow::Result<()> {
        let same = self.from == url
            && self.adopt == options.adopt
            && options.cluster.is_none_or(|asked| asked == self.cluster);
        ensure!(
            same,
            "the data directory {} holds an unfinished restore; finish it: {}; or remove the directory and begin anew",
            options.data_dir.display(),
            self.command(&options.data_dir)
        );
        Ok(())
    }

    fn command(&self, dir: &Path) -> String {
        let Unfinished {
            from,
            cluster,
            adopt,
            ..
        } = self;
        let adopt = if *adopt { " --adopt" } else { "" };
        let dir = dir.display();
        format!("headwater restore --from '{from}' --data-dir '{dir}' --cluster {cluster}{adopt}")
    }
}

/// What the directory is filled with.
pub(super) struct Plan {
    /// The new cluster.
    pub(super) cluster: ClusterId,
    /// The old one, if its objects are taken over.
    pub(super) adopted: Option<ClusterId>,
    /// Ids of producers below are never handed out.
    pub(super) next_producer: ProducerId,
    /// The old cluster's image.
    pub(super) image: Image,
    /// Heads under the new cluster's prefix.
    pub(super) heads: Vec<(PartitionKey, Head)>,
    /// What each partition's log begins with.
    pub(super) seeds: Vec<(PartitionKey, LogSeed)>,
}

/// A directory that is marked as unfinished, and locked.
pub(super) struct Directory {
    disk: Arc<dyn Disk>,
}

/// Marks the directory, durably, and removes what an unfinished restore has left.
pub(super) fn begin(dir: &Path, unfinished: &Unfinished) -> anyhow::Result<Directory> {
    let shown = dir.display();
    let disk = OsDisk::open(dir).with_context(|| format!("opening the data directory {shown}"))?;
    // Now that nobody else can: it may have come to be somebody's.
    look(dir)?;
    let marked = mark(&disk, unfinished);
    marked.with_context(|| format!("writing {MARKER} in {shown}"))?;
    for name in MADE {
        remove(&dir.join(name)).with_context(|| format!("removing {name} in {shown}"))?;
    }
    Ok(Directory {
        disk: Arc::new(disk),
    })
}

fn mark(disk: &OsDisk, unfinished: &Unfinished) -> anyhow::Result<()> {
    let text = serde_json::to_vec_pretty(unfinished)?;
    let file = disk.open(Path::new(MARKER_NEW), true)?;
    file.truncate(0)?;
    file.write_at(&[&text], 0)?;
    file.sync()?;
    disk.rename(Path::new(MARKER_NEW), Path::new(MARKER))?;
    Ok(disk.sync_dir(Path::new(""))?)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Directory {
    /// Fills it, with the metadata last, and takes the mark away. Blocking.
    pub(super) fn fill(self, plan: Plan, stop_before: Option<Step>) -> anyhow::Result<()> {
        let disk = self.disk;
        let mut identity = Identity::open(disk.clone(), StorageId(Uuid::new_v4()), &boot_id())?;
        identity.form(plan.cluster)?;
        // The broker deals them out to as many shards as it has.
        let marks = Arc::new(MarkStore::open(disk.clone(), 1)?);
        // Nothing is written to it: all is synced at once.
        let (journal, _) = Journal::open(disk.clone(), &marks, 1, JournalLimits::SMALL, 0)?;
        let env = LogEnv {
            disk: disk.clone(),
            marks,
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(OPEN_FILES_MAX)),
        };
        for (key, seed) in &plan.seeds {
            Log::seed(&env, *key, seed)?;
        }
        stop(stop_before, Step::Metadata)?;
        let cluster = Cluster {
            id: plan.cluster,
            first_storage: identity.storage(),
        };
        let mut image = Image::restored(plan.image, cluster, plan.next_producer);
        for (key, head) in plan.heads {
            ensure!(
                image.set_tier_head(key, metadata_head(head)),
                "the newest manifest of {key:?} cannot be a head: {head:?}"
            );
        }
        if let Some(cluster) = plan.adopted {
            image.apply(&Command::AdoptTier { cluster })?;
        }
        drop(LocalBackend::create_with(disk.clone(), image)?);
        stop(stop_before, Step::Finish)?;
        disk.remove_file(Path::new(MARKER))?;
        Ok(disk.sync_dir(Path::new(""))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        assert!(matches!(look(&absent), Ok(Contents::Empty)));
        fs::write(dir.path().join("LOCK"), "").unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert!(matches!(look(dir.path()), Ok(Contents::Empty)));
        fs::write(dir.path().join("note.txt"), "").unwrap();
        let error = look(dir.path()).unwrap_err().to_string();
        assert!(error.contains("note.txt is in it"), "{error}");
    }

    #[test]
    fn an_unfinished_restore_says_how_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = Unfinished {
            from: "s3://b/p".to_owned(),
            cluster: Uuid::from_u128(1),
            new_cluster: Uuid::from_u128(2),
            adopt: true,
        };
        check_finished(dir.path()).unwrap();
        drop(begin(dir.path(), &unfinished).unwrap());
        let error = check_finished(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("headwater restore --from 's3://b/p'"),
            "{error}"
        );
        assert!(error.contains("--adopt"), "{error}");
        match look(dir.path()) {
            Ok(Contents::Unfinished(found)) => assert_eq!(found, unfinished),
            found => panic!("{found:?}"),
        }
        fs::write(dir.path().join(MARKER), "{").unwrap();
        let error = check_finished(dir.path()).unwrap_err().to_string();
        assert!(error.contains("remove the directory"), "{error}");
    }
}
