//! Virtual time and the order of events: one thread, one seed.
//!
//! Everything that happens is an event with a time; of those at the same time a random one comes first. Tasks are
//! futures that are polled by events, so that whatever two of them await can happen in either order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

use crate::faults::{Fault, Faults, Weather};
use crate::rng::Rng;
use crate::simulation::Simulation;
use crate::trace::Trace;

/// What happens at some time.
pub type Event = Box<dyn FnOnce(&mut Simulation) + Send>;

/// A handle to the world's clock, dice and queue; everybody has one.
#[derive(Clone)]
pub struct World(Arc<Mutex<Inner>>);

struct Inner {
    now_ms: u64,
    rng: Rng,
    queue: BinaryHeap<Queued>,
    queued: u64,
    weather: Weather,
    faults: Faults,
    trace: Trace,
}

struct Queued {
    at_ms: u64,
    /// Decides between events at the same time.
    tie: u64,
    number: u64,
    event: Event,
}

impl Queued {
    fn rank(&self) -> (u64, u64, u64) {
        (self.at_ms, self.tie, self.number)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> Ordering {
        // The earliest is the greatest: a heap gives that one first.
        other.rank().cmp(&self.rank())
    }
}

impl World {
    /// A world at time 0.
    pub fn new(seed: u64, keep_trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let weather = Weather::draw(&mut rng);
        World(Arc::new(Mutex::new(Inner {
            now_ms: 0,
            rng,
            queue: BinaryHeap::new(),
            queued: 0,
            weather,
            faults: Faults::default(),
            trace: Trace::new(keep_trace),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// Asks the dice.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.lock().rng)
    }

    /// The faults that may strike now.
    pub fn weather(&self) -> Weather {
        self.lock().weather.clone()
    }

    /// Changes them.
    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.lock().weather);
    }

    /// A fault has struck.
    pub fn struck(&self, fault: Fault) {
        let mut inner = self.lock();
        inner.faults.count(fault);
        let now_ms = inner.now_ms;
        inner.trace.line(now_ms, format_args!("fault {fault:?}"));
    }

    /// Whether a fault strikes now, that does so in `chance` of 1,000 cases; counted if it does.
    pub fn strikes(&self, fault: Fault, chance: u64) -> bool {
        let strikes = chance > 0 && self.draw(|rng| rng.per_mille(chance));
        if strikes {
            self.struck(fault);
        }
        strikes
    }

    /// The faults so far.
    pub fn faults(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Adds a line to the trace.
    pub fn trace(&self, line: fmt::Arguments<'_>) {
        let mut inner = self.lock();
        let now_ms = inner.now_ms;
        inner.trace.line(now_ms, line);
    }

    /// The trace so far.
    pub fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }

    /// Lets something happen later.
    pub fn after(&self, delay_ms: u64, event: impl FnOnce(&mut Simulation) + Send + 'static) {
        let mut inner = self.lock();
        let queued = Queued {
            at_ms: inner.now_ms + delay_ms,
            tie: inner.rng.bits(),
            number: inner.queued,
            event: Box::new(event),
        };
        inner.queued += 1;
        inner.queue.push(queued);
    }

    /// The next event; the clock goes on to its time. `None`, and the clock at `until_ms`, if there is none up to then.
    pub fn next(&self, until_ms: u64) -> Option<Event> {
        let mut inner = self.lock();
        if inner
            .queue
            .peek()
            .is_none_or(|queued| queued.at_ms > until_ms)
        {
            inner.now_ms = inner.now_ms.max(until_ms);
            return None;
        }
        let queued = inner.queue.pop()?;
        inner.now_ms = inner.now_ms.max(queued.at_ms);
        Some(queued.event)
    }

    /// Waits.
    pub async fn sleep(&self, delay_ms: u64) {
        self.ask(delay_ms, |_| ()).await;
    }

    /// Something that happens after a delay, and its result. It happens even if nobody waits for it any more: what is
    /// on its way is on its way.
    pub fn ask<T, F>(&self, delay_ms: u64, act: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Simulation) -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.after(delay_ms, move |simulation| {
            let _ = sender.send(act(simulation));
        });
        async move {
            match receiver.await {
                Ok(result) => result,
                // The world ends: nobody will be polled again.
                Err(_) => std::future::pending().await,
            }
        }
    }
}
