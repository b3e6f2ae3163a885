//! The contract of [`Store`], run against every implementation (feature `sim`).
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken promise should panic"
)]

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{ObjectMeta, Store, StoreError, StoreErrorKind};

/// Checks one implementation; panics at the first broken promise. `make` returns a store with nothing in it.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Store>) {
    an_object_is_read_as_it_was_written(&*make().await).await;
    an_object_of_many_parts_is_read_as_it_was_written(&*make().await).await;
    nothing_shows_before_an_object_is_closed(&*make().await).await;
    what_was_given_up_never_shows(&*make().await).await;
    a_read_is_short_only_at_the_end(&*make().await).await;
    an_empty_object_is_an_object(&*make().await).await;
    a_key_is_taken_only_once(&*make().await).await;
    of_many_who_want_a_key_one_gets_it(&*make().await).await;
    what_is_absent_is_not_found(&*make().await).await;
    a_deleted_object_is_gone_and_its_neighbours_are_not(&*make().await).await;
    a_listing_is_in_the_order_of_the_keys(&*make().await).await;
    a_prefix_need_not_be_a_folder(&*make().await).await;
    pages_of_a_listing_tell_each_object_once(&*make().await).await;
    what_is_no_key_is_refused(&*make().await).await;
}

fn kind<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind)
}

/// The two ways to ask for a time may differ in their resolution: HTTP has seconds.
fn assert_same(one: ObjectMeta, other: ObjectMeta) {
    assert_eq!(one.size_bytes, other.size_bytes);
    let seconds = |meta: ObjectMeta| meta.modified_ms.map(|time| time / 1000);
    assert_eq!(seconds(one), seconds(other));
}

fn pattern(count: usize) -> Bytes {
    (0..count).map(|n| (n * 7 % 251) as u8).collect()
}

async fn put(store: &dyn Store, key: &str) {
    let bytes = Bytes::from(key.to_owned());
    store.put_if_absent(key, bytes).await.unwrap();
}

async fn keys(store: &dyn Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listed = store.list(prefix, after, limit).await.unwrap();
    listed.into_iter().map(|listed| listed.key).collect()
}

async fn an_object_is_read_as_it_was_written(store: &dyn Store) {
    let mut writer = store.create("c/t/0/seg-1").await.unwrap();
    for piece in ["head", "", "water"] {
        writer.write(Bytes::from(piece)).await.unwrap();
    }
    writer.close().await.unwrap();
    let read = store.read("c/t/0/seg-1", 0..9).await.unwrap();
    assert_eq!(read, "headwater");
    let meta = store.stat("c/t/0/seg-1").await.unwrap();
    assert_eq!(meta.size_bytes, 9);
    let listed = store.list("", None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key, "c/t/0/seg-1");
    assert_same(listed[0].meta, meta);
}

async fn an_object_of_many_parts_is_read_as_it_was_written(store: &dyn Store) {
    let bytes = pattern(12 << 20);
    let mut writer = store.create("big").await.unwrap();
    let mut rest = bytes.clone();
    for size in [1, 4096, 5 << 20, 999_983, usize::MAX] {
        let piece = rest.split_to(size.min(rest.len()));
        writer.write(piece).await.unwrap();
    }
    writer.close().await.unwrap();
    let size = bytes.len() as u64;
    assert_eq!(store.stat("big").await.unwrap().size_bytes, size);
    assert!(store.read("big", 0..size).await.unwrap() == bytes);
    let middle = store.read("big", 5_000_000..6_000_000).await.unwrap();
    assert!(middle == bytes[5_000_000..6_000_000]);
}

async fn nothing_shows_before_an_object_is_closed(store: &dyn Store) {
    let mut writer = store.create("a/slow").await.unwrap();
    writer.write(pattern(6 << 20)).await.unwrap();
    assert_eq!(
        kind(store.stat("a/slow").await),
        Some(StoreErrorKind::NotFound)
    );
    assert!(keys(store, "", None, 10).await.is_empty());
    writer.close().await.unwrap();
    assert_eq!(keys(store, "", None, 10).await, ["a/slow"]);
}

async fn what_was_given_up_never_shows(store: &dyn Store) {
    let mut writer = store.create("a/aborted").await.unwrap();
    writer.write(pattern(6 << 20)).await.unwrap();
    writer.abort().await;
    let mut writer = store.create("a/dropped").await.unwrap();
    writer.write(pattern(10)).await.unwrap();
    drop(writer);
    drop(store.create("a/unwritten").await.unwrap());
    assert!(keys(store, "", None, 10).await.is_empty());
    put(store, "a/dropped").await;
}

async fn a_read_is_short_only_at_the_end(store: &dyn Store) {
    let bytes = pattern(1000);
    store.put_if_absent("k", bytes.clone()).await.unwrap();
    for (start, end) in [
        (0, 1000),
        (0, 1),
        (999, 1000),
        (10, 500),
        (0, 2000),
        (999, 5000),
    ] {
        let read = store.read("k", start..end).await.unwrap();
        assert_eq!(read, bytes[start as usize..1000.min(end as usize)]);
    }
    for range in [1000..1001, 1000..9000, 5000..6000, 7..7, 2000..2000] {
        let read = store.read("k", range.clone()).await.unwrap();
        assert!(read.is_empty(), "{range:?}");
    }
}

async fn an_empty_object_is_an_object(store: &dyn Store) {
    store.put_if_absent("put", Bytes::new()).await.unwrap();
    let writer = store.create("streamed").await.unwrap();
    writer.close().await.unwrap();
    for key in ["put", "streamed"] {
        assert_eq!(store.stat(key).await.unwrap().size_bytes, 0);
        assert!(store.read(key, 0..10).await.unwrap().is_empty());
    }
    assert_eq!(
        kind(store.put_if_absent("put", Bytes::new()).await),
        Some(StoreErrorKind::Exists)
    );
    assert_eq!(keys(store, "", None, 10).await, ["put", "streamed"]);
}

async fn a_key_is_taken_only_once(store: &dyn Store) {
    let first = Bytes::from_static(b"first");
    let second = Bytes::from_static(b"the second");
    store.put_if_absent("a/b/1", first.clone()).await.unwrap();
    for _ in 0..2 {
        let refused = store.put_if_absent("a/b/1", second.clone()).await;
        assert_eq!(kind(refused), Some(StoreErrorKind::Exists));
    }
    assert_eq!(store.read("a/b/1", 0..100).await.unwrap(), first);

    let mut writer = store.create("a/b/2").await.unwrap();
    writer.write(first.clone()).await.unwrap();
    writer.close().await.unwrap();
    let refused = store.put_if_absent("a/b/2", second.clone()).await;
    assert_eq!(kind(refused), Some(StoreErrorKind::Exists));

    store.delete("a/b/1").await.unwrap();
    store.put_if_absent("a/b/1", second.clone()).await.unwrap();
    assert_eq!(store.read("a/b/1", 0..100).await.unwrap(), second);
}

async fn of_many_who_want_a_key_one_gets_it(store: &dyn Store) {
    let bytes: Vec<Bytes> = (0..8).map(|n| Bytes::from(format!("I am {n}"))).collect();
    let puts = bytes
        .iter()
        .map(|bytes| store.put_if_absent("m/1", bytes.clone()));
    let results = join_all(puts).await;
    let mut winner = None;
    for (result, bytes) in results.into_iter().zip(bytes) {
        match result {
            Ok(()) => assert!(winner.replace(bytes).is_none(), "two got the key"),
            // The store may also tell the others to come again.
            Err(error) => assert!(error.kind == StoreErrorKind::Exists || error.is_passing()),
        }
    }
    let read = store.read("m/1", 0..100).await.unwrap();
    assert_eq!(Some(read), winner);
}

async fn what_is_absent_is_not_found(store: &dyn Store) {
    put(store, "a/b/c").await;
    for key in ["absent", "a/absent", "no/folder", "a/b", "a"] {
        let not_found = Some(StoreErrorKind::NotFound);
        assert_eq!(kind(store.stat(key).await), not_found, "stat {key}");
        assert_eq!(kind(store.read(key, 0..1).await), not_found, "read {key}");
        store.delete(key).await.unwrap();
    }
    assert_eq!(keys(store, "", None, 10).await, ["a/b/c"]);
    assert!(keys(store, "no/folder/", None, 10).await.is_empty());
}

async fn a_deleted_object_is_gone_and_its_neighbours_are_not(store: &dyn Store) {
    for key in ["a/b/1", "a/b/2", "a/c/1", "d"] {
        put(store, key).await;
    }
    store.delete("a/b/1").await.unwrap();
    assert_eq!(
        kind(store.stat("a/b/1").await),
        Some(StoreErrorKind::NotFound)
    );
    assert_eq!(keys(store, "", None, 10).await, ["a/b/2", "a/c/1", "d"]);
    store.delete("a/b/2").await.unwrap();
    store.delete("a/b/2").await.unwrap();
    assert_eq!(keys(store, "", None, 10).await, ["a/c/1", "d"]);
    put(store, "a/b/3").await;
    assert_eq!(keys(store, "a/", None, 10).await, ["a/b/3", "a/c/1"]);
}

/// In the order of their bytes: '-' and '.' come before '/', which comes before digits and letters.
const IN_ORDER: [&str; 9] = [
    "a-b/1",
    "a.b",
    "a/-",
    "a/1/x",
    "a/10",
    "a/9",
    "a/Z",
    "a0",
    "b/1/2/3/4",
];

async fn a_listing_is_in_the_order_of_the_keys(store: &dyn Store) {
    for key in IN_ORDER.iter().rev() {
        put(store, key).await;
    }
    assert_eq!(keys(store, "", None, 100).await, IN_ORDER);
    for at in 0..IN_ORDER.len() {
        let after = Some(IN_ORDER[at]);
        assert_eq!(keys(store, "", after, 100).await, IN_ORDER[at + 1..]);
        assert_eq!(keys(store, "", None, at).await, IN_ORDER[..at]);
    }
    // Behind what is no key there.
    assert_eq!(keys(store, "", Some("a/"), 100).await, IN_ORDER[2..]);
    assert_eq!(keys(store, "", Some("a/2"), 100).await, IN_ORDER[5..]);
    assert!(keys(store, "", Some("c"), 100).await.is_empty());
    for listed in store.list("", None, 100).await.unwrap() {
        assert_same(store.stat(&listed.key).await.unwrap(), listed.meta);
        assert_eq!(listed.meta.size_bytes, listed.key.len() as u64);
    }
}

async fn a_prefix_need_not_be_a_folder(store: &dyn Store) {
    for key in IN_ORDER {
        put(store, key).await;
    }
    for prefix in [
        "a",
        "a/",
        "a/1",
        "a/1/",
        "a-",
        "b/1/2",
        "b/1/2/3/4",
        "c",
        "a/10/",
    ] {
        let wanted: Vec<_> = IN_ORDER
            .into_iter()
            .filter(|key| key.starts_with(prefix))
            .collect();
        assert_eq!(keys(store, prefix, None, 100).await, wanted, "{prefix}");
    }
    let after = Some("a/1/x");
    assert_eq!(keys(store, "a/", after, 2).await, ["a/10", "a/9"]);
    assert!(keys(store, "a/", Some("b"), 10).await.is_empty());
    assert_eq!(keys(store, "b/", Some("a"), 10).await, ["b/1/2/3/4"]);
}

async fn pages_of_a_listing_tell_each_object_once(store: &dyn Store) {
    let all: Vec<String> = (0..25).map(|n| format!("p/{:02}/{n}", n % 3)).collect();
    for key in &all {
        put(store, key).await;
    }
    for limit in [1, 7, 25, 26] {
        let mut seen: Vec<String> = vec![];
        loop {
            let page = keys(store, "p/", seen.last().map(String::as_str), limit).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert!(seen.is_sorted());
        assert_eq!(seen.len(), all.len());
    }
}

async fn what_is_no_key_is_refused(store: &dyn Store) {
    let long = "n".repeat(256);
    for key in [
        "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a b", "ä",
        "a?b", "a\0b", "tmp/a", "tmp", &long,
    ] {
        let unsupported = Some(StoreErrorKind::Unsupported);
        let put = store.put_if_absent(key, Bytes::new()).await;
        assert_eq!(kind(put), unsupported, "{key:?}");
        assert_eq!(kind(store.create(key).await), unsupported, "{key:?}");
        assert_eq!(kind(store.read(key, 0..1).await), unsupported, "{key:?}");
        assert_eq!(kind(store.stat(key).await), unsupported, "{key:?}");
        assert_eq!(kind(store.delete(key).await), unsupported, "{key:?}");
    }
    assert!(keys(store, "", None, 10).await.is_empty());
}
