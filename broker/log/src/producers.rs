//! Producer state: what tells a retry from a new batch. Derived from batches only.

use crate::files::Fields;
use crate::frame::{frame, unframe};
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCER_IDLE_MS_MIN};
use crate::log::Appended;
use headwater_record::{BatchHeader, Offset, ProducerIdentity};
use std::collections::{HashMap, VecDeque};

const MAGIC: [u8; 4] = *b"HWPR";

/// What a batch is to the producer state, decided before it is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    /// No identity, or the next in sequence, or the first of a new producer (sequence 0) or epoch.
    Fresh,
    /// Same sequence range and same CRC as one of the last 16: this is where it was appended.
    Duplicate(Appended),
    /// The same sequence with other bytes.
    SequenceReused {
        /// First sequence of the batch.
        base_sequence: i32,
    },
    /// Neither the next sequence nor one of the last 16 batches.
    OutOfOrder {
        /// The next sequence.
        expected: i32,
        /// First sequence of the batch.
        got: i32,
    },
    /// A newer epoch of the same producer has written.
    Fenced {
        /// That epoch.
        current_epoch: i16,
    },
    /// Non-zero sequence of a producer that this partition does not know (expired or never seen).
    Unknown,
    /// A new producer, and none of those known has been idle long enough to give way.
    TooManyProducers {
        /// How many a partition knows.
        max: usize,
    },
}

/// The producer state behind further batches: what stands at the end of a segment that came without a snapshot, or was
/// not sealed yet. Takes and gives the bytes of a `.producers` file; a snapshot that does not verify counts as none. Headers
/// say not when they were appended, so theirs count as appended no later than the newest of the snapshot.
pub fn producers_after(
    snapshot: Option<&[u8]>,
    headers: impl Iterator<Item = BatchHeader>,
    producers_max: usize,
) -> Vec<u8> {
    let mut producers = snapshot.and_then(Producers::decode).unwrap_or_default();
    let newest_ms = producers.by_id.values().map(Producer::idle_since_ms).max();
    for header in headers {
        producers.apply(&header, producers_max, newest_ms.unwrap_or(i64::MIN));
    }
    producers.encode()
}

/// The highest producer id in the bytes of a `.producers` file; `None` if there is none, or they do not verify.
pub fn highest_producer_id(snapshot: &[u8]) -> Option<i64> {
    Producers::decode(snapshot)?.by_id.keys().max().copied()
}

/// State of all producers of a partition, by producer id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first; never empty.
    batches: VecDeque<ProducedBatch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProducedBatch {
    base_sequence: i32,
    last_offset_delta: u32,
    crc: u32,
    base_offset: Offset,
    append_time_ms: i64,
}

impl ProducedBatch {
    fn next_sequence(&self) -> i32 {
        // Sequences wrap from i32::MAX to 0, as Kafka's do.
        let next = i64::from(self.base_sequence) + i64::from(self.last_offset_delta) + 1;
        (next % (i64::from(i32::MAX) + 1)) as i32
    }

    fn appended(&self) -> Appended {
        Appended {
            base_offset: self.base_offset,
            last_offset: self.base_offset.plus(u64::from(self.last_offset_delta)),
            append_time_ms: self.append_time_ms,
        }
    }
}

impl Producer {
    fn newest(&self) -> &ProducedBatch {
        self.batches.back().expect("a producer has a batch")
    }

    fn idle_since_ms(&self) -> i64 {
        self.newest().append_time_ms
    }
}

/// The identity that counts: control batches carry a producer id, but no sequence.
fn identity(header: &BatchHeader) -> Option<ProducerIdentity> {
    header.producer.filter(|_| !header.is_control())
}

impl Producers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Classifies a batch; changes nothing.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        producers_max: usize,
        wall_ms: i64,
    ) -> ProducerCheck {
        let Some(identity) = identity(header) else {
            return ProducerCheck::Fresh;
        };
        let got = identity.base_sequence;
        let Some(producer) = self.by_id.get(&identity.id) else {
            return self.check_new(got, producers_max, wall_ms);
        };
        if identity.epoch < producer.epoch {
            return ProducerCheck::Fenced {
                current_epoch: producer.epoch,
            };
        }
        if identity.epoch > producer.epoch {
            return match got {
                0 => ProducerCheck::Fresh,
                _ => ProducerCheck::OutOfOrder { expected: 0, got },
            };
        }
        let known = producer.batches.iter().rev();
        if let Some(same) = known.into_iter().find(|known| known.base_sequence == got) {
            let equal =
                same.crc == header.crc && same.last_offset_delta == header.last_offset_delta;
            return match equal {
                true => ProducerCheck::Duplicate(same.appended()),
                false => ProducerCheck::SequenceReused { base_sequence: got },
            };
        }
        match producer.newest().next_sequence() {
            expected if expected == got => ProducerCheck::Fresh,
            expected => ProducerCheck::OutOfOrder { expected, got },
        }
    }

    fn check_new(&self, sequence: i32, producers_max: usize, wall_ms: i64) -> ProducerCheck {
        if sequence != 0 {
            return ProducerCheck::Unknown;
        }
        let expires = |producer: &Producer| {
            wall_ms.saturating_sub(producer.idle_since_ms()) >= PRODUCER_IDLE_MS_MIN
        };
        if self.by_id.len() < producers_max || self.by_id.values().any(expires) {
            return ProducerCheck::Fresh;
        }
        ProducerCheck::TooManyProducers { max: producers_max }
    }

    /// Takes a batch in that stands in the log. A batch of the log is a fact: whatever it is, it becomes the state.
    pub(crate) fn apply(
        &mut self,
        header: &BatchHeader,
        producers_max: usize,
        append_time_ms: i64,
    ) {
        let Some(identity) = identity(header) else {
            return;
        };
        let batch = ProducedBatch {
            base_sequence: identity.base_sequence,
            last_offset_delta: header.last_offset_delta,
            crc: header.crc,
            base_offset: header.base_offset,
            append_time_ms,
        };
        if !self.by_id.contains_key(&identity.id) {
            self.make_room(producers_max);
        }
        let producer = self.by_id.entry(identity.id).or_insert(Producer {
            epoch: identity.epoch,
            batches: VecDeque::new(),
        });
        if producer.epoch != identity.epoch {
            producer.epoch = identity.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == PRODUCER_BATCHES_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
    }

    /// Expires those that have been idle for longest. The check let only those go that were idle long enough; the order
    /// (time, then id) is the same on every replica.
    fn make_room(&mut self, producers_max: usize) {
        while !self.by_id.is_empty() && self.by_id.len() >= producers_max {
            let idlest = self
                .by_id
                .iter()
                .map(|(&id, producer)| (producer.idle_since_ms(), id))
                .min();
            if let Some((_, id)) = idlest {
                self.by_id.remove(&id);
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut ids: Vec<_> = self.by_id.iter().collect();
        ids.sort_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            payload.extend_from_slice(&id.to_le_bytes());
            payload.extend_from_slice(&producer.epoch.to_le_bytes());
            payload.push(producer.batches.len() as u8);
            for batch in &producer.batches {
                payload.extend_from_slice(&batch.base_sequence.to_le_bytes());
                payload.extend_from_slice(&batch.last_offset_delta.to_le_bytes());
                payload.extend_from_slice(&batch.crc.to_le_bytes());
                payload.extend_from_slice(&batch.base_offset.get().to_le_bytes());
                payload.extend_from_slice(&batch.append_time_ms.to_le_bytes());
            }
        }
        frame(MAGIC, &payload)
    }

    /// `None` if the bytes are not what [`Producers::encode`] makes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
        let mut fields = Fields(unframe(MAGIC, bytes).ok()?);
        let mut by_id = HashMap::new();
        while !fields.is_empty() {
            let (id, epoch) = (fields.i64()?, fields.i16()?);
            let [count] = fields.array()?;
            if count == 0 || usize::from(count) > PRODUCER_BATCHES_MAX {
                return None;
            }
            let mut batches = VecDeque::with_capacity(usize::from(count));
            for _ in 0..count {
                batches.push_back(ProducedBatch {
                    base_sequence: fields.i32()?,
                    last_offset_delta: fields.u32()?,
                    crc: fields.u32()?,
                    base_offset: fields.offset()?,
                    append_time_ms: fields.i64()?,
                });
            }
            by_id.insert(id, Producer { epoch, batches });
        }
        Some(Producers { by_id })
    }
}
