//! Faults: how often each may strike in a run, and how often it did, counted at the victim.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;

use crate::rng::Rng;

/// Everything that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// A request to the store failed and had no effect.
    ErrorBefore,
    /// A request to the store had its effect, and its answer got lost.
    AnswerLost,
    /// A request to the store failed, and had its effect long after.
    LateEffect,
    /// The store asked for fewer requests.
    Throttled,
    /// A request to the store took long.
    Slow,
    /// The store was away, for up to an hour or to the end of all faults.
    Outage,
    /// An object of which a part alone became visible.
    HalfObject,
    /// An object that was stored otherwise than it was sent.
    CorruptWrite,
    /// Bytes that came back otherwise than they are stored, once.
    CorruptRead,
    /// A listing as of some time ago.
    StaleList,
    /// An object that was deleted by nobody of us.
    ObjectLost,
    /// An object of which bytes changed long after.
    ObjectAltered,
    /// An object of which the end went long after.
    ObjectCut,
    /// The metadata judged a head, and nobody heard of it.
    HeadAnswerLost,
    /// A head reached the metadata after its proposer had given it up.
    HeadLate,
    /// A head never reached the metadata.
    HeadLost,
    /// The metadata refused a head.
    HeadRefused,
    /// The power of a leader's machine failed.
    PowerLoss,
    /// A leader's process was killed.
    Kill,
    /// A leader was replaced and went on without knowing.
    Deposed,
    /// A process stood still.
    Frozen,
    /// The local disk counted as full.
    DiskFull,
    /// The wall clock counted as wrong.
    ClockSuspect,
}

/// How often each fault struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    /// One has struck.
    pub fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Faults) {
        for (&fault, count) in &other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }

    /// Whether anything was ever falsified, on its way or where it lay.
    pub fn any_damage(&self) -> bool {
        let kinds = [
            Fault::CorruptRead,
            Fault::ObjectLost,
            Fault::ObjectAltered,
            Fault::ObjectCut,
        ];
        kinds.iter().any(|&fault| self.of(fault) > 0)
    }

    /// How often a fault struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    /// Those that never struck.
    pub fn missing(&self) -> Vec<Fault> {
        let all = Fault::value_variants().iter().copied();
        all.filter(|&fault| self.of(fault) == 0).collect()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, count) in &self.0 {
            writeln!(f, "  {count:>10}  {fault:?}")?;
        }
        Ok(())
    }
}

/// How likely each fault is in one run, in 1,000 requests. Each run has another mix: a fault that is always there hides
/// what only shows without it.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// [`Fault::ErrorBefore`].
    pub error_before: u64,
    /// [`Fault::AnswerLost`].
    pub answer_lost: u64,
    /// [`Fault::LateEffect`].
    pub late_effect: u64,
    /// [`Fault::Throttled`].
    pub throttled: u64,
    /// [`Fault::Slow`].
    pub slow: u64,
    /// [`Fault::HalfObject`].
    pub half_object: u64,
    /// [`Fault::CorruptWrite`].
    pub corrupt_write: u64,
    /// [`Fault::CorruptRead`].
    pub corrupt_read: u64,
    /// [`Fault::StaleList`].
    pub stale_list: u64,
    /// [`Fault::HeadAnswerLost`], [`Fault::HeadLate`] and [`Fault::HeadLost`].
    pub head_lost: u64,
    /// Until when nothing gets through, in virtual milliseconds.
    pub outage_until_ms: u64,
}

impl Weather {
    /// Draws a run's mix.
    pub fn draw(rng: &mut Rng) -> Weather {
        let mut rate = |most: u64| match rng.below(2) {
            0 => 0,
            _ => rng.below(most) + 1,
        };
        Weather {
            error_before: rate(80),
            answer_lost: rate(80),
            late_effect: rate(60),
            throttled: rate(60),
            slow: rate(40),
            half_object: rate(60),
            corrupt_write: rate(60),
            corrupt_read: rate(40),
            stale_list: rate(600),
            head_lost: rate(200),
            outage_until_ms: 0,
        }
    }

    /// No faults any more.
    pub fn clear(&mut self) {
        *self = Weather::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_struck_is_missing() {
        let mut faults = Faults::default();
        for &fault in Fault::value_variants() {
            assert!(faults.missing().contains(&fault), "{fault:?}");
            faults.count(fault);
            assert!(!faults.missing().contains(&fault), "{fault:?}");
        }
        assert_eq!(faults.missing(), []);
    }
}
