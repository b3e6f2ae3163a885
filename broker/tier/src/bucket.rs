//! What makes a bucket describe itself: metadata snapshots and topic objects; and finding the way in a bucket alone.

use bytes::Bytes;
use headwater_log::PartitionKey;
use uuid::Uuid;

use crate::error::TierError;
use crate::fence::FenceWatch;
use crate::limits::{FRAME_BYTES_MAX, LIST_PAGE, MANIFEST_NUMBERS_TRIED_MAX};
use crate::manifest::{Manifest, uuid};
use crate::store::{Listed, Store, StoreError, StoreErrorKind};
use crate::sweep::{SweepReport, is_old};
use crate::tier::Tier;
use crate::{frame, keys, wire};

const SNAPSHOT: [u8; 4] = *b"HWTI";
const TOPIC: [u8; 4] = *b"HWTT";

/// Snapshots that are kept: the newest counts, the others are for the case that it cannot be read.
const SNAPSHOTS_KEPT: usize = 8;

/// Objects of one topic that are kept, likewise.
const TOPIC_OBJECTS_KEPT: usize = 4;

/// The newest manifest is looked for among so many of the highest numbers: each deposed leader leaves one behind at most.
const MANIFESTS_LOOKED_AT: usize = 16;

/// Largest snapshot: an image at its bound.
const SNAPSHOT_BYTES_MAX: u64 = 8 * FRAME_BYTES_MAX;

/// An encoded image as of a revision of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// The image, as the metadata encodes it.
    pub image: Bytes,
}

impl Tier {
    /// Writes a metadata snapshot, and deletes all but the newest few. One that is there already is no error: the same
    /// revision is the same image.
    pub async fn put_snapshot(&self, snapshot: &Snapshot) -> Result<(), TierError> {
        let cluster = self.cluster();
        let message = wire::Snapshot {
            cluster: cluster.into(),
            revision: snapshot.revision,
            image: snapshot.image.clone(),
        };
        let key = keys::snapshot(cluster, snapshot.revision);
        self.put(&key, frame::encode(SNAPSHOT, &message)).await?;
        let kept = list_all(self.store(), &format!("{cluster}/metadata/")).await?;
        let surplus = kept.len().saturating_sub(SNAPSHOTS_KEPT);
        // The lowest is this one where an older history goes on.
        let others = kept.iter().filter(|other| **other != key);
        for other in others.take(surplus) {
            self.store().delete(other).await?;
        }
        Ok(())
    }

    /// Writes a topic object: an image of this topic and no other.
    pub async fn put_topic(&self, topic: Uuid, snapshot: &Snapshot) -> Result<(), TierError> {
        let message = wire::Topic {
            cluster: self.cluster().into(),
            revision: snapshot.revision,
            image: snapshot.image.clone(),
        };
        let key = keys::topic(self.cluster(), topic, snapshot.revision);
        self.put(&key, frame::encode(TOPIC, &message)).await
    }

    /// Deletes objects of a topic that newer ones have replaced, all but the newest few, once they are older than the
    /// grace by the store's own time and as long as nobody holds them. Looks at so many as one listing has. `clock` was
    /// never used before.
    pub async fn trim_topic(
        &self,
        topic: Uuid,
        grace_ms: u64,
        clock: Uuid,
        fence: &FenceWatch,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<SweepReport, TierError> {
        let prefix = keys::topic_objects_prefix(self.cluster(), topic);
        let listed = self.store().list(&prefix, None, LIST_PAGE).await?;
        let mut report = SweepReport::default();
        // A listing that lags lacks the newest: then more are kept, not fewer.
        let replaced = listed.len().saturating_sub(TOPIC_OBJECTS_KEPT);
        if replaced == 0 {
            return Ok(report);
        }
        if listed.len() >= LIST_PAGE {
            // More are behind these.
            report.waiting += 1;
        }
        let store_now_ms = self.store_time(clock).await?;
        for Listed { key, meta } in listed.iter().take(replaced) {
            if !is_old(*meta, store_now_ms, grace_ms) {
                report.waiting += 1;
            } else if report.held == 0 && self.delete_unheld(key, fence, now_ms).await? {
                report.deleted += 1;
                report.deleted_bytes += meta.size_bytes;
            } else {
                report.held += 1;
            }
        }
        Ok(report)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), TierError> {
        match self.store().put_if_absent(key, bytes).await {
            Err(error) if error.kind == StoreErrorKind::Exists => Ok(()),
            put => Ok(put?),
        }
    }

    /// Writes a manifest of this cluster that goes on from one of another, and reads it back. It has no parent, and the
    /// first number that is free: those below are of a restore that was not finished, and count for nothing.
    pub async fn write_first(&self, manifest: &Manifest) -> Result<Manifest, TierError> {
        let (cluster, key) = (self.cluster(), manifest.key);
        let mut manifest = Manifest {
            cluster,
            parent: None,
            ..manifest.clone()
        };
        for number in 1..=MANIFEST_NUMBERS_TRIED_MAX {
            manifest.number = number;
            let object = keys::manifest(cluster, key, number);
            let bytes = manifest.encode();
            match self.store().put_if_absent(&object, bytes.clone()).await {
                Err(error) if error.kind == StoreErrorKind::Exists => continue,
                put => put?,
            }
            self.verify_small(&object, &bytes).await?;
            return Ok(manifest);
        }
        Err(TierError::Damaged {
            object: keys::manifest(cluster, key, 1),
            detail: format!("and {MANIFEST_NUMBERS_TRIED_MAX} numbers behind it are taken"),
        })
    }
}

/// The newest of something that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest<T> {
    /// It, if there is one.
    pub found: Option<T>,
    /// Keys of newer ones that could not be read, and why.
    pub passed_over: Vec<(String, String)>,
}

/// Clusters that have anything in a store.
pub async fn clusters(store: &dyn Store) -> Result<Vec<Uuid>, StoreError> {
    let names = folders(store, "").await?;
    Ok(names.iter().filter_map(|name| keys::uuid(name)).collect())
}

/// The newest metadata snapshot of a cluster that can be read.
pub async fn newest_snapshot(
    store: &dyn Store,
    cluster: Uuid,
) -> Result<Newest<Snapshot>, TierError> {
    let objects = list_all(store, &format!("{cluster}/metadata/")).await?;
    newest(store, objects, SNAPSHOT_BYTES_MAX, |bytes| {
        let message: wire::Snapshot = frame::decode(SNAPSHOT, bytes)?;
        snapshot_of(cluster, &message.cluster, message.revision, message.image)
    })
    .await
}

/// The newest topic object that can be read of each topic that a cluster has objects of.
pub async fn topics(
    store: &dyn Store,
    cluster: Uuid,
) -> Result<Vec<(Uuid, Newest<Snapshot>)>, TierError> {
    let mut topics = Vec::new();
    for name in folders(store, &format!("{cluster}/")).await? {
        let Some(topic) = keys::uuid(&name) else {
            continue;
        };
        let objects = list_all(store, &keys::topic_objects_prefix(cluster, topic)).await?;
        let newest = newest(store, objects, FRAME_BYTES_MAX, |bytes| {
            let message: wire::Topic = frame::decode(TOPIC, bytes)?;
            snapshot_of(cluster, &message.cluster, message.revision, message.image)
        });
        topics.push((topic, newest.await?));
    }
    Ok(topics)
}

fn snapshot_of(
    cluster: Uuid,
    said: &[u8],
    revision: u64,
    image: Bytes,
) -> Result<Snapshot, String> {
    match uuid(said)? == cluster {
        true => Ok(Snapshot { revision, image }),
        false => Err("is another cluster's".to_owned()),
    }
}

/// The last of `objects` that can be read.
async fn newest<T>(
    store: &dyn Store,
    objects: Vec<String>,
    bytes_max: u64,
    decode: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Newest<T>, TierError> {
    let mut passed_over = Vec::new();
    for object in objects.into_iter().rev() {
        let bytes = match store.read(&object, 0..bytes_max).await {
            // Since the listing a cluster that still runs may have replaced it.
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            read => read?,
        };
        match decode(&bytes) {
            Ok(found) => {
                let found = Some(found);
                return Ok(Newest { found, passed_over });
            }
            Err(why) => passed_over.push((object, why)),
        }
    }
    Ok(Newest {
        found: None,
        passed_over,
    })
}

/// The manifest of a partition that counts when nobody can be asked for the head: the one with the highest leader epoch
/// and, of these, the highest number.
pub async fn newest_manifest(
    store: &dyn Store,
    cluster: Uuid,
    key: PartitionKey,
) -> Result<Newest<Manifest>, TierError> {
    let prefix = format!("{}manifest/", keys::partition_prefix(cluster, key));
    let objects = list_all(store, &prefix).await?;
    let mut found: Option<Manifest> = None;
    let mut passed_over = Vec::new();
    for object in objects.iter().rev().take(MANIFESTS_LOOKED_AT) {
        let bytes = match store.read(object, 0..FRAME_BYTES_MAX).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            read => read?,
        };
        let manifest = Manifest::decode(&bytes).and_then(|manifest| {
            let expected = keys::manifest(manifest.cluster, manifest.key, manifest.number);
            match expected == *object {
                true => Ok(manifest),
                false => Err("is the manifest of something else".to_owned()),
            }
        });
        let rank = |manifest: &Manifest| (manifest.leader_epoch, manifest.number);
        match manifest {
            Ok(manifest) => {
                if found
                    .as_ref()
                    .is_none_or(|found| rank(found) < rank(&manifest))
                {
                    found = Some(manifest);
                }
            }
            // Below one that can be read it would hardly have counted.
            Err(why) if found.is_none() => passed_over.push((object.clone(), why)),
            Err(_) => {}
        }
    }
    Ok(Newest { found, passed_over })
}

pub(crate) async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let listed = store
            .list(prefix, keys.last().map(String::as_str), LIST_PAGE)
            .await?;
        let more = listed.len() >= LIST_PAGE;
        keys.extend(listed.into_iter().map(|listed| listed.key));
        if !more {
            return Ok(keys);
        }
    }
}

/// Names directly below a prefix that have something below them, by one small listing for each.
async fn folders(store: &dyn Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let listed = store.list(prefix, after.as_deref(), 1).await?;
        let Some(first) = listed.first() else {
            return Ok(names);
        };
        let rest = first.key.strip_prefix(prefix).unwrap_or_default();
        match rest.split_once('/') {
            // `0` is the character behind the slash: behind everything in the folder.
            Some((name, _)) => {
                after = Some(format!("{prefix}{name}0"));
                names.push(name.to_owned());
            }
            None => after = Some(first.key.clone()),
        }
    }
}
