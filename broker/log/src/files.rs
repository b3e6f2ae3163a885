//! Names of a partition's files, and what is read and written of the small ones (`docs/format/log.md`).

use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::{Disk, LogError, PartitionKey};
use headwater_record::Offset;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const EPOCHS: &str = "epochs";
pub(crate) const APPEND_TIMES: &str = "append-times";
pub(crate) const START: &str = "start";
pub(crate) const STATE: &str = "state";
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const PRODUCERS: &str = "producers";
/// Ending of a file that is not finished: removed when a log is opened.
pub(crate) const TEMPORARY: &str = "tmp";

/// Where a partition lives: `topics/<uuid>/<index>`.
pub(crate) fn partition_dir(key: PartitionKey) -> PathBuf {
    PathBuf::from(format!("topics/{}/{}", key.topic, key.index))
}

/// `<offset, 20 digits>.<extension>` in the partition's directory.
pub(crate) fn at_offset(key: PartitionKey, offset: Offset, extension: &str) -> PathBuf {
    named(key, &offset_name(offset, extension))
}

/// The last part of that.
pub(crate) fn offset_name(offset: Offset, extension: &str) -> String {
    format!("{:020}.{extension}", offset.get())
}

/// A file with a fixed name in the partition's directory.
pub(crate) fn named(key: PartitionKey, name: &str) -> PathBuf {
    PathBuf::from(format!("topics/{}/{}/{name}", key.topic, key.index))
}

/// The directories whose entries make a partition reachable, the innermost first.
pub(crate) fn dirs_to_root(key: PartitionKey) -> Vec<PathBuf> {
    partition_dir(key).ancestors().map(Path::to_owned).collect()
}

/// Offset and extension of a name made by [`at_offset`].
pub(crate) fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset: i64 = digits.parse().ok()?;
    Some((Offset::from_i64(offset)?, extension))
}

/// The whole of a small file; `None` if it is absent, or larger than any of ours.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let file = match disk.open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(LogError::io("open", path))?,
    };
    let len = file.len().map_err(LogError::io("stat", path))?;
    if len > SMALL_FILE_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    let got = file
        .read_at(&mut bytes, 0)
        .map_err(LogError::io("read", path))?;
    bytes.truncate(got);
    Ok(Some(bytes))
}

/// Replaces a file by a temporary one and a rename. `sync`: also durable when this returns, directory included.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    sync: bool,
) -> Result<(), LogError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    let temporary = PathBuf::from(name);
    let written = (|| {
        let file = disk.open(&temporary, true)?;
        file.truncate(0)?;
        file.write_at(&[bytes], 0)?;
        if sync {
            file.sync()?;
        }
        disk.rename(&temporary, path)
    })();
    if let Err(source) = written {
        // Best effort: what is left is removed when the log is opened.
        let _ = disk.remove_file(&temporary);
        return Err(LogError::io("write", path)(source));
    }
    match path.parent() {
        Some(dir) if sync => disk.sync_dir(dir).map_err(LogError::io("sync", dir)),
        _ => Ok(()),
    }
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(LogError::io("remove", path)),
    }
}

/// Reads little-endian fields off the front of foreign bytes; `None` behind the end.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }
    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
    pub(crate) fn offset(&mut self) -> Option<Offset> {
        Offset::from_i64(self.i64()?)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stands in a partition's directory. Names that are none of ours are left alone.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Base offsets of the segments, in order.
    pub(crate) segments: Vec<Offset>,
    /// Offsets of the producer snapshots, in order.
    pub(crate) producers: Vec<Offset>,
    /// Files that were never finished.
    pub(crate) temporary: Vec<String>,
    pub(crate) epochs: bool,
    pub(crate) append_times: bool,
    pub(crate) start: bool,
    pub(crate) state: bool,
}

impl Names {
    /// Sorts a listing.
    pub(crate) fn of(listing: Vec<(String, bool)>) -> Names {
        let mut names = Names::default();
        for (name, is_dir) in listing {
            if is_dir {
                continue;
            }
            match (name.as_str(), parse_name(&name)) {
                (EPOCHS, _) => names.epochs = true,
                (APPEND_TIMES, _) => names.append_times = true,
                (START, _) => names.start = true,
                (STATE, _) => names.state = true,
                (_, Some((base, LOG))) => names.segments.push(base),
                (_, Some((offset, PRODUCERS))) => names.producers.push(offset),
                _ if name.ends_with(".tmp") => names.temporary.push(name),
                _ => {}
            }
        }
        // Twenty digits sort as numbers do, but the order is the disk's promise, not ours.
        names.segments.sort_unstable();
        names.producers.sort_unstable();
        names
    }
}
