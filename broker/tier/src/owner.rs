//! Who owns a cluster's objects: of all processes that took them over, the one that did so last. So a process on a node
//! that was given up, or beside a copy of its data directory, learns from the store alone that another has taken its
//! place, and writes and deletes no more.
//!
//! Each takes the number behind the last owner's, put-if-absent. Numbers have no gaps but where old ones were deleted, so
//! whoever looks for a successor looks at one key, and no listing decides.

use headwater_log::planted::{self, Bug};

use crate::bucket::list_all;
use crate::error::TierError;
use crate::limits::{OWNER_NUMBERS_TRIED_MAX, OWNERS_KEPT};
use crate::store::StoreErrorKind;
use crate::tier::Tier;
use crate::{frame, keys, wire};

const OWNER: [u8; 4] = *b"HWTN";
const OWNER_BYTES_MAX: u64 = 4096;

impl Tier {
    /// Takes the cluster's objects over: whoever did before gives up within
    /// [`FENCE_AGE_MS_MAX`](crate::limits::FENCE_AGE_MS_MAX). `broker_epoch` is the broker's, under which this process was
    /// registered: it rises with each start on a data directory. Returns the number of this ownership; again is another one.
    ///
    /// # Errors
    /// [`TierError::Superseded`] if one of a higher epoch has taken them over.
    pub async fn take_over(&self, broker_epoch: u64) -> Result<u64, TierError> {
        let prefix = keys::owner_prefix(self.cluster());
        let listed = list_all(self.store(), &prefix).await?;
        let number = |key: &String| keys::digits(key.strip_prefix(&prefix)?, 20);
        let listed: Vec<u64> = listed.iter().filter_map(number).collect();
        // The last one that can be read. Behind it are attempts at most, whose bytes were not what was sent.
        for &number in listed.iter().rev() {
            let Some(owner_epoch) = self.owner_epoch(number).await? else {
                continue;
            };
            check_turn(owner_epoch, broker_epoch)?;
            break;
        }
        let bytes = frame::encode(OWNER, &wire::Owner { broker_epoch });
        let next = listed.last().map_or(1, |last| last.saturating_add(1));
        for number in next..next.saturating_add(OWNER_NUMBERS_TRIED_MAX) {
            let key = keys::owner(self.cluster(), number);
            match self.store().put_if_absent(&key, bytes.clone()).await {
                // The listing lagged, somebody was quicker, or an attempt whose answer got lost was ours.
                Err(error) if error.kind == StoreErrorKind::Exists => {
                    if let Some(owner_epoch) = self.owner_epoch(number).await? {
                        check_turn(owner_epoch, broker_epoch)?;
                    }
                    continue;
                }
                put => put?,
            }
            self.verify_small(&key, &bytes).await?;
            self.forget_owners(&listed, number).await;
            return Ok(number);
        }
        Err(TierError::Damaged {
            object: keys::owner(self.cluster(), next),
            detail: format!("and {OWNER_NUMBERS_TRIED_MAX} numbers behind it are taken"),
        })
    }

    /// Whether another process has taken the objects over from the owner of this number. An owner whose own object is gone
    /// has been superseded too: it goes before those of its successors do, so it is looked for after them.
    pub async fn is_superseded(&self, number: u64) -> Result<bool, TierError> {
        Ok(self.has_owner(number.saturating_add(1)).await? || !self.has_owner(number).await?)
    }

    async fn has_owner(&self, number: u64) -> Result<bool, TierError> {
        let key = keys::owner(self.cluster(), number);
        match self.store().stat(&key).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(false),
            stat => stat.map(|_| true).map_err(TierError::from),
        }
    }

    /// The broker epoch of an owner; `None` if it is not there, or not as any owner has left it: who read it back so has
    /// taken another number.
    async fn owner_epoch(&self, number: u64) -> Result<Option<u64>, TierError> {
        let key = keys::owner(self.cluster(), number);
        let read = || self.store().read(&key, 0..OWNER_BYTES_MAX);
        let bytes = match read().await {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        if let Ok(owner) = frame::decode::<wire::Owner>(OWNER, &bytes) {
            return Ok(Some(owner.broker_epoch));
        }
        match read().await? == bytes {
            true => Ok(None),
            false => Err(TierError::Unverified {
                object: key.clone(),
                detail: "reads differently each time".to_owned(),
            }),
        }
    }

    /// Deletes owners that are long superseded, none before those below it: an owner whose number is still there would take
    /// a successor that is not for one that never was. What fails is tried again by the next one to take over.
    async fn forget_owners(&self, listed: &[u64], number: u64) {
        let is_old = |old: &&u64| old.saturating_add(OWNERS_KEPT) <= number;
        for &old in listed.iter().filter(is_old) {
            let key = keys::owner(self.cluster(), old);
            if self.store().delete(&key).await.is_err() {
                return;
            }
        }
    }
}

/// One that was started before the owner, and comes to the store only now, is not the owner's successor.
fn check_turn(owner_epoch: u64, broker_epoch: u64) -> Result<(), TierError> {
    match owner_epoch <= broker_epoch || planted::is(Bug::OwnerOfAnyEpoch) {
        true => Ok(()),
        false => Err(TierError::Superseded),
    }
}
