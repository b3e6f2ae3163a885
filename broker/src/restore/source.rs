//! What a bucket says of a cluster: its newest snapshot, and topics that are newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use headwater_core::ids::{ClusterId, TopicId};
use headwater_core::metadata::{Image, Topic};
use headwater_log::PartitionKey;
use headwater_tier::bucket::{self, Newest, Snapshot};
use headwater_tier::{Store, Tier, keys};
use uuid::Uuid;

use super::{CACHE, Committed, UnreadObject, VanishedTopic};

/// A cluster as its bucket describes it.
pub(super) struct Source {
    /// The newest snapshot with the topics that are newer. As the old cluster's, with its heads.
    pub(super) image: Image,
    /// Revision of the snapshot that was used, and when it was written, in milliseconds since the epoch.
    pub(super) snapshot: Option<(u64, Option<i64>)>,
    /// Names of topics that no snapshot has, or not as they were last.
    pub(super) newer: BTreeMap<TopicId, String>,
    /// Topics of the snapshot that were deleted since.
    pub(super) vanished: Vec<VanishedTopic>,
    /// Objects that could not be read and that an older one stood in for.
    pub(super) unread: Vec<UnreadObject>,
}

/// The cluster to restore. `asked` is by the user, `own` the new one of an unfinished restore, whose fence is no
/// hindrance.
pub(super) async fn choose(
    store: &Arc<dyn Store>,
    url: &str,
    asked: Option<Uuid>,
    own: Option<Uuid>,
) -> anyhow::Result<Uuid> {
    let clusters = bucket::clusters(&**store).await;
    let clusters = clusters.with_context(|| format!("listing {url}"))?;
    ensure!(
        !clusters.is_empty(),
        "there is no cluster in {url}: check --from, which is the old cluster's tier.url with its prefix"
    );
    let mut found = Vec::new();
    for cluster in clusters {
        if asked.is_none_or(|asked| asked == cluster) {
            found.push(Found::of(store, cluster).await?);
        }
    }
    if let Some(asked) = asked {
        let Some(found) = found.first() else {
            bail!(
                "there is no cluster {asked} in {url}; leave --cluster away to see which there are"
            );
        };
        if let Some(by) = found
            .fenced_by
            .as_ref()
            .filter(|by| Some(*by) != own.map(|own| own.to_string()).as_ref())
        {
            bail!("cluster {asked} was adopted by cluster {by}: restore that one");
        }
        ensure!(
            found.is_restorable(),
            "cluster {asked} has no metadata snapshot and no topic in {url}: there is nothing to restore"
        );
        return Ok(asked);
    }
    let mut candidates = found
        .iter()
        .filter(|found| found.is_restorable() && found.fenced_by.is_none());
    match (candidates.next(), candidates.next()) {
        (Some(one), None) => Ok(one.cluster),
        (None, _) => bail!("nothing in {url} can be restored:\n{}", list(&found)),
        (Some(_), Some(_)) => bail!(
            "there are several clusters in {url}; say which with --cluster:\n{}",
            list(&found)
        ),
    }
}

/// A cluster in a bucket.
struct Found {
    cluster: Uuid,
    fenced_by: Option<String>,
    source: Option<Source>,
}

impl Found {
    async fn of(store: &Arc<dyn Store>, cluster: Uuid) -> anyhow::Result<Found> {
        let tier = Tier::new(store.clone(), cluster, CACHE);
        let fenced_by = tier.fenced_by(cluster).await;
        Ok(Found {
            cluster,
            fenced_by: fenced_by
                .with_context(|| format!("looking for a fence of cluster {cluster}"))?,
            source: Source::find(&**store, cluster).await?,
        })
    }

    fn is_restorable(&self) -> bool {
        self.source.is_some()
    }
}

/// One line for each.
fn list(found: &[Found]) -> String {
    let line = |found: &Found| {
        let Found {
            cluster,
            fenced_by,
            source,
        } = found;
        let adopted = fenced_by
            .as_ref()
            .map_or_else(String::new, |by| format!(", adopted by {by}"));
        match source {
            None => format!("  {cluster}: no snapshot, no topics{adopted}"),
            Some(source) => {
                let topics = source.image.topics().count();
                let snapshot = match source.snapshot {
                    None => "no snapshot".to_owned(),
                    Some((revision, None)) => format!("newest snapshot at revision {revision}"),
                    Some((revision, Some(ms))) => {
                        format!("newest snapshot {} at revision {revision}", moment(ms))
                    }
                };
                format!("  {cluster}: {topics} topics, {snapshot}{adopted}")
            }
        }
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// In RFC 3339.
pub(crate) fn moment(ms: i64) -> String {
    let (seconds, nanos) = (ms.div_euclid(1_000), 0);
    prost_types::Timestamp { seconds, nanos }.to_string()
}

impl Source {
    /// What there is of a cluster that has something.
    pub(super) async fn read(store: &dyn Store, cluster: Uuid) -> anyhow::Result<Source> {
        let source = Source::find(store, cluster).await?;
        source.with_context(|| {
            format!("cluster {cluster} has no metadata snapshot and no topic any more")
        })
    }

    /// `None` if there is neither a snapshot nor a topic object that can be read.
    async fn find(store: &dyn Store, cluster: Uuid) -> anyhow::Result<Option<Source>> {
        let reading = || format!("reading what cluster {cluster} says of itself");
        let mut unread = Vec::new();
        let mut note = |passed_over: Vec<(String, String)>| {
            let object = |(object, why)| UnreadObject { object, why };
            unread.extend(passed_over.into_iter().map(object));
        };
        let Newest { found, passed_over } = bucket::newest_snapshot(store, cluster)
            .await
            .with_context(reading)?;
        note(passed_over);
        let mut alone: Vec<(Uuid, Option<Image>)> = Vec::new();
        for (topic, newest) in bucket::topics(store, cluster).await.with_context(reading)? {
            note(newest.passed_over);
            let image = newest
                .found
                .map(|snapshot| decode(&snapshot, cluster))
                .transpose()?;
            alone.push((topic, image));
        }
        let (image, snapshot) = match found {
            Some(snapshot) => {
                let stat = store
                    .stat(&keys::snapshot(cluster, snapshot.revision))
                    .await;
                let written_ms = stat.ok().and_then(|meta| meta.modified_ms);
                let image = decode(&snapshot, cluster)?;
                (image, Some((snapshot.revision, written_ms)))
            }
            None => {
                // The newest of them knows most of what is not a topic.
                let images = alone.iter().filter_map(|(_, image)| image.as_ref());
                let Some(newest) = images.max_by_key(|image| image.revision()) else {
                    return Ok(None);
                };
                (newest.clone(), None)
            }
        };
        let mut source = Source {
            image,
            snapshot,
            newer: BTreeMap::new(),
            vanished: Vec::new(),
            unread,
        };
        source.take_newer(&alone);
        Ok(Some(source))
    }

    /// Takes over what topic objects know better than the snapshot.
    fn take_newer(&mut self, alone: &[(Uuid, Option<Image>)]) {
        let revision = self.snapshot.map(|(revision, _)| revision);
        let mut newer: Vec<&Topic> = Vec::new();
        for (id, image) in alone {
            let topic = image
                .as_ref()
                .and_then(|image| image.topic_by_id(TopicId(*id)));
            // Of the snapshot's revision or older: the snapshot knows it, or knows that it was deleted.
            newer.extend(
                topic.filter(|topic| revision.is_none_or(|known| topic.revision.0 > known)),
            );
        }
        // Where two had one name, the later one has it.
        newer.sort_by_key(|topic| topic.revision);
        for topic in newer {
            let head_of = |index: usize| {
                let partition = self.image.topic_by_id(topic.id)?.partitions.get(index)?;
                partition.tier
            };
            let mut topic = topic.clone();
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                let known = head_of(index);
                // The snapshot may be later for what is no change of the topic.
                if partition.tier.map(|head| head.number) < known.map(|head| head.number) {
                    partition.tier = known;
                }
            }
            if let Some(namesake) = self.image.take_topic(&topic) {
                self.newer.remove(&namesake);
                self.vanished.push(VanishedTopic {
                    topic: topic.name.to_string(),
                    topic_id: namesake.0,
                    why: "another topic of this name is newer",
                });
            }
            self.newer.insert(topic.id, topic.name.to_string());
        }
        // Every topic's object is written before a snapshot that has it, and goes last when it is deleted.
        let gone = self
            .image
            .topics()
            .filter(|topic| !alone.iter().any(|(id, _)| *id == topic.id.0));
        let gone: Vec<_> = gone
            .map(|topic| (topic.id, topic.name.to_string()))
            .collect();
        for (id, name) in gone {
            self.image.forget_topic(id);
            self.vanished.push(VanishedTopic {
                topic: name,
                topic_id: id.0,
                why: "it was deleted after the snapshot",
            });
        }
    }

    /// Every partition with the name of its topic, and the head that is known of it.
    pub(super) fn partitions(&self) -> Vec<(String, PartitionKey, Committed)> {
        let partitions = self.image.topics().flat_map(|topic| {
            topic.partitions.iter().zip(0..).map(|(partition, index)| {
                let key = PartitionKey {
                    topic: topic.id.0,
                    index,
                };
                (topic.name.to_string(), key, partition.tier)
            })
        });
        partitions.collect()
    }
}

fn decode(snapshot: &Snapshot, cluster: Uuid) -> anyhow::Result<Image> {
    let image = Image::decode(&snapshot.image).with_context(|| {
        format!(
            "the metadata of cluster {cluster} at revision {} cannot be read; if a newer release wrote it, restore with \
             that one",
            snapshot.revision
        )
    })?;
    let of = image.cluster().map(|formed| formed.id);
    ensure!(
        of == Some(ClusterId(cluster)),
        "the metadata in the bucket of cluster {cluster} is another cluster's"
    );
    Ok(image)
}
