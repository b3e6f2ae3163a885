//! The tier of one cluster: a store, and what is kept of it in memory.

use std::future::Future;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use bytes::Bytes;
use futures::lock::Mutex;
use headwater_log::PartitionKey;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use uuid::Uuid;

use crate::error::TierError;
use crate::keys;
use crate::limits::{CHUNK_BYTES, FOOTER_BYTES_MAX, FRAME_BYTES_MAX, PAGE_ENTRIES};
use crate::manifest::{Entry, Manifest, PageRef, decode_page};
use crate::object::Footer;
use crate::store::{Store, StoreError};

/// Share of a cache that is kept for what was asked for again: consumers read on, and few read twice.
const HOT_SHARE: f64 = 0.25;

/// Hashes without randomness: which chunk gives way must be the same in every run of a seed.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// How much of the tier is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of segments.
    pub chunk_bytes: u64,
    /// Bytes of manifests, pages and footers.
    pub meta_bytes: u64,
}

/// The tier of one cluster. Shared by all who read and write it.
pub struct Tier {
    store: Arc<dyn Store>,
    cluster: Uuid,
    page_entries: usize,
    chunks: Cache<(Uuid, u32), Bytes, ChunkWeight, Hasher>,
    meta: Cache<MetaKey, Meta, MetaWeight, Hasher>,
    opening: Mutex<()>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum MetaKey {
    Manifest(PartitionKey, u64),
    Page(Uuid),
    Footer(Uuid),
}

#[derive(Clone)]
enum Meta {
    Manifest(Arc<Manifest>),
    Page(Arc<Vec<Entry>>),
    Footer(Arc<Footer>),
}

#[derive(Clone)]
struct ChunkWeight;

impl Weighter<(Uuid, u32), Bytes> for ChunkWeight {
    fn weight(&self, _: &(Uuid, u32), chunk: &Bytes) -> u64 {
        chunk.len() as u64 + 64
    }
}

#[derive(Clone)]
struct MetaWeight;

impl Weighter<MetaKey, Meta> for MetaWeight {
    fn weight(&self, _: &MetaKey, meta: &Meta) -> u64 {
        let bytes = match meta {
            Meta::Manifest(manifest) => {
                size_of_val(&*manifest.entries)
                    + size_of_val(&*manifest.pages)
                    + size_of_val(manifest.epochs.entries())
            }
            Meta::Page(entries) => size_of_val(&***entries),
            Meta::Footer(footer) => {
                size_of_val(&*footer.index)
                    + size_of_val(&*footer.append_marks)
                    + footer.producers.as_ref().map_or(0, Vec::len)
            }
        };
        bytes as u64 + 256
    }
}

fn cache<K, V, W>(capacity_bytes: u64, item_bytes: u64, weighter: W) -> Cache<K, V, W, Hasher>
where
    K: Eq + std::hash::Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    // One shard: the bound is one bound, and a large item fits wherever it falls.
    let options = OptionsBuilder::new()
        .shards(1)
        // What was read ahead has not been asked for yet and must stay until it is; by default a cache like this keeps
        // but three hundredths of its room for what was asked for once.
        .hot_allocation(HOT_SHARE)
        .estimated_items_capacity((capacity_bytes / item_bytes).max(1) as usize)
        .weight_capacity(capacity_bytes)
        .build()
        .expect("both capacities are given");
    Cache::with_options(
        options,
        weighter,
        Hasher::default(),
        DefaultLifecycle::default(),
    )
}

impl Tier {
    /// The tier of `cluster` in a store.
    pub fn new(store: Arc<dyn Store>, cluster: Uuid, limits: CacheLimits) -> Tier {
        Tier {
            store,
            cluster,
            page_entries: PAGE_ENTRIES,
            chunks: cache(limits.chunk_bytes, CHUNK_BYTES, ChunkWeight),
            meta: cache(limits.meta_bytes, 1_024, MetaWeight),
            opening: Mutex::default(),
        }
    }

    /// Seals pages of fewer entries than [`PAGE_ENTRIES`]: for tests, which cannot wait for so many.
    #[must_use]
    pub fn with_page_entries(self, page_entries: usize) -> Tier {
        Tier {
            page_entries: page_entries.clamp(1, PAGE_ENTRIES),
            ..self
        }
    }

    pub(crate) fn page_entries(&self) -> usize {
        self.page_entries
    }

    /// The cluster under whose prefix is written.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Held by whoever opens a batch to look for a time in it: what a batch opens to may be large, so they take turns.
    pub fn opening(&self) -> &Mutex<()> {
        &self.opening
    }

    /// Bytes of segments and of manifests, pages and footers that are in memory.
    pub fn cached_bytes(&self) -> (u64, u64) {
        (self.chunks.weight(), self.meta.weight())
    }

    /// The manifest of a number, checked.
    pub async fn manifest(
        &self,
        key: PartitionKey,
        number: u64,
    ) -> Result<Arc<Manifest>, TierError> {
        let load = async {
            let object = keys::manifest(self.cluster, key, number);
            let bytes = self.small(&object, FRAME_BYTES_MAX).await?;
            let manifest = Manifest::decode(&bytes).and_then(|manifest| {
                match manifest.key == key && manifest.number == number {
                    true => Ok(manifest),
                    false => Err("is the manifest of something else".to_owned()),
                }
            });
            let manifest = manifest.map_err(damaged(&object))?;
            Ok(Meta::Manifest(Arc::new(manifest)))
        };
        match self.meta(MetaKey::Manifest(key, number), load).await? {
            Meta::Manifest(manifest) => Ok(manifest),
            _ => unreachable!("the key says what it is"),
        }
    }

    /// Keeps a manifest that was just written.
    pub(crate) fn remember(&self, manifest: Manifest) {
        let key = MetaKey::Manifest(manifest.key, manifest.number);
        self.meta.insert(key, Meta::Manifest(Arc::new(manifest)));
    }

    /// Has the store asked for a manifest next time.
    pub(crate) fn forget_manifest(&self, key: PartitionKey, number: u64) {
        self.meta.remove(&MetaKey::Manifest(key, number));
    }

    /// Has the store asked for a page next time.
    pub(crate) fn forget_page(&self, page: &PageRef) {
        self.meta.remove(&MetaKey::Page(page.upload));
    }

    /// The entries of a page, checked.
    pub async fn page(
        &self,
        key: PartitionKey,
        page: &PageRef,
    ) -> Result<Arc<Vec<Entry>>, TierError> {
        let load = async {
            let object = page.object_key(key);
            let bytes = self
                .small(&object, page.frame_bytes.min(FRAME_BYTES_MAX))
                .await?;
            let entries = decode_page(&bytes, page).map_err(damaged(&object))?;
            Ok(Meta::Page(Arc::new(entries)))
        };
        match self.meta(MetaKey::Page(page.upload), load).await? {
            Meta::Page(entries) => Ok(entries),
            _ => unreachable!("the key says what it is"),
        }
    }

    /// All entries of a manifest that count, oldest first; pages are read one after the other.
    pub async fn entries(&self, manifest: &Manifest) -> Result<Vec<Entry>, TierError> {
        let mut entries = Vec::new();
        for page in &manifest.pages {
            let page = self.page(manifest.key, page).await?;
            entries.extend(page.iter().filter(|entry| entry.end > manifest.start));
        }
        entries.extend(&manifest.entries);
        Ok(entries)
    }

    /// What an object says of itself.
    pub async fn footer(&self, key: PartitionKey, entry: &Entry) -> Result<Arc<Footer>, TierError> {
        let load = async {
            let object = entry.object_key(key);
            let end = entry.segment_bytes + u64::from(entry.footer_bytes).min(FOOTER_BYTES_MAX);
            let bytes = self.store.read(&object, entry.segment_bytes..end).await?;
            let footer = Footer::decode(&bytes).and_then(|footer| {
                match footer.key == key && footer.base_offset == entry.base_offset {
                    true => Ok(footer),
                    false => Err("has the footer of something else".to_owned()),
                }
            });
            Ok(Meta::Footer(Arc::new(footer.map_err(damaged(&object))?)))
        };
        match self.meta(MetaKey::Footer(entry.upload), load).await? {
            Meta::Footer(footer) => Ok(footer),
            _ => unreachable!("the key says what it is"),
        }
    }

    /// A chunk of an object's batches, in memory or by one read; readers of the same chunk share it.
    pub(crate) async fn chunk(
        &self,
        key: PartitionKey,
        entry: &Entry,
        number: u32,
    ) -> Result<Bytes, StoreError> {
        let load = async {
            let start = u64::from(number) * CHUNK_BYTES;
            let end = (start + CHUNK_BYTES).min(entry.segment_bytes);
            self.store.read(&entry.object_key(key), start..end).await
        };
        let at = (entry.upload, number);
        self.chunks.get_or_insert_async(&at, load).await
    }

    /// Forgets a chunk that did not verify.
    pub(crate) fn forget_chunk(&self, entry: &Entry, number: u32) {
        self.chunks.remove(&(entry.upload, number));
    }

    async fn meta(
        &self,
        key: MetaKey,
        load: impl Future<Output = Result<Meta, TierError>>,
    ) -> Result<Meta, TierError> {
        self.meta.get_or_insert_async(&key, load).await
    }

    async fn small(&self, object: &str, bytes_max: u64) -> Result<Bytes, TierError> {
        match self.store.read(object, 0..bytes_max).await {
            Err(error) if error.kind == crate::StoreErrorKind::NotFound => {
                Err(damaged(object)("is missing".to_owned()))
            }
            read => Ok(read?),
        }
    }
}

pub(crate) fn damaged(object: &str) -> impl FnOnce(String) -> TierError {
    let object = object.to_owned();
    move |detail| TierError::Damaged { object, detail }
}
