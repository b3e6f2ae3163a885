//! Holds: another cluster was restored from this one's objects and names them. While there is one this cluster uploads
//! and reads, and deletes no object of a topic.

use uuid::Uuid;

use crate::error::TierError;
use crate::limits::LIST_PAGE;
use crate::store::{Listed, StoreErrorKind};
use crate::tier::Tier;
use crate::{frame, keys, wire};

const HOLD: [u8; 4] = *b"HWTL";

/// A cluster that names another one's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The cluster that was restored, as the key says. A key that names none holds as well.
    pub holder: String,
    /// Since when, by the store's own time, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
}

impl Tier {
    /// Who holds `cluster`'s objects, as a listing says: which they are nobody knows beforehand.
    pub async fn holds(&self, cluster: Uuid) -> Result<Vec<Hold>, TierError> {
        let prefix = keys::hold_prefix(cluster);
        let listed = self.store().list(&prefix, None, LIST_PAGE).await?;
        let hold = |Listed { key, meta }: Listed| Hold {
            holder: key.strip_prefix(&prefix).unwrap_or(&key).to_owned(),
            since_ms: meta.modified_ms,
        };
        Ok(listed.into_iter().map(hold).collect())
    }

    /// Holds `cluster`'s objects in the name of this tier's cluster. Again is no error.
    pub async fn put_hold(&self, cluster: Uuid) -> Result<(), TierError> {
        let message = wire::Hold {
            cluster: self.cluster().into(),
        };
        let key = keys::hold(cluster, self.cluster());
        let put = self
            .store()
            .put_if_absent(&key, frame::encode(HOLD, &message));
        match put.await {
            Err(error) if error.kind == StoreErrorKind::Exists => Ok(()),
            put => Ok(put?),
        }
    }

    /// Whether a listing shows this tier's cluster among those that hold `cluster`'s objects: then others see it too.
    pub async fn is_hold_listed(&self, cluster: Uuid) -> Result<bool, TierError> {
        let key = keys::hold(cluster, self.cluster());
        let listed = self.store().list(&key, None, 1).await?;
        Ok(listed.iter().any(|listed| listed.key == key))
    }

    /// Lets `cluster` delete what `holder` held; whether there was a hold.
    pub async fn release_hold(&self, cluster: Uuid, holder: Uuid) -> Result<bool, TierError> {
        let key = keys::hold(cluster, holder);
        match self.store().stat(&key).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(false),
            stat => drop(stat?),
        }
        self.store().delete(&key).await?;
        Ok(true)
    }
}
