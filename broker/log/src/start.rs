//! Where a log starts, on the whole and on this disk: the `start` file and the job that writes it.

use crate::LogError;
use crate::config::{LogEnv, PartitionKey};
use crate::files::{self, Fields, PRODUCERS, START};
use crate::frame::{frame, unframe};
use crate::jobs::{Shared, sync_dirs};
use headwater_record::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"HWST";

/// Widths of a copy in the file: with one number and with two.
const COPY_BYTES: [usize; 2] = [16 + 8, 16 + 16];

/// The two starts of a log: `log <= local`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    /// First offset that may be read, wherever it is.
    pub(crate) log: Offset,
    /// First offset on this disk.
    pub(crate) local: Offset,
}

impl Starts {
    pub(crate) fn new(log: Offset, local: Offset) -> Starts {
        Starts {
            log,
            local: local.max(log),
        }
    }

    /// Of each number the later one.
    fn later(self, other: Starts) -> Starts {
        Starts::new(self.log.max(other.log), self.local.max(other.local))
    }

    /// The same frame twice: nothing else holds these numbers, so one flipped bit must not lose them. With the log start
    /// alone where that says it all, which brokers from before the tier read as well.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut payload = self.log.get().to_le_bytes().to_vec();
        if self.local > self.log {
            payload.extend_from_slice(&self.local.get().to_le_bytes());
        }
        let copy = frame(MAGIC, &payload);
        [copy.clone(), copy].concat()
    }

    /// From whichever copy is sound, of either width.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Starts> {
        let copies = COPY_BYTES
            .iter()
            .flat_map(|&copy_bytes| bytes.chunks(copy_bytes));
        copies.filter_map(Starts::decode_copy).next()
    }

    fn decode_copy(bytes: &[u8]) -> Option<Starts> {
        let mut fields = Fields(unframe(MAGIC, bytes).ok()?);
        let log = fields.offset()?;
        let local = match fields.is_empty() {
            true => log,
            false => fields.offset()?,
        };
        fields.is_empty().then(|| Starts::new(log, local))
    }
}

/// Makes a log start and a local start durable.
#[must_use]
pub struct StartJob {
    /// The partition.
    pub key: PartitionKey,
    /// The log start offset.
    pub log_start: Offset,
    /// The local start offset, at or above it.
    pub local_start: Offset,
    /// Base of the first segment that stays.
    pub(crate) kept_from: Offset,
    pub(crate) env: Arc<LogEnv>,
    pub(crate) shared: Arc<Shared>,
    /// Above the partition's own, innermost first.
    pub(crate) dirs: Vec<PathBuf>,
}

impl StartJob {
    /// Writes and syncs both numbers, each as far as no later one has been written already. Jobs may run in any order.
    pub fn run(&self) -> Result<(), LogError> {
        self.shared.write_starts(|durable| {
            let starts = durable.later(Starts::new(self.log_start, self.local_start));
            if starts == durable {
                return Ok(durable);
            }
            self.sync_producers()?;
            let path = files::named(self.key, START);
            files::replace(&*self.env.disk, &path, &starts.encode(), true)?;
            sync_dirs(&self.env, &self.dirs)?;
            Ok(starts)
        })
    }

    /// The snapshot of the producer state where the log begins on this disk is derived only as long as the batches before
    /// it are there. The `start` file's directory is its own.
    fn sync_producers(&self) -> Result<(), LogError> {
        let path = files::at_offset(self.key, self.kept_from, PRODUCERS);
        match self.env.disk.open(&path, false) {
            // It could not be written, or an older program has taken it for replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => opened
                .and_then(|file| file.sync())
                .map_err(LogError::io("sync", &path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(log: u64, local: u64) -> Starts {
        Starts::new(Offset::new(log), Offset::new(local))
    }

    #[test]
    fn a_file_from_before_the_tier_starts_where_it_says_in_both_senses() {
        let copy = frame(MAGIC, &700_u64.to_le_bytes());
        let bytes = [copy.clone(), copy].concat();
        assert_eq!(Starts::decode(&bytes), Some(starts(700, 700)));
        assert_eq!(
            starts(700, 700).encode(),
            bytes,
            "and is what we write where the two are one"
        );
    }

    #[test]
    fn damage_to_one_copy_of_either_width_loses_nothing() {
        for whole in [starts(700, 700), starts(700, 900)] {
            let bytes = whole.encode();
            assert_eq!(Starts::decode(&bytes), Some(whole));
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1 << bit;
                    assert_eq!(Starts::decode(&damaged), Some(whole), "byte {at} bit {bit}");
                }
                let copy_bytes = bytes.len() / 2;
                let mut damaged = bytes.clone();
                damaged[at / copy_bytes * copy_bytes..][..copy_bytes].fill(0);
                assert_eq!(Starts::decode(&damaged), Some(whole), "copy of byte {at}");
                let cut = Starts::decode(&bytes[..at]);
                assert_eq!(cut, (at >= copy_bytes).then_some(whole), "cut at {at}");
            }
        }
    }

    #[test]
    fn with_both_copies_damaged_there_is_no_start() {
        for whole in [starts(700, 700), starts(700, 900)] {
            let bytes = whole.encode();
            let copy_bytes = bytes.len() / 2;
            for at in 0..copy_bytes {
                for other in 0..copy_bytes {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 4;
                    damaged[copy_bytes + other] ^= 32;
                    assert_eq!(Starts::decode(&damaged), None, "{at} {other}");
                }
            }
        }
        assert_eq!(Starts::decode(&[]), None);
        assert_eq!(Starts::decode(&[0; 64]), None);
    }

    #[test]
    fn a_copy_of_any_other_width_is_not_read() {
        for len in (0..40).filter(|len| ![8, 16].contains(len)) {
            let copy = frame(MAGIC, &vec![1; len]);
            assert_eq!(Starts::decode(&[copy.clone(), copy].concat()), None);
        }
    }
}
