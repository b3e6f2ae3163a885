//! The thread that owns the metadata's backend: commands in, one order, deltas carried out.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use headwater_core::ids::TopicId;
use headwater_core::metadata::{Applied, Command, Image, LocalBackend, MetadataError};
use tokio::sync::watch;

use super::{Applier, Proposal};
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
            match mailbox.recv_timeout(wait) {
                Ok(Proposal::Command { command, reply }) => {
                    trash |= matches!(*command, Command::DeleteTopic(_));
                    drop(reply.send(self.propose(*command)));
                }
                Ok(Proposal::Stop { done }) => {
                    let _ = done.send(());
                    return;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => trash = self.empty_trash(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn propose(&mut self, command: Command) -> Result<Applied, MetadataError> {
        let result = self.backend.propose(&command);
        match &result {
            Ok(applied) => {
                let image = Arc::new(self.backend.image().clone());
                self.applier.apply(&image, applied);
                self.image.store(image);
                self.revision
                    .send_replace(self.backend.image().revision().0);
            }
            Err(MetadataError::Refused(_)) => {}
            Err(error) => self.storage.fail_with(&error.to_string()),
        }
        result
    }

    /// Returns whether more is to be done.
    fn empty_trash(&mut self) -> bool {
        let Some(step) = self.applier.empty_trash() else {
            return false;
        };
        if let Some(topic) = step.finished {
            let (id, broker) = (TopicId(topic), self.applier.own);
            let confirmed = self.propose(Command::ConfirmTopicDeleted { id, broker });
            if let Err(error) = confirmed {
                tracing::warn!(%topic, %error, "the deletion of a topic could not be confirmed");
            }
        }
        step.more
    }
}
