//! What a status says: the conditions that kstatus, `kubectl wait`, Flux and Argo CD understand,
//! and every reason that can stand in them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use strum::{EnumIter, IntoStaticStr};

/// Everything that the resource asks for is so.
pub const READY: &str = "Ready";
/// The operator is at work on it, or waits for something that comes by itself.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will change until a person changes something; the message says what.
pub const STALLED: &str = "Stalled";

/// Why a condition has its value. One word for one cause; `docs/operations/troubleshooting.md` has
/// a section for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
pub enum Reason {
    /// All is as the resource asks.
    Ready,
    /// `spec.paused` is set.
    Paused,
    /// The resource is being deleted.
    Deleting,

    /// Children were written; their controllers are at work.
    Applying,
    /// The broker's pod does not run yet.
    BrokerNotReady,
    /// The broker's pod ends again and again, or cannot start.
    BrokerFailing,
    /// The pod cannot be placed on a node, or its volume cannot be bound.
    Unschedulable,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// The cluster is being formed.
    Forming,
    /// The broker is being restarted for a change.
    Restarting,
    /// The eviction that a restart needs is refused by a disruption budget.
    EvictionRefused,
    /// A broker would refuse this configuration.
    InvalidConfiguration,
    /// The resource asks for something that cannot be.
    InvalidSpec,
    /// The Secret with the tier's credentials is not there, or lacks a key.
    TierCredentialsMissing,
    /// The disk belongs to another cluster than the Secret says.
    ClusterIdMismatch,
    /// The cluster was formed, and its disk is empty now.
    StorageLost,
    /// The claim cannot be made as large as asked.
    ClaimNotResizable,
    /// The claim is being made larger.
    ResizingClaim,
    /// An object of the name exists and belongs to somebody else.
    NameTaken,

    /// The Cluster that the Topic names does not exist.
    ClusterNotFound,
    /// No operator looks after Clusters of the namespace that the Topic names.
    ClusterNotOperated,
    /// The Cluster exists and cannot be asked yet.
    ClusterNotReady,
    /// The Cluster does not take topics from this namespace.
    NamespaceNotAllowed,
    /// Another, older Topic resource declares the same topic.
    Conflict,
    /// The topic has more partitions than asked for, and partitions never go away.
    PartitionsCannotShrink,
    /// The cluster refused the topic.
    Refused,
    /// Some partitions have no leader or lack in-sync replicas.
    PartitionsNotInSync,

    /// The operator met an error that may pass; it tries again.
    Error,
}

impl Reason {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How it stands with a resource. Becomes three conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as asked.
    Ready {
        /// What there is, in a sentence.
        message: String,
    },
    /// It is not yet as asked, and will be without a person's help.
    Reconciling {
        /// Why it is not.
        reason: Reason,
        /// What is being done or waited for.
        message: String,
    },
    /// It will not be as asked until somebody changes something.
    Stalled {
        /// Why.
        reason: Reason,
        /// What is wrong and what to change.
        message: String,
    },
}

impl Verdict {
    /// Something that was not foreseen and may pass.
    pub fn error(error: &impl std::fmt::Display) -> Verdict {
        Verdict::Reconciling {
            reason: Reason::Error,
            message: format!("will try again: {error}"),
        }
    }

    /// The reason that stands in `Ready`.
    pub fn reason(&self) -> Reason {
        match self {
            Verdict::Ready { .. } => Reason::Ready,
            Verdict::Reconciling { reason, .. } | Verdict::Stalled { reason, .. } => *reason,
        }
    }

    /// The message that stands in `Ready`.
    pub fn message(&self) -> &str {
        match self {
            Verdict::Ready { message }
            | Verdict::Reconciling { message, .. }
            | Verdict::Stalled { message, .. } => message,
        }
    }
}

/// Sets the three conditions. A condition whose status stays keeps its transition time, so that a
/// status that says nothing new is equal to the old one and need not be written.
pub fn set_conditions(
    conditions: &mut Vec<Condition>,
    verdict: &Verdict,
    generation: Option<i64>,
    now: &Time,
) {
    let is = |value: bool| if value { "True" } else { "False" };
    let (reason, message) = (verdict.reason(), verdict.message());
    let ready = matches!(verdict, Verdict::Ready { .. });
    let reconciling = matches!(verdict, Verdict::Reconciling { .. });
    let stalled = matches!(verdict, Verdict::Stalled { .. });
    for (kind, value) in [
        (READY, ready),
        (RECONCILING, reconciling),
        (STALLED, stalled),
    ] {
        let old = conditions.iter().position(|old| old.type_ == kind);
        let unchanged = old
            .map(|index| &conditions[index])
            .filter(|old| old.status == is(value));
        let new = Condition {
            type_: kind.to_owned(),
            status: is(value).to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            observed_generation: generation,
            last_transition_time: unchanged
                .map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        };
        match old {
            Some(index) => conditions[index] = new,
            None => conditions.push(new),
        }
    }
}

/// The condition of a type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The reason that stands in `Ready`.
pub fn ready_reason(conditions: &[Condition]) -> Option<&str> {
    condition(conditions, READY).map(|ready| ready.reason.as_str())
}

/// Whether `Ready` is true for this generation of the resource.
pub fn is_ready(conditions: &[Condition], generation: Option<i64>) -> bool {
    condition(conditions, READY)
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation == generation)
}
