//! `headwater k8s unstick`: takes our finalizers off what waits for an operator that is gone.

use headwater_crds::{CLUSTER_FINALIZER, Cluster, TOPIC_FINALIZER, Topic};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{NamespaceResourceScope, ObjectMeta, PartialObjectMeta};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::AllArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::kubernetes::lease::{Operator, operators};
use crate::kubernetes::{Kubernetes, Refusal};
use crate::output::line;
use crate::session::Session;
use crate::units::{show_age, show_many};

/// Changes of others that one finalizer is tried against.
const ATTEMPTS: usize = 5;

/// Let go of what waits for an operator that is gone
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A Topic or Cluster with deletion policy Delete waits, when it is deleted, for the operator to delete
its data. If the operator was removed before, it waits for good, and its namespace with it. This
takes Headwater's own finalizer off; the resource goes away and THE DATA STAYS: records in the
cluster, volume claims in the namespace. Other finalizers are left alone.")]
pub(super) struct Args {
    #[command(flatten)]
    all_namespaces: AllArgs,
    /// Also from those that are not being deleted, before the operator is removed for good
    #[arg(long)]
    all: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A resource that carries our finalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stuck {
    kind: Kind,
    namespace: String,
    name: String,
    /// `None` if it is not being deleted.
    deleted_at: Option<Timestamp>,
    /// Finalizers of others.
    others: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Topic,
    Cluster,
}

impl Kind {
    fn finalizer(self) -> &'static str {
        match self {
            Kind::Topic => TOPIC_FINALIZER,
            Kind::Cluster => CLUSTER_FINALIZER,
        }
    }
}

/// Runs it.
pub(super) async fn run(args: Args, kubernetes: &Kubernetes, session: &Session) -> Outcome {
    let namespace = args.all_namespaces.namespace(kubernetes, session)?;
    let mut stuck = Vec::new();
    // Topics first: their Cluster may wait for nothing else.
    stuck.extend(find::<Topic>(kubernetes, namespace.as_deref(), Kind::Topic, args.all).await?);
    stuck.extend(find::<Cluster>(kubernetes, namespace.as_deref(), Kind::Cluster, args.all).await?);
    if stuck.is_empty() {
        let place = namespace.map_or("any namespace".into(), |name| format!("namespace {name}"));
        let what = match args.all {
            true => "carries a finalizer of Headwater",
            false => "is being deleted and waits for the operator",
        };
        session
            .talk
            .note(format!("no Topic and no Cluster in {place} {what}"));
        return Ok(());
    }
    let now = Timestamp::now();
    for resource in &stuck {
        line(&resource.describe(now))?;
    }
    // Who may not read Leases is not warned.
    let acting = operators(kubernetes).await.unwrap_or_default();
    for operator in acting.iter().filter(|operator| operator.acts) {
        session.talk.note(warning(operator));
    }
    if args.dry_run {
        session.talk.note("nothing was changed (--dry-run)");
        return Ok(());
    }
    let question = format!(
        "Take the finalizer off {}? The data stays.",
        show_many(stuck.len(), "resource")
    );
    session.talk.confirm(&question, args.yes)?;
    release(kubernetes, session, &stuck).await
}

fn warning(operator: &Operator) -> String {
    format!(
        "warning: an operator is at work: {}\n  it does by itself what is waited for, and puts the \
         finalizer back on what is not being deleted",
        operator.describe()
    )
}

async fn find<K>(
    kubernetes: &Kubernetes,
    namespace: Option<&str>,
    kind: Kind,
    all: bool,
) -> Outcome<Vec<Stuck>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api = kubernetes.api::<K>(namespace);
    let params = ListParams::default();
    // Metadata only: what cannot be read as this version's resource must not stay stuck for that.
    let request = api.list_metadata(&params);
    match kubernetes.ask(&format!("list {kind:?}s"), request).await {
        Ok(list) => {
            let metadata = list.items.iter().map(|object| &object.metadata);
            Ok(select(metadata, kind, all))
        }
        // Where the resource is not known, nothing of it waits.
        Err(refusal) if refusal.missing => Ok(Vec::new()),
        Err(refusal) => Err(refusal.failure),
    }
}

/// Those with our finalizer that are being deleted, or `all` with it.
fn select<'a>(
    objects: impl IntoIterator<Item = &'a ObjectMeta>,
    kind: Kind,
    all: bool,
) -> Vec<Stuck> {
    let ours = |object: &&ObjectMeta| {
        let mut finalizers = object.finalizers.iter().flatten();
        let wanted = all || object.deletion_timestamp.is_some();
        wanted && finalizers.any(|name| name == kind.finalizer())
    };
    let stuck = |object: &ObjectMeta| Stuck {
        kind,
        namespace: object.namespace.clone().unwrap_or_default(),
        name: object.name.clone().unwrap_or_default(),
        deleted_at: object.deletion_timestamp.as_ref().map(|time| time.0),
        others: without(object, kind.finalizer()),
    };
    objects.into_iter().filter(ours).map(stuck).collect()
}

/// The finalizers of an object but one.
fn without(object: &ObjectMeta, finalizer: &str) -> Vec<String> {
    let finalizers = object.finalizers.iter().flatten();
    finalizers
        .filter(|name| *name != finalizer)
        .cloned()
        .collect()
}

impl Stuck {
    fn describe(&self, now: Timestamp) -> String {
        let Stuck {
            kind,
            namespace,
            name,
            ..
        } = self;
        let state = match self.deleted_at {
            Some(at) => {
                let seconds = now.duration_since(at).unsigned_abs();
                format!("being deleted for {}", show_age(seconds))
            }
            None => "not being deleted".to_owned(),
        };
        let stays = match kind {
            Kind::Topic => "its records stay in the cluster",
            Kind::Cluster => "its volume claims stay",
        };
        let mut text = format!(
            "{kind:?} {namespace}/{name}, {state}: take {} off; {stays}",
            kind.finalizer()
        );
        if !self.others.is_empty() {
            let others = self.others.join(", ");
            text.push_str(&format!("; it goes on waiting for others: {others}"));
        }
        text
    }
}

async fn release(kubernetes: &Kubernetes, session: &Session, stuck: &[Stuck]) -> Outcome {
    let mut failures = Vec::new();
    for resource in stuck {
        let released = match resource.kind {
            Kind::Topic => release_one::<Topic>(kubernetes, resource).await,
            Kind::Cluster => release_one::<Cluster>(kubernetes, resource).await,
        };
        let Stuck {
            kind,
            namespace,
            name,
            ..
        } = resource;
        match released {
            Ok(()) => session
                .talk
                .note(format!("{kind:?} {namespace}/{name} is released")),
            Err(refusal) => failures.push(refusal.failure),
        }
    }
    let (failed, total) = (failures.len(), stuck.len());
    let Some(first) = failures.into_iter().next() else {
        return Ok(());
    };
    let failure = Failure::new(format!("{failed} of {total} could not be released"));
    let exit = match failed < total {
        true => Exit::Partial,
        false => first.exit,
    };
    let why = first.why.map(|why| format!("{}: {why}", first.what));
    let failure = failure.exit(exit).why(why.unwrap_or(first.what));
    Err(match first.fix {
        Some(fix) => failure.fix(fix),
        None => failure.fix("run the same command again"),
    })
}

/// Takes the finalizer off, whatever others change meanwhile.
async fn release_one<K>(kubernetes: &Kubernetes, stuck: &Stuck) -> Result<(), Refusal>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api = kubernetes.api::<K>(Some(&stuck.namespace));
    let doing = format!(
        "release {:?} {}/{}",
        stuck.kind, stuck.namespace, stuck.name
    );
    let mut attempt = 1;
    loop {
        let read = kubernetes.ask(&doing, api.get_metadata(&stuck.name)).await;
        let object: PartialObjectMeta<K> = match read {
            Err(refusal) if refusal.missing => return Ok(()),
            read => read?,
        };
        // With the version of what was read: a finalizer that somebody adds meanwhile must stay.
        let patch = Patch::Merge(json!({"metadata": {
            "finalizers": without(&object.metadata, stuck.kind.finalizer()),
            "resourceVersion": object.resource_version(),
        }}));
        let params = PatchParams::default();
        let patched = api.patch_metadata(&stuck.name, &params, &patch);
        match kubernetes.ask(&doing, patched).await {
            Err(refusal) if refusal.conflict && attempt < ATTEMPTS => attempt += 1,
            Err(refusal) if refusal.missing => return Ok(()),
            patched => return patched.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, deleted: bool, finalizers: &[&str]) -> ObjectMeta {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "name": name, "namespace": "shop", "finalizers": finalizers,
            "deletionTimestamp": deleted,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_being_deleted_and_carries_our_finalizer_is_stuck() {
        let objects = [
            object("stuck", true, &[TOPIC_FINALIZER]),
            object("alive", false, &[TOPIC_FINALIZER]),
            object("not-ours", true, &["other.dev/x"]),
            object("free", true, &[]),
            object("wrong-kind", true, &[CLUSTER_FINALIZER]),
        ];
        let check = |all: bool, want: &[&str]| {
            let stuck = select(&objects, Kind::Topic, all);
            let names: Vec<_> = stuck.iter().map(|stuck| stuck.name.as_str()).collect();
            assert_eq!(names, want);
        };
        check(false, &["stuck"]);
        check(true, &["stuck", "alive"]);
    }

    #[test]
    fn finalizers_of_others_stay_and_are_named() {
        let objects = [object("a", true, &["other.dev/x", CLUSTER_FINALIZER])];
        let stuck = select(&objects, Kind::Cluster, false);
        assert_eq!(
            stuck[0].describe("2026-01-01T02:00:00Z".parse().unwrap()),
            "Cluster shop/a, being deleted for 2h: take headwater.dev/cluster off; its volume \
             claims stay; it goes on waiting for others: other.dev/x"
        );
    }
}
