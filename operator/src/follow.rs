//! Says which Topics to look at again: those whose Cluster resource changed, whose brokers came,
//! moved or went, or whose topic was changed past the resource. Nothing polls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use headwater_crds::{Cluster, Topic};
use headwater_proto::v1;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::reflector::{self, ObjectRef, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::context::Context;
use crate::directory::{ClusterKey, Whereabouts};

/// How long to wait before a broken stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// What of a Cluster counts as a change.
type Spec = (Option<String>, Option<i64>);
/// What of a topic counts as a change.
type Shape = (String, i64, Vec<i32>);

/// Takes the Topics to look at again.
type Changed = mpsc::UnboundedSender<ObjectRef<Topic>>;

/// Keeps the Cluster resources of every namespace in the context, and sends the Topics of each that
/// changes. Gives the stores at once; they fill while the tasks run.
pub(crate) fn clusters(
    context: &Arc<Context>,
    changed: &Changed,
    tasks: &mut JoinSet<()>,
) -> HashMap<String, store::Store<Cluster>> {
    let namespaces = context.settings.cluster_namespaces.iter();
    let follow = |namespace: &String| {
        let api: Api<Cluster> = Api::namespaced(context.client.clone(), namespace);
        let (store, writer) = store::store();
        let (context, changed) = (context.clone(), changed.clone());
        tasks.spawn(async move {
            let stream = watcher(api, watcher::Config::default()).default_backoff();
            let mut events = std::pin::pin!(reflector::reflector(writer, stream));
            let mut seen: HashMap<ClusterKey, Spec> = HashMap::new();
            // Of a list under way: what is not in it was deleted while nobody watched.
            let mut listed: Vec<ClusterKey> = Vec::new();
            while let Some(event) = events.next().await {
                // An error is tried again by the stream itself.
                let Ok(event) = event else { continue };
                let gone = match event {
                    watcher::Event::Init => {
                        listed.clear();
                        Vec::new()
                    }
                    watcher::Event::InitDone => seen
                        .keys()
                        .filter(|key| !listed.contains(key))
                        .cloned()
                        .collect(),
                    watcher::Event::Delete(cluster) => vec![key_of(&cluster)],
                    watcher::Event::InitApply(cluster) | watcher::Event::Apply(cluster) => {
                        let (key, spec) = (
                            key_of(&cluster),
                            (cluster.uid(), cluster.metadata.generation),
                        );
                        listed.push(key.clone());
                        // A status says nothing to Topics that the directory does not say.
                        if seen.insert(key.clone(), spec.clone()) != Some(spec) {
                            send(&context, &key, &changed, |_| true);
                        }
                        Vec::new()
                    }
                };
                for key in gone {
                    seen.remove(&key);
                    context.directory.gone(key.clone());
                    send(&context, &key, &changed, |_| true);
                }
            }
        });
        (namespace.clone(), store)
    };
    namespaces.map(follow).collect()
}

/// Sends the Topics whose topic has changed, or whose brokers are elsewhere now.
pub(crate) async fn brokers(context: Arc<Context>, changed: Changed) {
    let mut changes = context.directory.changes();
    let mut followed: HashMap<ClusterKey, JoinHandle<()>> = HashMap::new();
    loop {
        let clusters = match changes.recv().await {
            Ok(cluster) => vec![cluster],
            Err(broadcast::error::RecvError::Lagged(_)) => context.directory.clusters(),
            Err(broadcast::error::RecvError::Closed) => break,
        };
        for cluster in clusters {
            if let Some(old) = followed.remove(&cluster) {
                old.abort();
            }
            send(&context, &cluster, &changed, |_| true);
            if let Whereabouts::At(_) = context.directory.get(&cluster) {
                let follow = metadata(context.clone(), cluster.clone(), changed.clone());
                followed.insert(cluster, tokio::spawn(follow));
            }
        }
    }
}

/// Follows the metadata of one cluster for as long as its brokers are where they are.
async fn metadata(context: Arc<Context>, cluster: ClusterKey, changed: Changed) {
    let mut known: Option<HashMap<String, Shape>> = None;
    while let Whereabouts::At(endpoint) = context.directory.get(&cluster) {
        let mut metadata = context.brokers.watch_metadata(&endpoint);
        while let Some(Ok(now)) = metadata.next().await {
            let now = shapes(now);
            // Before the first answer anything may have changed.
            send(&context, &cluster, &changed, |topic| {
                let name = topic.full_name();
                let before = known.as_ref().map(|before| before.get(&name));
                before != Some(now.get(&name))
            });
            known = Some(now);
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

fn key_of(cluster: &Cluster) -> ClusterKey {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

fn shapes(metadata: v1::Metadata) -> HashMap<String, Shape> {
    let shape = |topic: v1::TopicMetadata| {
        let leaders = topic.partitions.iter().map(|partition| partition.leader);
        (
            topic.name,
            (topic.topic_id, topic.revision, leaders.collect()),
        )
    };
    metadata.topics.into_iter().map(shape).collect()
}

fn send(
    context: &Context,
    cluster: &ClusterKey,
    changed: &Changed,
    which: impl Fn(&Topic) -> bool,
) {
    for topic in context.all_topics() {
        let (namespace, name) = topic.cluster();
        if namespace == cluster.0 && name == cluster.1 && which(&topic) {
            // Nobody listening is nobody to tell.
            drop(changed.send(ObjectRef::from_obj(&*topic)));
        }
    }
}
