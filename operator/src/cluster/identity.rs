//! Which cluster this is: chosen once, kept in a Secret that nothing owns, and judged by what the
//! disk says. Pure.
//!
//! | Secret      | disk            | what follows                                         |
//! |-------------|-----------------|------------------------------------------------------|
//! | no cluster  | empty           | choose a UUID, store it, and only then form          |
//! | not formed  | empty           | form the cluster that is stored                      |
//! | not formed  | some cluster's  | it is that cluster: store its UUID, it is formed     |
//! | formed      | the same one's  | nothing to do                                        |
//! | formed      | empty           | the disk was lost: a person decides                  |
//! | formed      | another one's   | the disk or the Secret is the wrong one              |
//! | any         | data, no cluster| nothing that we know how to treat: a person decides  |

use headwater_crds::{Reason, Verdict, internal_secret_name};
use headwater_proto::internal::v1::{BrokerState, GetBrokerResponse};

use super::dereference::InternalSecret;

/// What to do about a cluster's identity.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// The disk belongs to the cluster of the Secret.
    Agreed,
    /// Store a UUID of our own making, then look again.
    Choose,
    /// Form the cluster of the Secret on the disk that was looked at.
    Form {
        /// UUID of the cluster.
        cluster_id: String,
        /// UUID of the data directory.
        storage_id: String,
    },
    /// Store that the cluster of the disk is the one, formed.
    Remember {
        /// UUID of the cluster.
        cluster_id: String,
    },
    /// Nothing that an operator may decide.
    Stop(Verdict),
}

/// Compares what the Secret and the disk say.
pub(super) fn plan(
    cluster: &str,
    claim: &str,
    secret: &InternalSecret,
    broker: &GetBrokerResponse,
) -> Step {
    let secret_name = internal_secret_name(cluster);
    let stop = |reason, message| Step::Stop(Verdict::Stalled { reason, message });
    let on_disk = Some(&broker.cluster_id).filter(|id| !id.is_empty());
    match (&secret.cluster_id, secret.formed, on_disk) {
        (Some(known), true, Some(found)) if known == found => Step::Agreed,
        (Some(known), true, Some(found)) => stop(
            Reason::ClusterIdMismatch,
            format!(
                "the volume of claim {claim} belongs to cluster {found}, but the Secret \
                 {secret_name} says {known}; give the claim its own volume back, or, if this volume \
                 is the right one, delete the Secret: the operator then takes what the volume says"
            ),
        ),
        (known, true, None) => stop(
            Reason::StorageLost,
            format!(
                "cluster {} was formed, and the volume of claim {claim} is empty now: its data \
                 is not there. Give the claim its volume back, or delete the Secret {secret_name} to \
                 begin anew with an empty cluster",
                known.as_deref().unwrap_or("of this name")
            ),
        ),
        (_, false, Some(found)) => Step::Remember {
            cluster_id: found.clone(),
        },
        (_, false, None) if broker.state() != BrokerState::Unformed || !broker.disk_empty => stop(
            Reason::StorageLost,
            format!(
                "the volume of claim {claim} belongs to no cluster and is not empty; look at what is \
                 in it, and give the claim an empty volume or the right one"
            ),
        ),
        (Some(known), false, None) => Step::Form {
            cluster_id: known.clone(),
            storage_id: broker.storage_id.clone(),
        },
        (None, false, None) => Step::Choose,
        (None, true, Some(found)) => Step::Remember {
            cluster_id: found.clone(),
        },
    }
}
