//! What keeps the old cluster from deleting what the new one names: a fence if its objects are taken over, else a hold.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use headwater_tier::limits::ADOPT_WAIT_MS;
use headwater_tier::{Depth, TierError};
use tokio::time::Instant;
use uuid::Uuid;

use super::directory::{self, Directory};
use super::{Looked, Progress, Restore, Step, release};

/// Whoever has adopted a cluster may have been adopted in turn; so many times at most.
const ADOPTIONS_FOLLOWED_MAX: usize = 64;

/// How long a store may take to list a hold that was put.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks whether it does.
const LISTED_PAUSE: Duration = Duration::from_millis(500);

/// A bucket that was looked through while nobody deletes what was found.
pub(super) struct Kept {
    /// The new broker's directory, marked as unfinished.
    pub(super) directory: Directory,
    /// What was found.
    pub(super) looked: Looked,
    /// Clusters that delete nothing while the new one's hold is there.
    pub(super) holds: Vec<Uuid>,
}

impl Restore {
    /// Puts the fence, waits until the old cluster has certainly seen it or stopped, and looks.
    pub(super) async fn take_over(&self, depth: Depth) -> anyhow::Result<Kept> {
        let looked = self.look(None).await?;
        self.check_may_adopt(&looked).await?;
        let directory = directory::begin(&self.options.data_dir, &self.unfinished())?;
        self.stop(Step::Fence)?;
        let cluster = self.old.cluster();
        match self.new.put_fence(cluster).await {
            Err(TierError::Fenced { by }) => {
                bail!("cluster {cluster} was adopted by cluster {by}: restore that one")
            }
            put => {
                put.with_context(|| format!("putting the fence in front of cluster {cluster}"))?
            }
        }
        // Who holds looks for a fence behind that: one of us has seen the other.
        self.check_unheld().await?;
        let holds = self.hold_all(&looked).await?;
        self.wait_behind_fence().await;
        let looked = self.look(Some(depth)).await?;
        Ok(Kept {
            directory,
            looked,
            holds: holds.into_iter().collect(),
        })
    }

    /// Puts a hold in front of the old cluster's objects, and looks.
    pub(super) async fn keep_beside(&self, depth: Depth) -> anyhow::Result<Kept> {
        let directory = directory::begin(&self.options.data_dir, &self.unfinished())?;
        self.stop(Step::Hold)?;
        let cluster = self.old.cluster();
        self.hold(cluster).await?;
        if let Some(by) = self.old.fenced_by(cluster).await? {
            self.new
                .release_hold(cluster, self.new.cluster())
                .await
                .with_context(|| format!("taking the hold on cluster {cluster} away"))?;
            bail!("cluster {cluster} was adopted by cluster {by}: restore that one");
        }
        let mut holds = BTreeSet::from([cluster]);
        loop {
            let looked = self.look(Some(depth)).await?;
            // Objects of yet another cluster, that the old one was restored from, were not held while they were looked at.
            let before = holds.len();
            holds.extend(self.hold_all(&looked).await?);
            if holds.len() == before {
                return Ok(Kept {
                    directory,
                    looked,
                    holds: holds.into_iter().collect(),
                });
            }
        }
    }

    /// Whether the old cluster's objects can be the new one's.
    pub(super) async fn check_may_adopt(&self, looked: &Looked) -> anyhow::Result<()> {
        if let Some(object) = looked.unsound() {
            bail!(
                "cluster {} cannot be adopted: {object} is missing or damaged, and what it named would be taken for \
                 garbage; bring it back from the bucket's versions, or restore without --adopt, which deletes none of \
                 that cluster's objects",
                self.old.cluster()
            );
        }
        self.check_unheld().await
    }

    /// Whoever takes the old cluster's objects over deletes them, and others name them.
    async fn check_unheld(&self) -> anyhow::Result<()> {
        let (old, own) = (self.old.cluster(), self.new.cluster().to_string());
        let holds = self.old.holds(old).await;
        let holds = holds.with_context(|| format!("looking for holds on cluster {old}"))?;
        let others: Vec<String> = holds
            .into_iter()
            .map(|hold| hold.holder)
            .filter(|holder| *holder != own)
            .collect();
        ensure!(
            others.is_empty(),
            "cluster {old} cannot be adopted: it is held by {}, which was restored from it and would lose records; if \
             that cluster is not needed any more: {}; or restore without --adopt",
            others.join(", "),
            release::command(
                &self.options,
                old,
                others.first().map_or("", String::as_str)
            )
        );
        Ok(())
    }

    /// Holds the objects that were found of everybody who may delete them; whom.
    async fn hold_all(&self, looked: &Looked) -> anyhow::Result<BTreeSet<Uuid>> {
        let mut held = BTreeSet::new();
        for origin in looked.origins() {
            if let Some(cluster) = self.who_deletes(origin).await?
                && cluster != self.new.cluster()
                && held.insert(cluster)
            {
                self.hold(cluster).await?;
            }
        }
        Ok(held)
    }

    /// Who deletes objects of a cluster: it, or whoever has adopted it. Behind a fence that cannot be read nobody is known
    /// to.
    async fn who_deletes(&self, origin: Uuid) -> anyhow::Result<Option<Uuid>> {
        let mut cluster = origin;
        for _ in 0..ADOPTIONS_FOLLOWED_MAX {
            let fenced_by = self.old.fenced_by(cluster).await;
            match fenced_by.with_context(|| format!("looking for a fence of cluster {cluster}"))? {
                None => return Ok(Some(cluster)),
                Some(by) => match by.parse() {
                    Ok(by) => cluster = by,
                    Err(_) => return Ok(None),
                },
            }
        }
        bail!("cluster {origin} was adopted, and its adopter too, and so on without an end")
    }

    /// Puts a hold, and waits until a listing shows it: the old cluster looks for it by one.
    async fn hold(&self, cluster: Uuid) -> anyhow::Result<()> {
        let doing = || format!("putting a hold on the objects of cluster {cluster}");
        self.new.put_hold(cluster).await.with_context(doing)?;
        let end = Instant::now() + LISTED_WITHIN;
        while !self.new.is_hold_listed(cluster).await.with_context(doing)? {
            ensure!(
                Instant::now() < end,
                "the store does not list the hold on cluster {cluster}, {} s after it was put: that cluster would not \
                 see it either; run the same command again later",
                LISTED_WITHIN.as_secs()
            );
            tokio::time::sleep(LISTED_PAUSE).await;
        }
        Ok(())
    }

    async fn wait_behind_fence(&self) {
        let wait = Duration::from_millis(ADOPT_WAIT_MS);
        let wait = self.options.testing.adopt_wait.unwrap_or(wait);
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            (self.options.progress)(Progress::WaitingBehindFence { left });
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}
