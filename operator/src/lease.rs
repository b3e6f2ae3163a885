//! Which of several operators acts: the one that holds a Lease, as client-go has it.
//!
//! The holder renews every `RENEW_INTERVAL`; who has not seen a renewal for `DURATION`, by its
//! own clock, may take the lease. A holder that could not renew for `RENEW_DEADLINE` stops acting,
//! which is before anybody else may begin.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

/// A lease that was not renewed for this long is free.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for this long stops.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// A lease that was seized is free after this many seconds: time to release thousands of resources.
const SEIZED_SECONDS: i32 = 120;
/// After the work is done it is free after this many: time for the shut out to be removed, and little
/// for one that is installed again.
const LEFT_SECONDS: i32 = 10;
/// How often the holder renews and others look.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// Who this process is among operators: the host's name, which in Kubernetes is the pod's.
pub(crate) fn own_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => format!("operator-{}", std::process::id()),
        host => host.to_owned(),
    }
}

/// The Lease, as one candidate sees it.
pub(crate) struct Lease {
    api: Api<LeaseObject>,
    name: String,
    identity: String,
}

/// A request to the API server, with an end.
async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let slow = || kube::Error::Service(format!("no answer within {RENEW_DEADLINE:?}").into());
    let answered = tokio::time::timeout(RENEW_DEADLINE, request).await;
    answered.unwrap_or_else(|_| Err(slow()))
}

/// What a candidate last saw, and when by its own clock: clocks of others are not trusted.
struct Seen {
    holder: String,
    version: Option<String>,
    at: Instant,
}

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Somebody else holds it.
    Wait,
    /// It is free, or ours: write it, as a new holding or a renewal.
    Take { transition: bool },
}

/// Judges a Lease that has been unchanged for `unchanged`.
fn judge(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    match spec.holder_identity.as_deref() {
        Some(holder) if holder == identity => Step::Take { transition: false },
        None | Some("") => Step::Take { transition: true },
        Some(_) => {
            let seconds = spec.lease_duration_seconds.unwrap_or_default();
            let duration = Duration::from_secs(seconds.try_into().unwrap_or_default());
            if unchanged > duration {
                Step::Take { transition: true }
            } else {
                Step::Wait
            }
        }
    }
}

impl Lease {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String) -> Lease {
        Lease {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
        }
    }

    /// Done when the lease is held.
    pub(crate) async fn acquire(&self) {
        let mut waits = false;
        let mut seen = Seen {
            holder: String::new(),
            version: None,
            at: Instant::now(),
        };
        loop {
            match bounded(self.attempt(&mut seen)).await {
                Ok(true) => return,
                Ok(false) if waits => {}
                Ok(false) => {
                    waits = true;
                    let (lease, holder) = (&self.name, &seen.holder);
                    tracing::info!(
                        lease,
                        holder,
                        "waits for the lease, which another one holds"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, lease = self.name, "the lease cannot be taken")
                }
            }
            tokio::time::sleep(RENEW_INTERVAL).await;
        }
    }

    /// Renews; done when that has failed for too long or somebody else has the lease.
    pub(crate) async fn keep(&self) {
        let mut renewed = Instant::now();
        let mut seen = Seen {
            holder: String::new(),
            version: None,
            at: renewed,
        };
        while renewed.elapsed() < RENEW_DEADLINE {
            tokio::time::sleep(RENEW_INTERVAL).await;
            // From before the request: that is when others begin to count at the latest.
            let asked = Instant::now();
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("the lease was not renewed in time"),
            }
        }
    }

    /// Gives the lease back, so that the next operator need not wait.
    pub(crate) async fn release(&self) {
        let Ok(mut lease) = bounded(self.api.get(&self.name)).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            let parameters = PostParams::default();
            if let Err(error) = bounded(self.api.replace(&self.name, &parameters, &lease)).await {
                tracing::warn!(%error, "the lease could not be given back; it ends by itself");
            }
        }
    }

    /// Takes the lease from whoever holds it, and waits until that one has noticed and stopped. It is
    /// not renewed, so that operators act again after a while if this was in vain.
    pub(crate) async fn seize(&self) -> kube::Result<()> {
        if self.write(SEIZED_SECONDS).await? {
            // One that cannot renew just now stops by its deadline.
            tokio::time::sleep(RENEW_DEADLINE + RENEW_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends a seizure soon: not at once, for the operator that was shut out still waits to be removed.
    pub(crate) async fn leave(&self) -> kube::Result<()> {
        self.write(LEFT_SECONDS).await.map(drop)
    }

    /// Holds an existing lease for so many seconds, whoever held it. Whether there is one.
    async fn write(&self, seconds: i32) -> kube::Result<bool> {
        let Some(mut lease) = bounded(self.api.get_opt(&self.name)).await? else {
            return Ok(false);
        };
        lease.spec = Some(LeaseSpec {
            lease_duration_seconds: Some(seconds),
            ..self.spec(lease.spec.take().unwrap_or_default(), true)
        });
        let parameters = PostParams::default();
        bounded(self.api.replace(&self.name, &parameters, &lease)).await?;
        Ok(true)
    }

    /// Takes or renews the lease if that may be. Whether it is held now.
    async fn attempt(&self, seen: &mut Seen) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = LeaseObject {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    // By which people and the CLI find it: see `headwater_crds::LEASE_SELECTOR`.
                    labels: Some(BTreeMap::from([(
                        "app.kubernetes.io/managed-by".to_owned(),
                        headwater_crds::FIELD_MANAGER.to_owned(),
                    )])),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(LeaseSpec::default(), true)),
            };
            self.api.create(&PostParams::default(), &lease).await?;
            return Ok(true);
        };
        if lease.metadata.resource_version != seen.version {
            seen.version.clone_from(&lease.metadata.resource_version);
            seen.at = Instant::now();
        }
        let spec = lease.spec.take().unwrap_or_default();
        seen.holder = spec.holder_identity.clone().unwrap_or_default();
        let Step::Take { transition } = judge(&spec, &self.identity, seen.at.elapsed()) else {
            return Ok(false);
        };
        lease.spec = Some(self.spec(spec, transition));
        // With the resource version of what was judged: of two that try, one is refused.
        self.api
            .replace(&self.name, &PostParams::default(), &lease)
            .await?;
        Ok(true)
    }

    fn spec(&self, old: LeaseSpec, transition: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            renew_time: Some(now.clone()),
            acquire_time: if transition {
                Some(now)
            } else {
                old.acquire_time
            },
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(transition)),
            ..old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_was_not_renewed_and_kept_by_its_holder() {
        let take = |transition| Step::Take { transition };
        let (short, long) = (Duration::from_secs(14), Duration::from_secs(16));
        assert_eq!(judge(&held_by("me"), "me", long), take(false));
        assert_eq!(judge(&held_by("other"), "me", short), Step::Wait);
        assert_eq!(judge(&held_by("other"), "me", long), take(true));
        assert_eq!(judge(&held_by(""), "me", short), take(true));
        assert_eq!(judge(&LeaseSpec::default(), "me", short), take(true));
    }

    #[test]
    fn a_holder_stops_before_anybody_else_may_begin() {
        assert!(RENEW_DEADLINE + RENEW_INTERVAL < DURATION);
    }
}
