//! The thread that owns the metadata's backend: commands in, one order, deltas carried out.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use headwater_core::ids::TopicId;
use headwater_core::metadata::{Command, Image, LocalBackend, MetadataError};
use tokio::sync::{oneshot, watch};

use super::{Applier, Proposal, Reply};
use crate::error::BrokerError;
use crate::limits::METADATA_COMMANDS_PER_GROUP_MAX;
use crate::storage::Storage;

pub(super) struct Driver {
    pub(super) backend: LocalBackend,
    pub(super) applier: Applier,
    pub(super) storage: Arc<Storage>,
    pub(super) image: Arc<ArcSwap<Image>>,
    pub(super) revision: watch::Sender<u64>,
}

impl Driver {
    pub(super) fn run(mut self, mailbox: &mpsc::Receiver<Proposal>) {
        let mut trash = true;
        loop {
            let wait = if trash { Duration::ZERO } else { Duration::MAX };
            let first = match mailbox.recv_timeout(wait) {
                Ok(first) => first,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    trash = self.empty_trash();
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            // Whatever waits is one group: it shares the syncs.
            let mut commands = Vec::new();
            let mut stop = None;
            let rest = mailbox.try_iter().take(METADATA_COMMANDS_PER_GROUP_MAX - 1);
            for proposal in std::iter::once(first).chain(rest) {
                match proposal {
                    Proposal::Command { command, reply } => commands.push((*command, reply)),
                    Proposal::Stop { done } => stop = Some(done),
                }
            }
            trash |= commands
                .iter()
                .any(|(command, _)| matches!(command, Command::DeleteTopic(_)));
            self.propose(commands);
            if let Some(done) = stop {
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    fn propose(&mut self, group: Vec<(Command, Reply)>) {
        let (commands, replies): (Vec<Command>, Vec<Reply>) = group.into_iter().unzip();
        let mut proposed = self.backend.propose_all(&commands);
        if proposed.as_ref().is_err_and(MetadataError::is_full)
            && self.storage.release_reserve().is_ok()
        {
            // What frees a full disk begins here: a head that lets local copies go, a deletion.
            proposed = self.backend.propose_all(&commands);
        }
        match proposed {
            Ok(results) => {
                let image = Arc::new(self.backend.image().clone());
                for applied in results.iter().flatten() {
                    self.applier.apply(&image, applied);
                }
                let revision = image.revision().0;
                self.image.store(image.clone());
                for applied in results.iter().flatten() {
                    self.applier.shown(&image, applied);
                }
                self.revision.send_replace(revision);
                for (reply, result) in replies.into_iter().zip(results) {
                    drop(reply.send(result.map_err(BrokerError::from)));
                }
            }
            Err(error) => {
                if error.is_full() {
                    self.storage.met_full();
                } else {
                    self.storage.fail_with(&error.to_string());
                }
                for reply in replies {
                    let error = if error.is_full() {
                        BrokerError::StorageFull
                    } else {
                        BrokerError::StorageFailed(error.to_string())
                    };
                    drop(reply.send(Err(error)));
                }
            }
        }
    }

    /// Returns whether more is to be done.
    fn empty_trash(&mut self) -> bool {
        let Some(step) = self.applier.empty_trash() else {
            return false;
        };
        if let Some(topic) = step.finished {
            let (id, broker) = (TopicId(topic), self.applier.own);
            let (reply, mut answer) = oneshot::channel();
            self.propose(vec![(Command::ConfirmTopicDeleted { id, broker }, reply)]);
            if let Ok(Err(error)) = answer.try_recv() {
                tracing::warn!(%topic, %error, "the deletion of a topic could not be confirmed");
            }
        }
        step.more
    }
}
