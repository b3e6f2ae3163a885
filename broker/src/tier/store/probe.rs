//! What is asked of a store before anything is entrusted to it.

use anyhow::{bail, ensure};
use bytes::Bytes;
use headwater_tier::keys;
use headwater_tier::store::{Store, StoreError, StoreErrorKind};
use uuid::Uuid;

/// Checks that the store takes an object, refuses to take its key a second time, and reads, lists and deletes it. The
/// object is one of `cluster`'s that sweeps delete, should this broker stop before it does. The error says what is wrong
/// and what to do.
pub async fn probe(store: &dyn Store, cluster: Uuid) -> anyhow::Result<()> {
    let key = keys::clock(cluster, Uuid::new_v4());
    let first = Bytes::from(format!("first {key}"));
    let put = store.put_if_absent(&key, first.clone()).await;
    match put {
        // An attempt whose answer was lost has put it.
        Err(error) if error.kind == StoreErrorKind::Exists => {}
        put => put.map_err(|error| explained(error, "write"))?,
    }
    let checked = check(store, &key, &first).await;
    let deleted = store.delete(&key).await;
    checked?;
    deleted.map_err(|error| explained(error, "delete"))
}

async fn check(store: &dyn Store, key: &str, first: &Bytes) -> anyhow::Result<()> {
    let second = Bytes::from_static(b"second");
    match store.put_if_absent(key, second).await {
        Err(error) if error.kind == StoreErrorKind::Exists => {}
        Err(error) => return Err(explained(error, "write")),
        Ok(()) => bail!(
            "the tier's store has written over an object that was to be kept (it ignores If-None-Match): two brokers \
             could undo each other's work; use a store with conditional writes, or a newer version of this one"
        ),
    }
    let length = first.len() as u64;
    let read = store.read(key, 0..length).await;
    let read = read.map_err(|error| explained(error, "read"))?;
    ensure!(
        read == *first,
        "the tier's store does not give back what was written; is there a cache or proxy in front of it?"
    );
    let listed = store.list(key, None, 1).await;
    listed.map_err(|error| explained(error, "list"))?;
    Ok(())
}

fn explained(error: StoreError, act: &str) -> anyhow::Error {
    let remedy = match error.kind {
        StoreErrorKind::Denied => format!(
            "the tier's store does not let this broker {act} objects; check the credentials and grant them reading, \
             writing, listing and deleting below the prefix of tier.url"
        ),
        StoreErrorKind::NotFound => {
            "the tier's bucket or container is not there; create it, or correct tier.url".to_owned()
        }
        StoreErrorKind::Throttled => {
            "the tier's store asks for fewer requests; raise its limits".to_owned()
        }
        StoreErrorKind::Unavailable => {
            "the tier's store cannot be reached or is unwell; check the endpoint in tier.url, the network, and where \
             the credentials come from"
                .to_owned()
        }
        StoreErrorKind::Exists | StoreErrorKind::Unsupported | StoreErrorKind::Other => {
            format!(
                "the tier's store cannot {act} objects; check tier.url, and that its bucket or container is there"
            )
        }
    };
    anyhow::Error::new(error).context(remedy)
}
