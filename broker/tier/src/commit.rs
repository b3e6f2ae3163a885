//! Steps 3 and 4: a manifest that names what was uploaded. The metadata makes it the head.

use bytes::Bytes;
use headwater_log::PartitionKey;
use headwater_log::planted::{self, Bug};
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

use crate::error::TierError;
use crate::keys;
use crate::limits::MANIFEST_NUMBERS_TRIED_MAX;
use crate::manifest::{Entry, Head, Manifest, PageRef, encode_page};
use crate::store::StoreErrorKind;
use crate::tier::{Tier, damaged};
use crate::upload::Uploaded;

/// A manifest to be written.
#[derive(Clone, Debug)]
pub struct CommitJob {
    /// The partition.
    pub key: PartitionKey,
    /// The leadership that writes.
    pub leader_epoch: LeaderEpoch,
    /// The present head, and from then on the parent.
    pub parent: Option<Head>,
    /// The log start: what lies wholly below it is left out.
    pub log_start: Offset,
    /// What comes behind the parent's end, in order.
    pub uploaded: Vec<Uploaded>,
    /// For a page, if one is due; never used before, nor are those behind it.
    pub page: Uuid,
}

impl CommitJob {
    /// What its pages are written under, in order. Many segments at once can fill more than one; none fills two.
    pub fn pages(&self) -> impl Iterator<Item = Uuid> + use<> {
        let first = self.page.as_u128();
        let step = u128::from(!planted::is(Bug::PageTwice));
        (0..self.uploaded.len() as u128)
            .map(move |at| Uuid::from_u128(first.wrapping_add(at * step)))
    }
}

impl Tier {
    /// Writes the manifest and returns the head that it will be, once the metadata says so.
    pub async fn write_manifest(&self, job: &CommitJob) -> Result<Head, TierError> {
        let cluster = self.cluster();
        let mut manifest = match job.parent {
            Some(head) => {
                let parent = self.manifest(job.key, head.number).await?;
                if (parent.leader_epoch, parent.end) != (head.leader_epoch, head.end) {
                    // To a process that was deposed long ago: its head was deleted, and another such process has taken the
                    // number.
                    let object = keys::manifest(cluster, job.key, head.number);
                    return Err(damaged(&object)(
                        "is not the one that became the head".to_owned(),
                    ));
                }
                parent.child(cluster, job.leader_epoch)
            }
            None => {
                let first = job.uploaded.first().map(|uploaded| uploaded.entry.start);
                let start = first.unwrap_or(job.log_start);
                Manifest::first(cluster, job.key, job.leader_epoch, start)
            }
        };
        manifest.advance(job.log_start.min(manifest.end));
        let mut pages = job.pages();
        for Uploaded { entry, epochs } in &job.uploaded {
            if entry.start > manifest.end {
                // Everything before is below the log start: the tier goes on behind a gap that nobody can read.
                assert!(entry.start <= job.log_start, "a gap that can be read");
                manifest.advance(entry.start);
            }
            manifest.push(*entry, epochs);
            if manifest.entries.len() >= self.page_entries() {
                let page = pages.next().expect("a page has segments of its own");
                self.seal_page(&mut manifest, job, page).await?;
            }
        }
        let first = job.parent.map_or(1, |head| head.number + 1);
        for number in first..first + MANIFEST_NUMBERS_TRIED_MAX {
            manifest.number = number;
            let object = keys::manifest(cluster, job.key, number);
            let bytes = manifest.encode();
            match self.store().put_if_absent(&object, bytes.clone()).await {
                Ok(()) => {
                    self.verify_small(&object, &bytes).await?;
                    let head = manifest.head();
                    self.remember(manifest);
                    return Ok(head);
                }
                // An attempt whose answer got lost, ours or another leader's. Never read, never trusted.
                Err(error) if error.kind == StoreErrorKind::Exists => {
                    if planted::is(Bug::ManifestTaken) {
                        return Ok(manifest.head());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let object = keys::manifest(cluster, job.key, first);
        let detail = format!("and {MANIFEST_NUMBERS_TRIED_MAX} numbers behind it are taken");
        Err(TierError::Damaged { object, detail })
    }

    async fn seal_page(
        &self,
        manifest: &mut Manifest,
        job: &CommitJob,
        upload: Uuid,
    ) -> Result<(), TierError> {
        let entries = std::mem::take(&mut manifest.entries);
        let cluster = self.cluster();
        let frame = encode_page(&entries, cluster);
        let number = job.parent.map_or(1, |head| head.number + 1);
        let page = page_ref(&entries, number, upload, cluster, &frame);
        let object = page.object_key(job.key);
        match self.store().put_if_absent(&object, frame.clone()).await {
            Ok(()) => {}
            // Nobody else draws this UUID: an attempt of ours whose answer got lost.
            Err(error) if error.kind == StoreErrorKind::Exists => {}
            Err(error) => return Err(error.into()),
        }
        self.verify_small(&object, &frame).await?;
        manifest.pages.push(page);
        Ok(())
    }

    /// Reads back what records will be found by: as precious as the records.
    pub(crate) async fn verify_small(&self, object: &str, sent: &Bytes) -> Result<(), TierError> {
        if planted::is(Bug::SkipVerifyManifest) {
            return Ok(());
        }
        let stored = self.store().read(object, 0..sent.len() as u64 + 1).await?;
        match stored == *sent {
            true => Ok(()),
            false => Err(TierError::Unverified {
                object: object.to_owned(),
                detail: "has other bytes".to_owned(),
            }),
        }
    }
}

fn page_ref(entries: &[Entry], number: u64, upload: Uuid, origin: Uuid, frame: &[u8]) -> PageRef {
    let first = entries.first().expect("a page has entries");
    let last = entries.last().expect("a page has entries");
    // Unknown for one is unknown for all.
    let latest: Option<Vec<i64>> = entries.iter().map(|entry| entry.latest_append_ms).collect();
    PageRef {
        number,
        upload,
        origin,
        start: first.start,
        end: last.end,
        entries: entries.len() as u32,
        segment_bytes: entries.iter().map(Entry::counted_bytes).sum(),
        frame_bytes: frame.len() as u64,
        crc: crc32c::crc32c(frame),
        max_timestamp_ms: entries
            .iter()
            .map(|entry| entry.max_timestamp_ms)
            .max()
            .unwrap_or(i64::MIN),
        latest_append_ms: latest.and_then(|latest| latest.into_iter().max()),
    }
}
