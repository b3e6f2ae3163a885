//! Which cluster the data directory belongs to, and which broker of it this is.

use anyhow::bail;
use headwater_core::ids::{BrokerId, ClusterId, IncarnationId};
use headwater_core::metadata::{
    Applied, Command, FEATURE_LEVEL, FormCluster, Identity, LocalBackend, RegisterBroker,
};

use crate::clock::wall_ms;
use crate::config::Settings;
use crate::facade::{Finding, Findings, Severity};

/// Brings identity and metadata to the same cluster. Both steps are durable and may be repeated: a
/// crash between them is finished by the next start.
pub(super) fn join(
    settings: &Settings,
    identity: &Identity,
    backend: &mut LocalBackend,
    cluster: ClusterId,
) -> anyhow::Result<()> {
    if identity.broker().is_some() && backend.report().created {
        bail!(
            "the metadata of the data directory {} is gone; restore the directory metadata",
            settings.data_dir.display()
        );
    }
    if backend.image().cluster().is_none() {
        let first_storage = identity.storage();
        backend.propose(&Command::FormCluster(FormCluster {
            cluster,
            first_storage,
        }))?;
    }
    match backend.image().cluster() {
        Some(formed) if formed.id == cluster => Ok(()),
        other => bail!(
            "the identity file says cluster {cluster}, the metadata {}: the data directory was put \
             together from two; restore the one that belongs here",
            other.map_or_else(String::new, |other| other.id.to_string())
        ),
    }
}

/// Registers this start: no leadership survives its process, so every partition gets a new epoch.
pub(super) fn register(
    settings: &Settings,
    identity: &mut Identity,
    backend: &mut LocalBackend,
    incarnation: IncarnationId,
    findings: &Findings,
) -> anyhow::Result<BrokerId> {
    identity.begin_incarnation(incarnation, wall_ms())?;
    let command = Command::RegisterBroker(RegisterBroker {
        storage: identity.storage(),
        incarnations: identity.incarnations().to_vec(),
        node_name: settings.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level_max: FEATURE_LEVEL,
    });
    match backend.propose(&command)? {
        Applied::BrokerRegistered {
            broker,
            rolled_back,
            ..
        } => {
            if rolled_back {
                findings.add(Finding {
                    severity: Severity::Critical,
                    reason: "STORAGE_ROLLED_BACK",
                    subject: settings.data_dir.display().to_string(),
                    message: "the data directory is an old copy of itself; what was acknowledged \
                              after the copy was made is missing"
                        .to_owned(),
                    remedy: "restore the newest copy; never run two copies of one directory"
                        .to_owned(),
                });
            }
            identity.registered(incarnation)?;
            Ok(broker)
        }
        other => unreachable!("a registration was asked for, got {other:?}"),
    }
}
