//! Who a data directory is, and how its broker stopped last time.
//!
//! One small file, `identity`, replaced as a whole by every change: written beside, synced,
//! renamed, the directory synced. `docs/format/identity.md` has its bytes and the order of things
//! at start and stop. A failed sync leaves a file of its own, `poisoned`, because a disk that cannot
//! sync should not be asked to replace its identity.

mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use headwater_log::Disk;

use self::file::{FORMAT_VERSION, FileError, decode, encode};
use super::error::{CREATE, MetadataError};
use super::refused::Refused;
use crate::ids::{BrokerId, ClusterId, IncarnationId, StorageId};
use crate::limits::{
    BOOT_ID_BYTES_MAX, IDENTITY_BYTES_MAX, INCARNATIONS_MAX, POISON_REASON_BYTES_MAX,
};

const FILE: &str = "identity";
const FILE_NEW: &str = "identity.new";
const POISONED: &str = "poisoned";
/// What holds data that only its identity makes sense of.
const DATA_DIRS: [&str; 3] = ["metadata", "topics", "marks"];

const REMEDY: &str = "nobody can tell whose data this is, so the broker does not start: restore \
    the file from a copy of this very data directory, or keep the directory for rescue and start \
    with an empty one";

/// What opening the data directory found. All but `created` and `clean` is found again at every
/// start until a registration was confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The directory was empty.
    pub created: bool,
    /// The last stop was clean: all was synced and closed.
    pub clean: bool,
    /// The host has booted since the last confirmed registration, or it is not known whether:
    /// writes that were not synced may be lost.
    pub other_boot: bool,
    /// An earlier run could not sync, and why.
    pub poisoned: Option<String>,
    /// The wall clock when the identity was last written, in milliseconds since the epoch.
    pub last_wall_ms: Option<i64>,
}

/// The identity of an open data directory. One owner.
pub struct Identity {
    disk: Arc<dyn Disk>,
    /// What the file says.
    state: State,
    /// The host's boot id of now.
    boot_id: String,
    opened: Opened,
    /// A write or sync failed: what the disk holds is not known.
    failed: bool,
}

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct State {
    storage: StorageId,
    cluster: Option<ClusterId>,
    broker: Option<BrokerId>,
    /// The host's when a registration was last confirmed. Empty: never, or not known.
    boot_id: String,
    /// Since the last confirmed one, that one included; oldest first.
    incarnations: Vec<IncarnationId>,
    last_wall_ms: Option<i64>,
    clean: bool,
}

impl Identity {
    /// Reads the identity, or makes one with `fresh` where the directory is empty. `boot_id` is the
    /// host's of now; empty if it has none.
    pub fn open(
        disk: Arc<dyn Disk>,
        fresh: StorageId,
        boot_id: &str,
    ) -> Result<Identity, MetadataError> {
        let boot_id: String = boot_id.chars().take(BOOT_ID_BYTES_MAX / 4).collect();
        let poisoned = read_bounded(disk.as_ref(), POISONED, POISON_REASON_BYTES_MAX)?
            .map(|reason| String::from_utf8_lossy(&reason).into_owned());
        // A rename that an earlier process did not sync counts once it is durable.
        disk.sync_dir(Path::new(""))
            .map_err(MetadataError::sync(Path::new("")))?;
        let Some(bytes) = read_bounded(disk.as_ref(), FILE, IDENTITY_BYTES_MAX)? else {
            return Identity::create(disk, fresh, boot_id, poisoned);
        };
        let state = decode(&bytes).map_err(|error| match error {
            FileError::Newer { version } => MetadataError::Newer {
                path: FILE.into(),
                what: "format",
                found: version.into(),
                known: FORMAT_VERSION.into(),
            },
            FileError::Damaged { position, detail } => damaged(position as u64, detail),
        })?;
        let opened = Opened {
            created: false,
            clean: state.clean,
            other_boot: boot_id.is_empty() || state.boot_id != boot_id,
            poisoned,
            last_wall_ms: state.last_wall_ms,
        };
        Ok(Identity {
            disk,
            state,
            boot_id,
            opened,
            failed: false,
        })
    }

    fn create(
        disk: Arc<dyn Disk>,
        storage: StorageId,
        boot_id: String,
        poisoned: Option<String>,
    ) -> Result<Identity, MetadataError> {
        for dir in DATA_DIRS {
            let path = Path::new(dir);
            if disk
                .exists(path)
                .map_err(MetadataError::io("look for", path))?
            {
                return Err(damaged(
                    0,
                    format!("the file is missing, but {dir} is there"),
                ));
            }
        }
        let state = State {
            storage,
            cluster: None,
            broker: None,
            boot_id: boot_id.clone(),
            incarnations: Vec::new(),
            last_wall_ms: None,
            clean: false,
        };
        let opened = Opened {
            created: true,
            clean: false,
            other_boot: false,
            poisoned,
            last_wall_ms: None,
        };
        write(disk.as_ref(), &state)?;
        Ok(Identity {
            disk,
            state,
            boot_id,
            opened,
            failed: false,
        })
    }

    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The cluster that the directory belongs to.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.state.cluster
    }

    /// The directory itself.
    pub fn storage(&self) -> StorageId {
        self.state.storage
    }

    /// Whether the directory holds nothing but its own UUID: no cluster and no data.
    pub fn is_blank(&self) -> Result<bool, MetadataError> {
        for dir in DATA_DIRS {
            let path = Path::new(dir);
            if self
                .disk
                .exists(path)
                .map_err(MetadataError::io("look for", path))?
            {
                return Ok(false);
            }
        }
        Ok(self.state.cluster.is_none())
    }

    /// The broker's id, once it has registered for the first time.
    pub fn broker(&self) -> Option<BrokerId> {
        self.state.broker
    }

    /// Every incarnation since the last confirmed one, oldest first, that one included: what
    /// `RegisterBroker` carries.
    pub fn incarnations(&self) -> &[IncarnationId] {
        &self.state.incarnations
    }

    /// Makes the directory the cluster's, durably, before `FormCluster` is proposed. The same
    /// cluster again changes nothing; another is refused.
    pub fn form(&mut self, cluster: ClusterId) -> Result<(), MetadataError> {
        match self.state.cluster {
            Some(present) if present == cluster => Ok(()),
            Some(present) => Err(Refused::AlreadyFormed { cluster: present }.into()),
            None => self.replace(State {
                cluster: Some(cluster),
                ..self.state.clone()
            }),
        }
    }

    /// Records a new incarnation, durably: before each registration, and once a minute before
    /// `ConfirmIncarnation`. Takes the clean-stop marker away, so that it comes before the first
    /// append.
    ///
    /// # Errors
    /// [`MetadataError::Failed`] once anything of the identity could not be written or synced, unless the disk was full.
    /// [`Refused::LimitExceeded`] once [`INCARNATIONS_MAX`] are unconfirmed.
    pub fn begin_incarnation(
        &mut self,
        incarnation: IncarnationId,
        wall_ms: i64,
    ) -> Result<(), MetadataError> {
        let mut state = self.state.clone();
        if state.incarnations.len() >= INCARNATIONS_MAX {
            let refused = Refused::LimitExceeded {
                what: "incarnations that the metadata has not confirmed",
                limit: INCARNATIONS_MAX as u64,
                remedy: "bring the metadata quorum back",
            };
            return Err(refused.into());
        }
        state.incarnations.push(incarnation);
        state.last_wall_ms = Some(wall_ms);
        state.clean = false;
        self.replace(state)
    }

    /// The metadata has that incarnation for this broker's last, durably: forgets those before it, of which starts that
    /// fail later on would come to have too many. What opening found stays.
    ///
    /// # Errors
    /// As [`Identity::begin_incarnation`], but for the limit.
    pub fn registered(&mut self, incarnation: IncarnationId) -> Result<(), MetadataError> {
        let before = self.begun_before(incarnation);
        // After a start that went well there is that one alone, and it goes with the confirmation.
        if before <= 1 {
            return Ok(());
        }
        let mut state = self.state.clone();
        state.incarnations.drain(..before);
        self.replace(state)
    }

    /// How many incarnations are on record from before that one.
    fn begun_before(&self, incarnation: IncarnationId) -> usize {
        let mut begun = self.state.incarnations.iter();
        let before = begun.position(|id| *id == incarnation);
        before.expect("only what was begun is confirmed")
    }

    /// The metadata has accepted that incarnation as this broker's: forgets those before it, and
    /// what opening found, the recorded boot id and the poison marker included. So everything that
    /// follows from what opening found must be done before.
    ///
    /// # Errors
    /// [`MetadataError::Damaged`] if the directory is another broker's.
    pub fn confirm(
        &mut self,
        incarnation: IncarnationId,
        broker: BrokerId,
    ) -> Result<(), MetadataError> {
        if let Some(recorded) = self.state.broker.filter(|recorded| *recorded != broker) {
            let detail = format!("it says broker {recorded}, the metadata broker {broker}");
            return Err(damaged(0, detail));
        }
        let mut state = self.state.clone();
        state.incarnations.drain(..self.begun_before(incarnation));
        state.broker = Some(broker);
        state.boot_id = self.boot_id.clone();
        self.replace(state)?;
        let removed = remove_poison(self.disk.as_ref());
        self.note(removed)
    }

    /// The last act of a clean stop, after all logs were synced and closed.
    pub fn mark_clean(&mut self, wall_ms: i64) -> Result<(), MetadataError> {
        let last_wall_ms = Some(wall_ms);
        self.replace(State {
            last_wall_ms,
            clean: true,
            ..self.state.clone()
        })
    }

    /// Leaves the marker that a sync has failed. Best effort, from any thread; the first reason
    /// stays.
    pub fn poison(disk: &dyn Disk, reason: &str) -> Result<(), MetadataError> {
        let (path, root) = (Path::new(POISONED), Path::new(""));
        let file = disk
            .open(path, true)
            .map_err(MetadataError::io("create", path))?;
        if file.len().map_err(MetadataError::io("look at", path))? == 0 {
            let reason = reason.as_bytes();
            let reason = reason.get(..POISON_REASON_BYTES_MAX).unwrap_or(reason);
            file.write_at(&[reason], 0)
                .map_err(MetadataError::io("write", path))?;
        }
        file.sync().map_err(MetadataError::sync(path))?;
        disk.sync_dir(root).map_err(MetadataError::sync(root))
    }

    fn replace(&mut self, state: State) -> Result<(), MetadataError> {
        if self.failed {
            return Err(MetadataError::Failed);
        }
        let written = write(self.disk.as_ref(), &state);
        self.note(written)?;
        self.state = state;
        Ok(())
    }

    /// Nothing is written any more once something failed for good.
    fn note(&mut self, result: Result<(), MetadataError>) -> Result<(), MetadataError> {
        self.failed |= result.as_ref().is_err_and(MetadataError::is_final);
        result
    }
}

/// Replaces the file. The commit point is the sync of the directory.
fn write(disk: &dyn Disk, state: &State) -> Result<(), MetadataError> {
    let (new, path, root) = (Path::new(FILE_NEW), Path::new(FILE), Path::new(""));
    let file = disk
        .open(new, true)
        .map_err(MetadataError::io(CREATE, new))?;
    file.truncate(0)
        .map_err(MetadataError::io("truncate", new))?;
    file.write_at(&[&encode(state)], 0)
        .map_err(MetadataError::io("write", new))?;
    file.sync().map_err(MetadataError::sync(new))?;
    disk.rename(new, path)
        .map_err(MetadataError::io("rename", new))?;
    disk.sync_dir(root).map_err(MetadataError::sync(root))
}

fn remove_poison(disk: &dyn Disk) -> Result<(), MetadataError> {
    let (path, root) = (Path::new(POISONED), Path::new(""));
    if !disk
        .exists(path)
        .map_err(MetadataError::io("look for", path))?
    {
        return Ok(());
    }
    disk.remove_file(path)
        .map_err(MetadataError::io("remove", path))?;
    disk.sync_dir(root).map_err(MetadataError::sync(root))
}

/// A small file's contents; `None` if it is not there.
fn read_bounded(
    disk: &dyn Disk,
    path: &'static str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, MetadataError> {
    let path = Path::new(path);
    if !disk
        .exists(path)
        .map_err(MetadataError::io("look for", path))?
    {
        return Ok(None);
    }
    let file = disk
        .open(path, false)
        .map_err(MetadataError::io("open", path))?;
    let mut bytes = vec![0; bytes_max];
    let read = file
        .read_at_medium(&mut bytes, 0)
        .map_err(MetadataError::io("read", path))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn damaged(position: u64, detail: String) -> MetadataError {
    MetadataError::Damaged {
        path: FILE.into(),
        position,
        detail,
        remedy: REMEDY,
    }
}
