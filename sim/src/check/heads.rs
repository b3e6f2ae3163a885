//! Heads: what they name is there, is what was committed, and is deleted by nobody.

use std::ops::Range;

use headwater_record::{LeaderEpoch, Offset};
use headwater_tier::{Entry, Head, Manifest, Proposal, decode_page, keys};

use super::Check;
use crate::bucket::Bucket;
use crate::faults::Fault;
use crate::simulation::{ProcessId, Simulation};

/// What one head names.
pub(crate) struct Named {
    pub(crate) entries: Vec<Entry>,
    /// Keys of everything, its manifest included.
    pub(crate) keys: Vec<String>,
}

impl Check {
    /// A head was accepted.
    pub(crate) fn committed(
        &mut self,
        bucket: &Bucket,
        proposal: &Proposal,
        before: Option<Head>,
        epoch: Option<LeaderEpoch>,
        limit: Option<Offset>,
        now_ms: u64,
    ) -> Result<(), String> {
        let head = proposal.head;
        if Some(head.leader_epoch) != epoch {
            return Err(format!(
                "a head of epoch {} was accepted in epoch {epoch:?}",
                head.leader_epoch.0
            ));
        }
        if proposal.parent != before.map(|head| head.number) {
            return Err(format!(
                "a head was accepted behind {:?} instead of {before:?}",
                proposal.parent
            ));
        }
        let moves_back = |old: Head| head.start < old.start || head.end < old.end;
        if before.is_some_and(moves_back) {
            return Err(format!("the head went back from {before:?} to {head:?}"));
        }
        if limit.is_some_and(|limit| head.end > limit) {
            return Err(format!(
                "the head ends at {}, committed and durable is {limit:?}",
                head.end
            ));
        }
        if self.fenced_from_ms.is_some_and(|from_ms| now_ms > from_ms) {
            return Err("a head was committed behind the fence".to_owned());
        }
        let named = self.look_into(bucket, head)?;
        for entry in &named.entries {
            self.object_is_sound(bucket, entry)?;
        }
        self.named.insert(head.number, named);
        if let Some(old) = before {
            self.replaced.push_back((old.number, now_ms));
        }
        self.head = Some(head);
        self.forget_replaced(now_ms);
        Ok(())
    }

    fn forget_replaced(&mut self, now_ms: u64) {
        while let Some(&(number, at_ms)) = self.replaced.front() {
            if at_ms + self.grace_ms >= now_ms {
                break;
            }
            self.named.remove(&number);
            self.replaced.pop_front();
        }
    }

    /// Reads a head's manifest and pages past all faults and checks their shape.
    fn look_into(&self, bucket: &Bucket, head: Head) -> Result<Named, String> {
        let key = keys::manifest(self.cluster, self.key, head.number);
        let stored = |key: &str| {
            bucket
                .get(key)
                .ok_or(format!("{key} of the head is not there"))
        };
        let manifest =
            Manifest::decode(&stored(&key)?.bytes).map_err(|why| format!("{key} {why}"))?;
        if manifest.head() != head || manifest.key != self.key {
            return Err(format!("{key} is {:?}, the head {head:?}", manifest.head()));
        }
        let mut entries = Vec::new();
        let mut named = vec![key];
        for page in &manifest.pages {
            let key = page.object_key(self.key);
            let page =
                decode_page(&stored(&key)?.bytes, page).map_err(|why| format!("{key} {why}"))?;
            entries.extend(page);
            named.push(key);
        }
        entries.extend(&manifest.entries);
        // Of a page that lies partly below the start, what is below counts for nothing.
        entries.retain(|entry| entry.end > head.start);
        named.extend(entries.iter().map(|entry| entry.object_key(self.key)));
        let mut at = entries
            .first()
            .map_or(head.end, |first| first.start.max(head.start));
        if at != head.start && head.start != head.end {
            return Err(format!(
                "the head starts at {}, its first entry at {at}",
                head.start
            ));
        }
        for entry in &entries {
            if entry.start.max(head.start) != at {
                return Err(format!("the head has a gap or an overlap at {at}"));
            }
            at = entry.end;
        }
        if at != head.end {
            return Err(format!(
                "the head ends at {}, its last entry at {at}",
                head.end
            ));
        }
        for batch in self
            .history
            .from(head.start)
            .take_while(|batch| batch.header().base_offset < head.end)
        {
            let (offset, epoch) = (batch.header().base_offset, batch.header().leader_epoch);
            if offset >= head.start && manifest.epochs.at(offset) != Some(epoch) {
                return Err(format!(
                    "the lineage has {:?} at {offset}, not {epoch:?}",
                    manifest.epochs.at(offset)
                ));
            }
        }
        named.sort_unstable();
        let count = named.len();
        named.dedup();
        match named.len() == count {
            true => Ok(Named {
                entries,
                keys: named,
            }),
            false => Err("the head names an object twice".to_owned()),
        }
    }

    /// An object holds exactly what was committed, unless we damaged it ourselves.
    pub(crate) fn object_is_sound(&mut self, bucket: &Bucket, entry: &Entry) -> Result<(), String> {
        let key = entry.object_key(self.key);
        if self.damaged.contains(&key) {
            return Ok(());
        }
        let object = bucket
            .get(&key)
            .ok_or(format!("{key} is named and not there"))?;
        if !self.verified.insert(entry.upload) {
            return Ok(());
        }
        let bytes = &object.bytes;
        if bytes.len() as u64 != entry.object_bytes() {
            return Err(format!("{key} is named and has {} bytes", bytes.len()));
        }
        let covered = entry.segment_bytes as usize + entry.footer_bytes as usize;
        if crc32c::crc32c(&bytes[..covered]) != entry.crc {
            return Err(format!("{key} is named and does not verify"));
        }
        let history = self.history.bytes_between(entry.base_offset, entry.end);
        match history {
            Some(history) if bytes[..entry.segment_bytes as usize] == history => Ok(()),
            _ => Err(format!(
                "{key} is named and holds other records than were committed"
            )),
        }
    }

    /// Local copies went: what they held is in the tier at this moment.
    pub(crate) fn dropped(&mut self, bucket: &Bucket, range: Range<Offset>) -> Result<(), String> {
        let head = self
            .head
            .filter(|head| head.start <= range.start && range.end <= head.end);
        let named = head.and_then(|head| self.named.get(&head.number));
        let Some(named) = named else {
            return Err(format!(
                "{range:?} was dropped, the head is {:?}",
                self.head
            ));
        };
        let entries: Vec<Entry> = named.entries.clone();
        for entry in entries
            .iter()
            .filter(|entry| entry.start < range.end && range.start < entry.end)
        {
            self.object_is_sound(bucket, entry)?;
        }
        Ok(())
    }

    /// Whether the head, or one of those within the grace, names an object.
    pub(crate) fn names(&mut self, key: &str, now_ms: u64) -> bool {
        self.forget_replaced(now_ms);
        let names = |named: &Named| named.keys.iter().any(|named| named == key);
        self.named.values().any(names)
    }
}

impl Simulation {
    /// An object was deleted by one of us.
    pub(crate) fn check_deletion(&mut self, process: ProcessId, key: &str) {
        let now_ms = self.world.now_ms();
        if self.check.is_deleted {
            return;
        }
        let is_clock = key.contains("/clock/");
        if self
            .check
            .fenced_from_ms
            .is_some_and(|from_ms| now_ms > from_ms)
            && !is_clock
        {
            self.fail(format!("{process} deleted {key} behind the fence"));
        }
        if self.check.names(key, now_ms) {
            self.fail(format!("{process} deleted {key}, which a head names"));
        }
    }

    /// Damages an object that the head names, behind everybody's back.
    pub(crate) fn damage_an_object(&mut self) {
        let entries = self
            .check
            .head
            .and_then(|head| self.check.named.get(&head.number));
        let entries: Vec<Entry> = entries
            .map(|named| named.entries.clone())
            .unwrap_or_default();
        if entries.is_empty() {
            return;
        }
        let (at, how) = self
            .world
            .draw(|rng| (rng.below(entries.len() as u64), rng.below(3)));
        let key = entries[at as usize].object_key(self.check.key);
        let Some(object) = self.bucket.get(&key) else {
            return;
        };
        let (fault, bytes) = match how {
            0 => (Fault::ObjectLost, None),
            1 => (
                Fault::ObjectAltered,
                Some(crate::bucket::flipped(&self.world, &object.bytes)),
            ),
            _ => {
                let len = self.world.draw(|rng| rng.below(object.bytes.len() as u64));
                (Fault::ObjectCut, Some(object.bytes.slice(..len as usize)))
            }
        };
        self.world.struck(fault);
        self.world.trace(format_args!("damages {key}"));
        self.bucket.damage(&key, bytes);
        self.check.damaged.insert(key);
    }
}
