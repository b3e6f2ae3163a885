//! The load: records that are due at stated times, from a thread with a fine clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use headwater_client::{Delivery, Producer, ProducerRecord};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::failed;
use crate::failure::{Failure, Outcome};

/// As fast as possible there is no due time, and measuring every record would cost more than
/// sending it: one in so many is measured.
const SAMPLE_EVERY: u64 = 16;

/// Values are taken from a pool of this size, so that making them costs nothing.
const VALUES: usize = 256;

/// What a stamp takes at the beginning of a value.
pub(super) const STAMP_BYTES: usize = 16;

/// Latencies above are recorded as this, in nanoseconds.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// After so many records.
    Count(u64),
    /// When so much time has passed.
    Time(Duration),
}

/// How the load is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Records a second, open loop; `None` is as fast as possible.
    pub(super) per_second: Option<u64>,
    /// Records without acknowledgement at most; `None` leaves it to the producer.
    pub(super) in_flight: Option<usize>,
}

/// What became of it.
pub(super) struct Measured {
    /// Sent and acknowledged.
    pub(super) records: u64,
    /// From the first due time to the last acknowledgement.
    pub(super) elapsed: Duration,
    /// Due to acknowledged, in nanoseconds.
    pub(super) latency: Histogram<u64>,
}

/// An empty histogram of latencies in nanoseconds, three digits precise.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid")
}

/// Records a latency.
pub(super) fn note(latency: &mut Histogram<u64>, took: Duration) {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    latency.saturating_record(nanos.max(1));
}

/// Values that do not compress well, like much real data that is already compact.
pub(super) struct Values {
    pool: Vec<Bytes>,
}

impl Values {
    /// Of `size` bytes each.
    pub(super) fn new(size: usize) -> Values {
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // 64 letters: every byte carries six random bits.
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                [(state >> 58) as usize]
        };
        // Large values come from a smaller pool.
        let count = VALUES.min((64 << 20) / size.max(1)).max(1);
        let pool = (0..count)
            .map(|_| (0..size).map(|_| byte()).collect())
            .collect();
        Values { pool }
    }

    /// The value of record `index`.
    pub(super) fn plain(&self, index: u64) -> Bytes {
        self.pool[(index % self.pool.len() as u64) as usize].clone()
    }

    /// The same, beginning with `stamp` (whole, even in a value that is smaller).
    pub(super) fn stamped(&self, index: u64, stamp: [u8; STAMP_BYTES]) -> Bytes {
        let plain = self.plain(index);
        let mut value = BytesMut::with_capacity(plain.len().max(STAMP_BYTES));
        value.put_slice(&stamp);
        value.put_slice(plain.get(STAMP_BYTES..).unwrap_or_default());
        value.freeze()
    }
}

struct Flight {
    due: Instant,
    delivery: Delivery,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Sends until the limit and waits for every acknowledgement. `value` makes the value of a record
/// from its number and the time when it is due.
pub(super) async fn send(
    producer: &Producer,
    topic: &str,
    pace: Pace,
    limit: Limit,
    value: impl FnMut(u64, Instant) -> Bytes + Send + 'static,
) -> Outcome<Measured> {
    let (sender, mut flights) = mpsc::unbounded_channel();
    let start = Instant::now();
    let thread = Thread {
        producer: producer.clone(),
        topic: topic.into(),
        pace,
        limit,
        start,
        flights: sender,
    };
    let handle = tokio::runtime::Handle::current();
    let sending = tokio::task::spawn_blocking(move || thread.run(&handle, value));
    let mut latency = histogram();
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            flight = flights.recv(), if open => match flight {
                None => open = false,
                Some(Flight { due, delivery, _permit }) => waiting.push(async move {
                    let outcome = delivery.await;
                    drop(_permit);
                    (due.elapsed(), outcome)
                }),
            },
            Some((took, outcome)) = waiting.next(), if !waiting.is_empty() => {
                outcome.map_err(failed)?;
                note(&mut latency, took);
            }
        }
    }
    let records = sending
        .await
        .map_err(|error| Failure::new("the load has stopped").why(error.to_string()))??;
    producer.flush().await.map_err(failed)?;
    Ok(Measured {
        records,
        elapsed: start.elapsed(),
        latency,
    })
}

struct Thread {
    producer: Producer,
    topic: Arc<str>,
    pace: Pace,
    limit: Limit,
    start: Instant,
    flights: mpsc::UnboundedSender<Flight>,
}

impl Thread {
    /// A thread of its own: the runtime's timers are a millisecond coarse.
    fn run(
        self,
        handle: &tokio::runtime::Handle,
        mut value: impl FnMut(u64, Instant) -> Bytes,
    ) -> Outcome<u64> {
        let permits = self
            .pace
            .in_flight
            .map(|count| Arc::new(Semaphore::new(count)));
        let every = match self.pace {
            Pace {
                per_second: None,
                in_flight: None,
            } => SAMPLE_EVERY,
            _ => 1,
        };
        let mut index = 0;
        loop {
            let permit = permits.as_ref().map(|permits| {
                handle
                    .block_on(permits.clone().acquire_owned())
                    .expect("it is never closed")
            });
            let due = self.due(index);
            let done = match self.limit {
                Limit::Count(count) => index >= count,
                Limit::Time(time) => due >= self.start + time,
            };
            if done {
                return Ok(index);
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let record = ProducerRecord::new(self.topic.clone(), value(index, due));
            let delivery = handle
                .block_on(self.producer.send(record))
                .map_err(failed)?;
            // The rest is not measured; `flush` tells if any of it fails.
            let measured = index % every == 0;
            if measured
                && self
                    .flights
                    .send(Flight {
                        due,
                        delivery,
                        _permit: permit,
                    })
                    .is_err()
            {
                return Ok(index);
            }
            index += 1;
        }
    }

    fn due(&self, index: u64) -> Instant {
        match self.pace.per_second {
            Some(rate) => self.start + Duration::from_secs_f64(index as f64 / rate as f64),
            None => Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_carry_a_stamp() {
        let values = Values::new(100);
        assert_eq!(values.plain(7).len(), 100);
        assert_ne!(values.plain(0), values.plain(1));
        let stamped = values.stamped(7, [9; 16]);
        assert_eq!((stamped.len(), &stamped[..16]), (100, &[9; 16][..]));
        assert_eq!(stamped[16..], values.plain(7)[16..]);
        assert_eq!(Values::new(4).stamped(0, [9; 16]).len(), 16);
    }

    #[test]
    fn latencies_beyond_the_bounds_are_kept_at_the_bounds() {
        let mut latency = histogram();
        note(&mut latency, Duration::ZERO);
        note(&mut latency, Duration::from_secs(86_400));
        assert_eq!(latency.len(), 2);
    }
}
