//! The cluster's metadata in this process: one thread owns the backend and decides the order of
//! commands; everybody else reads images and proposes.

mod apply;
mod driver;

use std::ops::Range;
use std::sync::{Arc, mpsc};

pub use apply::Applier;
use arc_swap::ArcSwap;
use headwater_core::ids::ProducerId;
use headwater_core::limits::PRODUCER_ID_BLOCK;
use headwater_core::metadata::{Applied, Command, Image, LocalBackend};
use headwater_core::names::ProducerName;
use tokio::sync::{Mutex, oneshot, watch};

use crate::error::BrokerError;
use crate::storage::Storage;

/// Reads and changes the metadata. Cheap to clone.
#[derive(Clone)]
pub struct MetadataHandle {
    image: Arc<ArcSwap<Image>>,
    revision: watch::Receiver<u64>,
    proposals: mpsc::Sender<Proposal>,
    /// Ids of this broker's block that are not handed out yet.
    producer_ids: Arc<Mutex<Range<i64>>>,
}

/// The way back of a command's outcome.
type Reply = oneshot::Sender<Result<Applied, BrokerError>>;

/// What the thread is told.
enum Proposal {
    Command { command: Box<Command>, reply: Reply },
    Stop { done: oneshot::Sender<()> },
}

impl MetadataHandle {
    /// Starts the thread that owns the backend.
    pub fn start(
        backend: LocalBackend,
        applier: Applier,
        storage: Arc<Storage>,
    ) -> std::io::Result<MetadataHandle> {
        let image = Arc::new(ArcSwap::from_pointee(backend.image().clone()));
        let (sender, revision) = watch::channel(backend.image().revision().0);
        let (proposals, mailbox) = mpsc::channel();
        let driver = driver::Driver {
            backend,
            applier,
            storage,
            image: image.clone(),
            revision: sender,
        };
        std::thread::Builder::new()
            .name("metadata".to_owned())
            .spawn(move || driver.run(&mailbox))?;
        Ok(MetadataHandle {
            image,
            revision,
            proposals,
            producer_ids: Arc::default(),
        })
    }

    /// The metadata as of now.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Tells of every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Proposes a command. It is durable and carried out when this returns.
    pub async fn propose(&self, command: Command) -> Result<Applied, BrokerError> {
        let (reply, answer) = oneshot::channel();
        drop(self.proposals.send(Proposal::Command {
            command: Box::new(command),
            reply,
        }));
        answer.await.unwrap_or(Err(BrokerError::Draining))
    }

    /// An id that nobody else will ever have.
    pub async fn allocate_producer_id(&self) -> Result<ProducerId, BrokerError> {
        let mut ids = self.producer_ids.lock().await;
        if ids.is_empty() {
            let command = Command::AllocateProducerIds {
                count: PRODUCER_ID_BLOCK,
            };
            match self.propose(command).await? {
                Applied::ProducerIds(block) => *ids = block.start.0..block.end.0,
                other => unreachable!("ids were asked for, got {other:?}"),
            }
        }
        Ok(ProducerId(ids.next().expect("a block is never empty")))
    }

    /// The next epoch of a named producer.
    pub async fn init_named_producer(
        &self,
        name: ProducerName,
    ) -> Result<(ProducerId, i16), BrokerError> {
        match self.propose(Command::InitNamedProducer { name }).await? {
            Applied::NamedProducer { id, epoch } => Ok((id, epoch)),
            other => unreachable!("a named producer was asked for, got {other:?}"),
        }
    }

    /// Ends the thread; what was proposed before is done.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        drop(self.proposals.send(Proposal::Stop { done }));
        drop(stopped.await);
    }
}
