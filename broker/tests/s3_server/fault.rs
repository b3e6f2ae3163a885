//! Faults to order.

use std::time::Duration;

/// What happens to a request instead of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// 500 InternalError, without an effect.
    Broken,
    /// 503 SlowDown, without an effect.
    Throttled,
    /// 403 AccessDenied.
    Denied,
    /// No answer ever, without an effect.
    Hang,
    /// The effect, but 500 for an answer.
    LostAnswer,
    /// All as it should be, after a while.
    Slow(Duration),
}

/// Requests that fail.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    strike: Strike,
    operation: Option<&'static str>,
    key_part: String,
    skip: u64,
    times: u64,
}

impl Fault {
    /// Every request fails from now on.
    pub(crate) fn every(strike: Strike) -> Fault {
        Fault {
            strike,
            operation: None,
            key_part: String::new(),
            skip: 0,
            times: u64::MAX,
        }
    }

    /// Every request of an operation of S3 fails from now on.
    pub(crate) fn every_of(strike: Strike, operation: &'static str) -> Fault {
        Fault {
            operation: Some(operation),
            ..Fault::every(strike)
        }
    }

    /// The next request of an operation of S3, by its name (`PutObject`), fails.
    pub(crate) fn once(strike: Strike, operation: &'static str) -> Fault {
        Fault {
            operation: Some(operation),
            times: 1,
            ..Fault::every(strike)
        }
    }

    /// Only requests of keys (or prefixes of listings) with this text in them.
    pub(crate) fn on_key(self, part: &str) -> Fault {
        Fault {
            key_part: part.to_owned(),
            ..self
        }
    }

    /// So many matching requests go well first.
    pub(crate) fn after(self, requests: u64) -> Fault {
        Fault {
            skip: requests,
            ..self
        }
    }

    /// So many matching requests fail.
    pub(crate) fn times(self, requests: u64) -> Fault {
        Fault {
            times: requests,
            ..self
        }
    }

    /// Counts a request; what strikes it.
    pub(super) fn check(&mut self, operation: &str, key: &str) -> Option<Strike> {
        let matches =
            self.operation.is_none_or(|wanted| wanted == operation) && key.contains(&self.key_part);
        if !matches || self.times == 0 {
            return None;
        }
        if 0 < self.skip {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.strike)
    }
}
