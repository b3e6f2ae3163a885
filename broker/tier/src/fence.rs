//! The fence: once another cluster has adopted this one's objects, this one writes and deletes no more. And the watch
//! over it, over who else takes the objects over, and over holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use headwater_log::planted::{self, Bug};

use crate::error::TierError;
use crate::hold::Hold;
use crate::limits::FENCE_AGE_MS_MAX;
use crate::store::StoreErrorKind;
use crate::tier::Tier;
use crate::{frame, keys, wire};
use uuid::Uuid;

const FENCE: [u8; 4] = *b"HWTX";
const FENCE_BYTES_MAX: u64 = 4096;

/// When there was last neither a fence nor a later owner, and whether there was a hold. One for each process that writes
/// or deletes objects of a cluster.
#[derive(Debug, Default)]
pub struct FenceWatch {
    /// Number under which this process has taken the objects over; 0: not yet.
    owner: AtomicU64,
    /// By the own monotonic clock.
    clear_at_ms: Mutex<Option<u64>>,
    held: Mutex<Option<LastLook>>,
}

/// The last look for holds.
#[derive(Clone, Debug)]
struct LastLook {
    /// When it began, by the own monotonic clock.
    at_ms: u64,
    /// One of those who hold, if any does.
    by: Option<String>,
}

impl FenceWatch {
    /// Takes the objects over, see [`Tier::take_over`]. Nothing that is to be named may be written before: whoever owned
    /// them takes it for garbage.
    pub async fn take_over(&self, tier: &Tier, broker_epoch: u64) -> Result<(), TierError> {
        let number = tier.take_over(broker_epoch).await?;
        self.owner.fetch_max(number, Ordering::SeqCst);
        Ok(())
    }

    /// Whether the objects were taken over.
    pub fn is_owner(&self) -> bool {
        self.owner.load(Ordering::SeqCst) > 0
    }

    /// Before a head is committed or an object deleted: looks for the fence and for a later owner, unless they were looked
    /// for lately.
    ///
    /// # Panics
    /// If the objects were not taken over.
    pub async fn check(&self, tier: &Tier, now_ms: u64) -> Result<(), TierError> {
        let clear_at_ms = *self.lock();
        if clear_at_ms.is_some_and(|at| now_ms.saturating_sub(at) < FENCE_AGE_MS_MAX / 2) {
            return Ok(());
        }
        assert!(self.is_owner(), "the objects are taken over first");
        let fenced_by = tier.fenced_by(tier.cluster()).await?;
        if let Some(by) = fenced_by.filter(|_| !planted::is(Bug::FenceIgnored)) {
            return Err(TierError::Fenced { by });
        }
        let owner = self.owner.load(Ordering::SeqCst);
        if tier.is_superseded(owner).await? && !planted::is(Bug::OwnerIgnored) {
            return Err(TierError::Superseded);
        }
        *self.lock() = Some(now_ms);
        Ok(())
    }

    /// Whether the last look is too old for the act that it allowed: give it up.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        let clear_at_ms = *self.lock();
        clear_at_ms.is_none_or(|at| now_ms.saturating_sub(at) > FENCE_AGE_MS_MAX)
    }

    /// Before an object is deleted: looks for the fence, a later owner and holds, unless they were looked for lately.
    /// [`TierError::Held`] while there is a hold; the act is given up if looking took so long that it says nothing any
    /// more. `now_ms` is the own monotonic clock.
    pub async fn check_deletion(
        &self,
        tier: &Tier,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<(), TierError> {
        let begun_ms = now_ms();
        self.check(tier, begun_ms).await?;
        let lately = |look: &LastLook| begun_ms.saturating_sub(look.at_ms) < FENCE_AGE_MS_MAX / 2;
        let look = self.last_look().clone().filter(lately);
        let look = match look {
            Some(look) => look,
            None => {
                let at_ms = now_ms();
                let holds = self.look_for_holds(tier, at_ms).await?;
                let by = holds.into_iter().next().map(|hold| hold.holder);
                LastLook { at_ms, by }
            }
        };
        if let Some(by) = look.by {
            return Err(TierError::Held { by });
        }
        let now_ms = now_ms();
        if self.is_stale(now_ms) || now_ms.saturating_sub(look.at_ms) > FENCE_AGE_MS_MAX {
            let held_up_ms = now_ms.saturating_sub(begun_ms);
            return Err(TierError::HeldUp { held_up_ms });
        }
        Ok(())
    }

    /// Looks who holds the objects of the tier's cluster.
    pub async fn look_for_holds(&self, tier: &Tier, now_ms: u64) -> Result<Vec<Hold>, TierError> {
        let holds = tier.holds(tier.cluster()).await?;
        let mut last = self.last_look();
        // Another look that began later may have come back earlier.
        if last.as_ref().is_none_or(|last| last.at_ms <= now_ms) {
            *last = Some(LastLook {
                at_ms: now_ms,
                by: holds.first().map(|hold| hold.holder.clone()),
            });
        }
        Ok(holds)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.clear_at_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn last_look(&self) -> std::sync::MutexGuard<'_, Option<LastLook>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tier {
    /// The cluster that has taken over `cluster`'s objects, as its fence says. One that cannot be read fences as well.
    pub async fn fenced_by(&self, cluster: Uuid) -> Result<Option<String>, TierError> {
        let bytes = match self
            .store()
            .read(&keys::fence(cluster), 0..FENCE_BYTES_MAX)
            .await
        {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let fence: Result<wire::Fence, String> = frame::decode(FENCE, &bytes);
        let by = fence
            .ok()
            .and_then(|fence| Uuid::from_slice(&fence.cluster).ok());
        Ok(Some(
            by.map_or("(unreadable)".to_owned(), |by| by.to_string()),
        ))
    }

    /// Puts the fence in front of `cluster`'s objects, in the name of this tier's cluster. Again is no error; another's
    /// is.
    pub async fn put_fence(&self, cluster: Uuid) -> Result<(), TierError> {
        let message = wire::Fence {
            cluster: self.cluster().into(),
        };
        let bytes = frame::encode(FENCE, &message);
        match self
            .store()
            .put_if_absent(&keys::fence(cluster), bytes)
            .await
        {
            Ok(()) => Ok(()),
            Err(error) if error.kind == StoreErrorKind::Exists => {
                match self.fenced_by(cluster).await? {
                    Some(by) if by != self.cluster().to_string() => Err(TierError::Fenced { by }),
                    _ => Ok(()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}
