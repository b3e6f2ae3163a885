//! A simulated object store: what is in it, and the requests that reach it.
//!
//! A request is a message: it arrives some time after it was sent, in any order with others, and it arrives even if its
//! sender has died. What a caller is told and what happened are two things.

mod client;

pub use client::BucketClient;
pub(crate) use client::flipped;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use headwater_tier::{Listed, ObjectMeta, StoreError, StoreErrorKind};

/// How far the store's clock is ahead of the world's.
const CLOCK_AHEAD_MS: u64 = 1_600_000_000_000;

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is stored.
    pub bytes: Bytes,
    /// When, by the world's clock.
    pub written_ms: u64,
}

/// What is in the store.
#[derive(Default)]
pub struct Bucket {
    objects: BTreeMap<String, Object>,
    /// What was deleted, and when: a listing may still have it.
    ghosts: BTreeMap<String, (Object, u64)>,
    /// Keys that something was streamed to, ever.
    created: BTreeSet<String>,
    /// Bytes that came back otherwise than they are stored, by key.
    transient: BTreeMap<String, u64>,
}

impl Bucket {
    /// An object as it is, past all faults.
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Everything there is.
    pub fn objects(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.objects.iter()
    }

    /// How often a read of this object was falsified on its way.
    pub fn falsified(&self, key: &str) -> u64 {
        self.transient.get(key).copied().unwrap_or_default()
    }

    pub(crate) fn falsify(&mut self, key: &str) {
        *self.transient.entry(key.to_owned()).or_default() += 1;
    }

    /// Whether a key is streamed to for the first time.
    pub(crate) fn is_new_key(&mut self, key: &str) -> bool {
        self.created.insert(key.to_owned())
    }

    /// Changes or takes away an object behind everybody's back.
    pub fn damage(&mut self, key: &str, bytes: Option<Bytes>) {
        match (bytes, self.objects.get_mut(key)) {
            (Some(bytes), Some(object)) => object.bytes = bytes,
            (None, Some(_)) => {
                self.objects.remove(key);
            }
            _ => {}
        }
    }

    pub(crate) fn put(&mut self, key: &str, bytes: Bytes, now_ms: u64) {
        self.ghosts.remove(key);
        let object = Object {
            bytes,
            written_ms: now_ms,
        };
        self.objects.insert(key.to_owned(), object);
    }

    pub(crate) fn put_if_absent(
        &mut self,
        key: &str,
        bytes: Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if self.objects.contains_key(key) {
            return Err(StoreError::new(StoreErrorKind::Exists, "put", key, "taken"));
        }
        self.put(key, bytes, now_ms);
        Ok(())
    }

    pub(crate) fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let object = self.find("read", key)?;
        let len = object.bytes.len() as u64;
        let (from, to) = (range.start.min(len), range.end.min(len));
        Ok(object.bytes.slice(from as usize..to.max(from) as usize))
    }

    pub(crate) fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.find("stat", key).map(meta)
    }

    /// A listing as of `lag_ms` ago.
    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now_ms: u64,
        lag_ms: u64,
    ) -> Vec<Listed> {
        let then_ms = now_ms.saturating_sub(lag_ms);
        let present = self.objects.iter();
        let present = present.filter(|(_, object)| object.written_ms <= then_ms || lag_ms == 0);
        let gone = self.ghosts.iter();
        let gone = gone.filter(|(_, (_, deleted_ms))| *deleted_ms > then_ms);
        let all: BTreeMap<&String, &Object> = present
            .chain(gone.map(|(key, (object, _))| (key, object)))
            .collect();
        let behind = |key: &str| after.is_none_or(|after| key > after);
        all.into_iter()
            .filter(|(key, _)| key.starts_with(prefix) && behind(key))
            .take(limit)
            .map(|(key, object)| Listed {
                key: key.clone(),
                meta: meta(object),
            })
            .collect()
    }

    /// Deletes; whether there was something.
    pub(crate) fn delete(&mut self, key: &str, now_ms: u64) -> bool {
        let Some(object) = self.objects.remove(key) else {
            return false;
        };
        self.ghosts.insert(key.to_owned(), (object, now_ms));
        true
    }

    fn find(&self, action: &'static str, key: &str) -> Result<&Object, StoreError> {
        let absent = || StoreError::new(StoreErrorKind::NotFound, action, key, "not there");
        self.objects.get(key).ok_or_else(absent)
    }
}

fn meta(object: &Object) -> ObjectMeta {
    let written_ms = object.written_ms + CLOCK_AHEAD_MS;
    ObjectMeta {
        size_bytes: object.bytes.len() as u64,
        modified_ms: i64::try_from(written_ms).ok(),
    }
}
