//! Faults to order: which call fails, and how.

use std::io;
use std::path::Path;

use rustix::io::Errno;

/// A call on a simulated disk or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimOp {
    /// `Disk::open`.
    Open,
    /// `DiskFile::read_at` and `read_at_medium`.
    Read,
    /// `DiskFile::write_at`: fails after some of the bytes.
    Write,
    /// `DiskFile::sync`: some pages reach the medium, and all count as clean.
    Sync,
    /// `DiskFile::truncate`.
    Truncate,
    /// `DiskFile::allocate`.
    Allocate,
    /// `Disk::exists`, `Disk::list` and `DiskFile::len`.
    Look,
    /// `Disk::create_dir_all`.
    CreateDir,
    /// `Disk::rename`.
    Rename,
    /// `Disk::link`: the path is the new name.
    Link,
    /// `Disk::remove_file` and `Disk::remove_dir`.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
}

/// Makes calls fail with EIO, unless it says otherwise. Without a filter every call matches.
#[derive(Clone, Debug)]
pub struct Fault {
    op: Option<SimOp>,
    path_part: String,
    skip: u64,
    times: u64,
    errno: i32,
}

impl Fault {
    /// Every call fails from now on: the disk is gone.
    pub fn every() -> Fault {
        Fault {
            op: None,
            path_part: String::new(),
            skip: 0,
            times: u64::MAX,
            errno: Errno::IO.raw_os_error(),
        }
    }

    /// The next such call fails, once.
    pub fn once(op: SimOp) -> Fault {
        Fault {
            op: Some(op),
            times: 1,
            ..Fault::every()
        }
    }

    /// Only calls whose path contains this text (for open files the path they were opened with).
    pub fn on_path(self, part: &str) -> Fault {
        Fault {
            path_part: part.to_owned(),
            ..self
        }
    }

    /// That many matching calls succeed first.
    pub fn after(self, calls: u64) -> Fault {
        Fault {
            skip: calls,
            ..self
        }
    }

    /// That many matching calls fail.
    pub fn times(self, calls: u64) -> Fault {
        Fault {
            times: calls,
            ..self
        }
    }

    /// With ENOSPC instead of EIO.
    pub fn full(self) -> Fault {
        self.with_errno(Errno::NOSPC.raw_os_error())
    }

    /// With this error of the operating system instead of EIO.
    pub fn with_errno(self, errno: i32) -> Fault {
        Fault { errno, ..self }
    }
}

/// Names an injected fault, to ask how often it has struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

#[derive(Clone, Default)]
pub(super) struct Faults {
    /// Each with its matching calls so far and the failures among them.
    armed: Vec<(Fault, u64, u64)>,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) -> FaultId {
        self.armed.push((fault, 0, 0));
        FaultId(self.armed.len() - 1)
    }

    pub(super) fn struck(&self, FaultId(number): FaultId) -> u64 {
        self.armed[number].2
    }

    /// Counts a call; the error if it is to fail.
    pub(super) fn check(&mut self, op: SimOp, path: &Path) -> io::Result<()> {
        let mut error = None;
        for (fault, calls, struck) in &mut self.armed {
            let op_matches = fault.op.is_none_or(|wanted| wanted == op);
            if !op_matches || !path.to_string_lossy().contains(&fault.path_part) {
                continue;
            }
            *calls += 1;
            if *calls > fault.skip && *struck < fault.times {
                *struck += 1;
                error = Some(io::Error::from_raw_os_error(fault.errno));
            }
        }
        error.map_or(Ok(()), Err)
    }
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error())
}
