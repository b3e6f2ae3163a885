//! Disk guard: stops produce before the disk is full, and keeps a reserve for what must work even then.
//!
//! A reserve file takes space while all is well. When even metadata or a deletion meets ENOSPC it is given up
//! ([`DiskGuard::release_reserve`]), and taken again once there is room. Space that the reserve lacks is not free: produce
//! does not come back on it.

use crate::{Disk, DiskFile, DiskSpace, LogError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Holds nothing but space.
const RESERVE_FILE: &str = "reserve";

/// Piece in which the reserve is written where the file system cannot allocate.
const ZEROS_BYTES: usize = 1 << 20;

/// When the disk counts as full. `low_bytes <= high_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// Size of the reserve file.
    pub reserve_bytes: u64,
    /// Low water: with less than this free the disk is full.
    pub low_bytes: u64,
    /// High water: with this much free it no longer is.
    pub high_bytes: u64,
}

/// Whether produce is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// There is room.
    Ok,
    /// Produce is refused; reads, metadata, delete-records and deletions go on.
    Full,
}

/// What to do, given the space: a pure function, so that every case is a line in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decision {
    state: DiskState,
    take_reserve: bool,
}

fn decide(limits: GuardLimits, state: DiskState, held_bytes: u64, space: DiskSpace) -> Decision {
    let lacking_bytes = limits.reserve_bytes.saturating_sub(held_bytes);
    let usable_bytes = space.free_bytes.saturating_sub(lacking_bytes);
    let state = match state {
        _ if usable_bytes < limits.low_bytes => DiskState::Full,
        _ if usable_bytes >= limits.high_bytes => DiskState::Ok,
        between => between,
    };
    Decision {
        state,
        take_reserve: lacking_bytes > 0 && usable_bytes >= limits.low_bytes,
    }
}

/// Watches the space of a data directory. The shell calls [`DiskGuard::check`] every second or so.
pub struct DiskGuard {
    disk: Arc<dyn Disk>,
    limits: GuardLimits,
    state: DiskState,
    reserve: Arc<dyn DiskFile>,
    held_bytes: u64,
}

impl DiskGuard {
    /// Takes the reserve if there is room for it. A full disk is no error: reads and deletions must go on.
    pub fn open(disk: Arc<dyn Disk>, limits: GuardLimits) -> Result<DiskGuard, LogError> {
        assert!(
            limits.low_bytes <= limits.high_bytes,
            "low water is below high water"
        );
        let reserve = disk
            .open(Path::new(RESERVE_FILE), true)
            .map_err(failed("open"))?;
        let held_bytes = reserve.len().map_err(failed("open"))?;
        let mut guard = DiskGuard {
            disk,
            limits,
            state: DiskState::Ok,
            reserve,
            held_bytes,
        };
        if held_bytes > limits.reserve_bytes {
            guard.shrink(limits.reserve_bytes)?;
        }
        guard.check()?;
        Ok(guard)
    }

    /// The state found by the last check.
    pub fn state(&self) -> DiskState {
        self.state
    }

    /// Bytes in the reserve file now: all or none of `GuardLimits::reserve_bytes`, apart from a crash while it was taken.
    pub fn reserve_held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Looks at the space and takes the reserve if it is missing and there is room again. Blocking.
    pub fn check(&mut self) -> Result<DiskState, LogError> {
        let space = self.disk.space().map_err(failed("measure"))?;
        let decision = decide(self.limits, self.state, self.held_bytes, space);
        self.state = decision.state;
        if decision.take_reserve {
            self.take_reserve()?;
        }
        Ok(self.state)
    }

    /// A write has met ENOSPC: the disk is full, whatever the last check found.
    pub fn met_full(&mut self) {
        self.state = DiskState::Full;
    }

    /// Gives the reserve up, so that metadata, a checkpoint or a deletion that met ENOSPC can be tried again. Returns the
    /// bytes that became free; 0 if there was nothing left to give. Blocking.
    pub fn release_reserve(&mut self) -> Result<u64, LogError> {
        self.state = DiskState::Full;
        let held_bytes = self.held_bytes;
        if held_bytes > 0 {
            self.shrink(0)?;
        }
        Ok(held_bytes)
    }

    fn take_reserve(&mut self) -> Result<(), LogError> {
        match fill(&*self.reserve, self.limits.reserve_bytes) {
            Ok(()) => {
                self.held_bytes = self.limits.reserve_bytes;
                Ok(())
            }
            // Somebody else took the room since it was measured.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.state = DiskState::Full;
                self.shrink(0)
            }
            Err(error) => Err(failed("fill")(error)),
        }
    }

    fn shrink(&mut self, len: u64) -> Result<(), LogError> {
        self.reserve.truncate(len).map_err(failed("cut"))?;
        self.reserve.sync().map_err(failed("sync"))?;
        self.held_bytes = len;
        Ok(())
    }
}

/// Makes the file really take `len` bytes.
fn fill(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    file.allocate(len)?;
    let zeros = vec![0; ZEROS_BYTES];
    let mut position = file.len()?;
    while position < len {
        let count = (len - position).min(ZEROS_BYTES as u64);
        let piece = zeros.get(..count as usize).unwrap_or(&zeros);
        file.write_at(&[piece], position)?;
        position += count;
    }
    file.sync()
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io {
        action,
        path: RESERVE_FILE.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Fault, SimDisk, SimOp};
    use DiskState::{Full, Ok as Room};

    const LIMITS: GuardLimits = GuardLimits {
        reserve_bytes: 40_960,
        low_bytes: 81_920,
        high_bytes: 163_840,
    };

    /// A disk of that many pages, with a guard and a file to fill it with.
    fn setup(pages: u64) -> (SimDisk, DiskGuard, Arc<dyn DiskFile>) {
        let disk = SimDisk::new(1);
        disk.set_capacity(pages * 4096);
        let guard = DiskGuard::open(Arc::new(disk.clone()), LIMITS).unwrap();
        let file = disk.open(Path::new("load"), true).unwrap();
        (disk, guard, file)
    }

    fn free(disk: &SimDisk) -> u64 {
        disk.space().unwrap().free_bytes
    }

    #[test]
    fn the_decision_follows_both_waters_and_counts_the_missing_reserve() {
        let check = |state, held_bytes, free_bytes, expected: (DiskState, bool)| {
            let space = DiskSpace {
                total_bytes: 1 << 30,
                free_bytes,
            };
            let decision = decide(LIMITS, state, held_bytes, space);
            assert_eq!(
                (decision.state, decision.take_reserve),
                expected,
                "{free_bytes} free"
            );
        };
        check(Room, 40_960, 81_920, (Room, false));
        check(Room, 40_960, 81_919, (Full, false));
        check(Full, 40_960, 163_839, (Full, false));
        check(Full, 40_960, 163_840, (Room, false));
        check(Full, 0, 163_840, (Full, true));
        check(Full, 0, 204_800, (Room, true));
        check(Room, 0, 122_879, (Full, false));
        check(Room, 0, 0, (Full, false));
        check(Room, 10, u64::MAX, (Room, true));
    }

    #[test]
    fn the_reserve_takes_real_space() {
        let (disk, guard, _file) = setup(100);
        assert_eq!(guard.reserve_held_bytes(), LIMITS.reserve_bytes);
        assert_eq!(free(&disk), 90 * 4096);
        assert_eq!(guard.state(), Room);
    }

    #[test]
    fn produce_stops_below_low_water_and_comes_back_above_high_water() {
        let (_disk, mut guard, file) = setup(100);
        file.allocate(71 * 4096).unwrap();
        assert_eq!(guard.check().unwrap(), Full);
        file.truncate(60 * 4096).unwrap();
        assert_eq!(
            guard.check().unwrap(),
            Full,
            "between the waters nothing changes"
        );
        file.truncate(50 * 4096).unwrap();
        assert_eq!(guard.check().unwrap(), Room);
        file.allocate(70 * 4096).unwrap();
        assert_eq!(
            guard.check().unwrap(),
            Room,
            "between the waters nothing changes"
        );
    }

    #[test]
    fn the_reserve_serves_once_and_is_taken_again_before_produce_comes_back() {
        let (disk, mut guard, file) = setup(100);
        file.allocate(90 * 4096).unwrap();
        assert_eq!(free(&disk), 0);
        assert_eq!(guard.release_reserve().unwrap(), LIMITS.reserve_bytes);
        assert_eq!((guard.state(), free(&disk)), (Full, LIMITS.reserve_bytes));
        assert_eq!(guard.release_reserve().unwrap(), 0);
        assert_eq!(guard.check().unwrap(), Full);
        assert_eq!(guard.reserve_held_bytes(), 0, "there is no room for it yet");

        file.truncate(70 * 4096).unwrap();
        assert_eq!(
            guard.check().unwrap(),
            Full,
            "the missing reserve does not count as free"
        );
        assert_eq!(guard.reserve_held_bytes(), LIMITS.reserve_bytes);
        file.truncate(50 * 4096).unwrap();
        assert_eq!(guard.check().unwrap(), Room);
    }

    #[test]
    fn a_full_disk_opens_full_and_without_reserve() {
        let (disk, guard, file) = setup(100);
        drop(guard);
        disk.remove_file(Path::new(RESERVE_FILE)).unwrap();
        file.allocate(100 * 4096).unwrap();
        let guard = DiskGuard::open(Arc::new(disk), LIMITS).unwrap();
        assert_eq!((guard.state(), guard.reserve_held_bytes()), (Full, 0));
    }

    #[test]
    fn a_reserve_that_another_takes_the_room_of_is_given_up_again() {
        let (disk, mut guard, file) = setup(100);
        guard.release_reserve().unwrap();
        let fault = disk.inject(Fault::once(SimOp::Allocate).on_path(RESERVE_FILE).full());
        assert_eq!(guard.check().unwrap(), Full);
        assert_eq!((disk.struck(fault), guard.reserve_held_bytes()), (1, 0));
        drop(file);
        assert_eq!(guard.check().unwrap(), Room);
        assert_eq!(guard.reserve_held_bytes(), LIMITS.reserve_bytes);
    }

    #[test]
    fn a_smaller_reserve_is_cut_at_open_and_a_write_that_met_enospc_counts() {
        let (disk, guard, _file) = setup(100);
        drop(guard);
        let limits = GuardLimits {
            reserve_bytes: 4096,
            ..LIMITS
        };
        let mut guard = DiskGuard::open(Arc::new(disk.clone()), limits).unwrap();
        assert_eq!((guard.reserve_held_bytes(), free(&disk)), (4096, 99 * 4096));
        guard.met_full();
        assert_eq!(guard.state(), Full);
        assert_eq!(guard.check().unwrap(), Room);
    }

    #[test]
    fn other_errors_are_passed_on() {
        let (disk, mut guard, _file) = setup(100);
        disk.inject(Fault::once(SimOp::Truncate).on_path(RESERVE_FILE));
        let error = guard.release_reserve().unwrap_err();
        assert!(
            matches!(error, LogError::Io { action: "cut", .. }),
            "{error}"
        );
    }
}
