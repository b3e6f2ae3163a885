//! Keys of objects (`docs/format/tier.md`): UUIDs and numbers, never names.

use headwater_log::PartitionKey;
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

/// Everything of one partition lies below this.
pub fn partition_prefix(cluster: Uuid, key: PartitionKey) -> String {
    format!("{cluster}/{}/{}/", key.topic, key.index)
}

/// Everything of one topic lies below this.
pub fn topic_prefix(cluster: Uuid, topic: Uuid) -> String {
    format!("{cluster}/{topic}/")
}

/// A segment object.
pub fn segment(
    cluster: Uuid,
    key: PartitionKey,
    base: Offset,
    epoch: LeaderEpoch,
    upload: Uuid,
) -> String {
    let prefix = partition_prefix(cluster, key);
    format!("{prefix}{:020}-{:010}-{upload}", base.get(), epoch.0)
}

/// A page of a manifest.
pub fn page(cluster: Uuid, key: PartitionKey, number: u64, upload: Uuid) -> String {
    let prefix = partition_prefix(cluster, key);
    format!("{prefix}page/{number:020}-{upload}")
}

/// A manifest.
pub fn manifest(cluster: Uuid, key: PartitionKey, number: u64) -> String {
    let prefix = partition_prefix(cluster, key);
    format!("{prefix}manifest/{number:020}")
}

/// A topic's name and settings as of a revision.
pub fn topic(cluster: Uuid, topic: Uuid, revision: u64) -> String {
    format!("{cluster}/{topic}/topic-{revision:020}")
}

/// A metadata snapshot.
pub fn snapshot(cluster: Uuid, revision: u64) -> String {
    format!("{cluster}/metadata/{revision:020}")
}

/// The fence.
pub fn fence(cluster: Uuid) -> String {
    format!("{cluster}/fence")
}

/// Owners of a cluster's objects, one for each process that took them over, begin so.
pub fn owner_prefix(cluster: Uuid) -> String {
    format!("{cluster}/owner/")
}

/// One of these, by its number.
pub fn owner(cluster: Uuid, number: u64) -> String {
    format!("{cluster}/owner/{number:020}")
}

/// Holds on a cluster's objects begin so.
pub fn hold_prefix(cluster: Uuid) -> String {
    format!("{cluster}/hold-")
}

/// The hold of one cluster on another's objects.
pub fn hold(cluster: Uuid, holder: Uuid) -> String {
    format!("{cluster}/hold-{holder}")
}

/// Objects of a topic, one for each change, begin so.
pub fn topic_objects_prefix(cluster: Uuid, topic: Uuid) -> String {
    format!("{cluster}/{topic}/topic-")
}

/// Objects that are written for their date, or to try the store, lie below this.
pub fn clock_prefix(cluster: Uuid) -> String {
    format!("{cluster}/clock/")
}

/// An object that is written for its date, or to try the store.
pub fn clock(cluster: Uuid, upload: Uuid) -> String {
    format!("{cluster}/clock/{upload}")
}

/// What stands below a partition's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionObject {
    /// A segment, by its upload.
    Segment(Uuid),
    /// A page, by its upload.
    Page(Uuid),
    /// A manifest, by its number.
    Manifest(u64),
}

/// Reads a key below a partition's prefix; `None` if it is none of ours, and then it is left alone.
pub fn parse_in_partition(key: &str, prefix: &str) -> Option<PartitionObject> {
    let name = key.strip_prefix(prefix)?;
    if let Some(number) = name.strip_prefix("manifest/") {
        return Some(PartitionObject::Manifest(digits(number, 20)?));
    }
    if let Some(page) = name.strip_prefix("page/") {
        let (number, upload) = page.split_once('-')?;
        digits(number, 20)?;
        return Some(PartitionObject::Page(uuid(upload)?));
    }
    let (base, rest) = name.split_once('-')?;
    let (epoch, upload) = rest.split_once('-')?;
    digits(base, 20)?;
    digits(epoch, 10)?;
    Some(PartitionObject::Segment(uuid(upload)?))
}

/// A number written with exactly so many digits.
pub fn digits(text: &str, count: usize) -> Option<u64> {
    let sound = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().ok()).flatten()
}

/// A UUID written as we write it.
pub fn uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.to_string() == text).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let (cluster, upload) = (Uuid::from_u128(1), Uuid::from_u128(7));
        let at = PartitionKey {
            topic: Uuid::from_u128(2),
            index: 3,
        };
        let prefix = partition_prefix(cluster, at);
        let parse = |key: String| parse_in_partition(&key, &prefix);
        let base = Offset::new(42);
        assert_eq!(
            parse(segment(cluster, at, base, LeaderEpoch(5), upload)),
            Some(PartitionObject::Segment(upload))
        );
        assert_eq!(
            parse(page(cluster, at, 9, upload)),
            Some(PartitionObject::Page(upload))
        );
        assert_eq!(
            parse(manifest(cluster, at, 12)),
            Some(PartitionObject::Manifest(12))
        );
        for foreign in [
            "",
            "manifest/",
            "manifest/1",
            "page/1-x",
            "note.txt",
            "1-2-3",
        ] {
            assert_eq!(parse(format!("{prefix}{foreign}")), None, "{foreign}");
        }
        assert_eq!(parse(fence(cluster)), None);
        assert_eq!(parse(hold(cluster, upload)), None);
    }

    #[test]
    fn keys_sort_as_what_they_mean() {
        let at = PartitionKey {
            topic: Uuid::from_u128(2),
            index: 3,
        };
        let keys = [9, 10, 99_999, 100_000].map(|n| manifest(Uuid::nil(), at, n));
        assert!(keys.is_sorted());
    }
}
