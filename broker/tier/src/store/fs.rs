//! A directory as an object store: the embedded default, and any file system that several brokers share.
//!
//! An object is written under `tmp/`, synced, linked to its name, and the folders up to the root are synced: a link is
//! the one call that takes a name only if it is free, and it shows the whole file or nothing. After power loss between
//! any two steps the object is absent or whole; what is left under `tmp/` is removed when the store is opened, an hour
//! after it was last written to. Should a live broker have been that slow, its link finds no file and the upload fails.
//!
//! Folders that become empty go with their last object.

mod list;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use headwater_log::{Disk, DiskFile};
use uuid::Uuid;

use super::{Listed, ObjectMeta, ObjectWriter, Store, StoreError, StoreErrorKind, key};

/// How long after its last write a temporary file belongs to nobody.
const LEFTOVER_MS: i64 = 60 * 60 * 1000;

/// An upload is synced whenever so many bytes have come together: synced all at once they would hold up the syncs of
/// the log on the same disk.
const UNSYNCED_BYTES_MAX: u64 = 16 << 20;

/// How often a folder that others remove, being empty, is made again. Each time somebody else has deleted an object.
const FOLDER_ATTEMPTS_MAX: u32 = 16;

/// "Permission denied" by the operating system: of folders, and never of hard links as such.
const EACCES: i32 = 13;

/// What a file store needs of those who run it.
pub trait FsHost: Send + Sync + 'static {
    /// Runs work that waits for the disk, now or on another thread, or drops it.
    fn run(&self, work: Box<dyn FnOnce() + Send>);

    /// When the file at this path of the disk was last written to, by the file system's clock, in milliseconds since
    /// the epoch; `None` if that is not known.
    fn modified_ms(&self, path: &Path) -> io::Result<Option<i64>>;
}

/// Tells when a file was last written to.
type ModifiedMs = dyn Fn(&Path) -> Option<i64> + Send + Sync;

/// A host that runs the work where it stands, for simulators, tools and tests.
pub struct Inline {
    modified_ms: Box<ModifiedMs>,
}

impl Inline {
    /// With the times that files are to have.
    pub fn new(modified_ms: impl Fn(&Path) -> Option<i64> + Send + Sync + 'static) -> Inline {
        Inline {
            modified_ms: Box::new(modified_ms),
        }
    }
}

impl FsHost for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn modified_ms(&self, path: &Path) -> io::Result<Option<i64>> {
        Ok((self.modified_ms)(path))
    }
}

/// A directory as an object store. A clone is the same store.
#[derive(Clone)]
pub struct FsStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    host: Arc<dyn FsHost>,
    /// Names of temporary files begin with it: no other opening of the store has it.
    owner: Uuid,
    temporaries: AtomicU64,
}

impl FsStore {
    /// Opens the directory that `disk` is and removes what crashes have left in it. Waits for the disk. `owner` is to be
    /// random.
    pub fn open(
        disk: Arc<dyn Disk>,
        host: Arc<dyn FsHost>,
        owner: Uuid,
    ) -> Result<FsStore, StoreError> {
        let inner = Inner {
            disk,
            host,
            owner,
            temporaries: AtomicU64::new(0),
        };
        let cleared = inner.clear_leftovers();
        cleared.map_err(|error| told("open", key::TEMPORARIES, &error))?;
        Ok(FsStore {
            inner: Arc::new(inner),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.inner, action, key, work).await
    }
}

/// Lets the host run the work.
async fn run<T: Send + 'static>(
    inner: &Arc<Inner>,
    action: &'static str,
    key: &str,
    work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let (done, result) = oneshot::channel();
    let worker = inner.clone();
    inner.host.run(Box::new(move || {
        // Whoever asked may have gone.
        drop(done.send(work(&worker)));
    }));
    match result.await {
        Ok(result) => result.map_err(|error| told(action, key, &error)),
        Err(_) => {
            let detail = "the work was dropped: the broker is stopping";
            Err(StoreError::new(
                StoreErrorKind::Unavailable,
                action,
                key,
                detail,
            ))
        }
    }
}

impl Inner {
    /// Removes temporary files of those who have crashed. They may be of others who share the directory: the age by the
    /// file system's own clock tells.
    fn clear_leftovers(&self) -> io::Result<()> {
        let folder = Path::new(key::TEMPORARIES);
        self.disk.create_dir_all(folder)?;
        self.disk.sync_dir(Path::new(""))?;
        // A file of now tells what time it is there, and that the directory can be written to.
        let (now, file) = self.temporary()?;
        file.write_at(&[b"now"], 0)?;
        let now_ms = self.host.modified_ms(&now)?;
        for (name, is_dir) in self.disk.list(folder)? {
            let path = folder.join(name);
            if is_dir || path == now {
                continue;
            }
            let age_ms = match (now_ms, self.host.modified_ms(&path)) {
                (Some(now_ms), Ok(Some(modified_ms))) => now_ms.saturating_sub(modified_ms),
                // Not known, or taken away at this moment.
                _ => continue,
            };
            if LEFTOVER_MS <= age_ms {
                tracing::info!(file = %path.display(), age_ms, "removing what an upload left behind");
                self.remove_if_there(&path)?;
            }
        }
        self.remove_if_there(&now)
    }

    /// A new file for an object that has no name yet.
    fn temporary(&self) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(key::TEMPORARIES).join(format!("{}-{number}", self.owner));
        let file = self.disk.open(&path, true)?;
        Ok((path, file))
    }

    /// Gives a synced file its name, durably. The temporary name is gone afterwards, whatever the result.
    fn publish(&self, temporary: &Path, key: &str) -> io::Result<()> {
        let path = Path::new(key);
        let published = self.link(temporary, path).and_then(|()| {
            path.ancestors()
                .skip(1)
                .try_for_each(|folder| self.disk.sync_dir(folder))
        });
        // The object counts without this; a leftover goes when the store is opened.
        if let Err(error) = self.remove_if_there(temporary) {
            tracing::debug!(file = %temporary.display(), %error, "a temporary file is left behind");
        }
        published
    }

    fn link(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut attempts = 0;
        loop {
            self.disk.create_dir_all(folder).map_err(not_a_folder)?;
            attempts += 1;
            match self.disk.link(temporary, path) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && attempts < FOLDER_ATTEMPTS_MAX
                        && self.disk.exists(temporary)? => {}
                linked => return linked.map_err(no_hard_links),
            }
        }
    }

    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        // Saves the writing; the link decides.
        if self.disk.exists(Path::new(key)).unwrap_or(false) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (temporary, file) = self.temporary()?;
        let written = file.write_at(&[bytes], 0).and_then(|()| file.sync());
        match written {
            Ok(()) => self.publish(&temporary, key),
            Err(error) => {
                drop(self.remove_if_there(&temporary));
                Err(error)
            }
        }
    }

    fn read(&self, key: &str, range: Range<u64>) -> io::Result<Bytes> {
        let file = self.disk.open(Path::new(key), false)?;
        let end = range.end.min(file.len()?);
        let count = usize::try_from(end.saturating_sub(range.start))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(file.read_vec(count, range.start)?.into())
    }

    fn stat(&self, path: &Path) -> io::Result<ObjectMeta> {
        Ok(ObjectMeta {
            size_bytes: self.disk.open(path, false)?.len()?,
            modified_ms: self.host.modified_ms(path)?,
        })
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        let path = Path::new(key);
        match self.disk.remove_file(path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        let folders = path.ancestors().skip(1);
        for (above, folder) in folders.enumerate() {
            if above == 0 {
                // An object that was deleted stays so. Others may have removed the folder by now.
                match self.disk.sync_dir(folder) {
                    Err(error) if !is_absent(&error) => return Err(error),
                    _ => {}
                }
            }
            // Not empty, most often. An empty folder that power loss brings back hurts nobody.
            if folder == Path::new("") || self.disk.remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FsStore {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        key::check("create", key)?;
        let (path, file) = self.run("create", key, Inner::temporary).await?;
        Ok(Box::new(FsWriter {
            inner: self.inner.clone(),
            key: key.to_owned(),
            file,
            length: 0,
            unsynced_bytes: 0,
            leftover: Leftover {
                inner: self.inner.clone(),
                path: Some(path),
            },
        }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        key::check("put", key)?;
        let path = key.to_owned();
        self.run("put", key, move |inner| inner.put_if_absent(&path, &bytes))
            .await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        key::check("read", key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = key.to_owned();
        self.run("read", key, move |inner| inner.read(&path, range))
            .await
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        key::check("stat", key)?;
        let path = PathBuf::from(key);
        self.run("stat", key, move |inner| inner.stat(&path)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let (wanted, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run("list", prefix, move |inner| {
            list::list(inner, &wanted, after.as_deref(), limit)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::check("delete", key)?;
        let path = key.to_owned();
        self.run("delete", key, move |inner| inner.delete(&path))
            .await
    }
}

/// An object on its way. `unsynced_bytes <= length`.
struct FsWriter {
    inner: Arc<Inner>,
    key: String,
    file: Arc<dyn DiskFile>,
    length: u64,
    unsynced_bytes: u64,
    leftover: Leftover,
}

/// The temporary file of an object, removed when this is dropped.
struct Leftover {
    inner: Arc<Inner>,
    path: Option<PathBuf>,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let inner = self.inner.clone();
            let remove = move || drop(inner.remove_if_there(&path));
            self.inner.host.run(Box::new(remove));
        }
    }
}

#[async_trait]
impl ObjectWriter for FsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let (file, position, added) = (self.file.clone(), self.length, bytes.len() as u64);
        let sync = UNSYNCED_BYTES_MAX <= self.unsynced_bytes + added;
        let write = move |_: &Inner| {
            file.write_at(&[&bytes], position)?;
            if sync { file.sync() } else { Ok(()) }
        };
        run(&self.inner, "write", &self.key, write).await?;
        self.length += added;
        self.unsynced_bytes = if sync { 0 } else { self.unsynced_bytes + added };
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        let (file, key, mut leftover) = (self.file.clone(), self.key.clone(), self.leftover.take());
        let close = move |inner: &Inner| {
            file.sync()?;
            // From here on it is removed by that.
            let Some(temporary) = leftover.path.take() else {
                return Err(io::ErrorKind::NotFound.into());
            };
            inner.publish(&temporary, &key)
        };
        run(&self.inner, "close", &self.key, close).await
    }

    async fn abort(self: Box<Self>) {}
}

impl Leftover {
    fn take(&mut self) -> Leftover {
        Leftover {
            inner: self.inner.clone(),
            path: self.path.take(),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// A file system without hard links says "not permitted" of the link, where the file itself could just be written. That
/// a folder may not be written to is told by another number, and may pass.
fn no_hard_links(error: io::Error) -> io::Error {
    let is_meant = match error.kind() {
        io::ErrorKind::PermissionDenied => error.raw_os_error() != Some(EACCES),
        kind => kind == io::ErrorKind::Unsupported,
    };
    match is_meant {
        true => io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the file system makes no hard links ({error}), and without them two brokers could write one object; \
                 use a directory on one that does, or an object store"
            ),
        ),
        false => error,
    }
}

/// That an object has the name which a folder was to have is no taken key.
fn not_a_folder(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => io::Error::new(
            io::ErrorKind::InvalidInput,
            "an object has the name of a folder",
        ),
        _ => error,
    }
}

fn told(action: &'static str, key: &str, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            StoreErrorKind::NotFound
        }
        io::ErrorKind::AlreadyExists => StoreErrorKind::Exists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreErrorKind::Denied
        }
        io::ErrorKind::Unsupported => StoreErrorKind::Unsupported,
        io::ErrorKind::InvalidInput => StoreErrorKind::Other,
        // A full disk, a broken one, a server that does not answer: somebody will see to it.
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, action, key, error.to_string())
}
