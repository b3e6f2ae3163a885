//! Taking a hold away: the old cluster may delete again what only the new one names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use headwater_tier::Tier;
use uuid::Uuid;

use super::{CACHE, RestoreOptions, open, quoted};

/// Which hold to take away.
pub struct ReleaseOptions {
    /// Where the old cluster's objects are: its `tier.url`.
    pub from: String,
    /// Directory with the credentials, as the setting `tier.credentials_dir`.
    pub credentials_dir: Option<PathBuf>,
    /// The cluster whose objects are held.
    pub cluster: Uuid,
    /// The cluster that was restored from them.
    pub holder: Uuid,
}

/// Takes a hold away. Must run within a Tokio runtime.
///
/// # Errors
/// When the store does not do as asked, or there is no such hold: the message says which there are.
pub async fn release(options: ReleaseOptions) -> anyhow::Result<()> {
    let ReleaseOptions {
        from,
        credentials_dir,
        cluster,
        holder,
    } = options;
    let store = open(&from, credentials_dir.as_deref(), Path::new(""))?;
    let tier = Tier::new(store, cluster, CACHE);
    let released = tier.release_hold(cluster, holder).await;
    let released = released.with_context(|| format!("taking the hold of cluster {holder} away"))?;
    if released {
        return Ok(());
    }
    let holds = tier.holds(cluster).await;
    let holds = holds.with_context(|| format!("listing the holds on cluster {cluster}"))?;
    let holders: Vec<&str> = holds.iter().map(|hold| hold.holder.as_str()).collect();
    match holders.is_empty() {
        true => bail!("nobody holds the objects of cluster {cluster}"),
        false => bail!(
            "cluster {holder} does not hold the objects of cluster {cluster}; who does: {}",
            holders.join(", ")
        ),
    }
}

/// The command that takes a hold away.
pub(super) fn command(options: &RestoreOptions, cluster: Uuid, holder: &str) -> String {
    let mut command = format!("headwater tier release --from {}", quoted(&options.from));
    if let Some(dir) = &options.credentials_dir {
        let dir = dir.display().to_string();
        command.push_str(&format!(" --credentials-dir {}", quoted(&dir)));
    }
    command.push_str(&format!(" --cluster {cluster} --holder {holder}"));
    command
}
