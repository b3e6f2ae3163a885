//! Metadata of a broker that is alone: a durable file on its own disk.

use std::sync::Arc;

use headwater_log::Disk;

use super::applied::Applied;
use super::command::Command;
use super::error::MetadataError;
use super::image::Image;
use super::refused::Refused;

/// What opening the metadata found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MetadataReport {
    /// There was no metadata: this is a new data directory.
    pub created: bool,
    /// Commands that were applied on top of the image.
    pub replayed: u64,
    /// Bytes above the mark that were no whole command and were cut: a write that was never
    /// acknowledged.
    pub cut_bytes: u64,
    /// Of these, bytes that were not zero.
    pub cut_nonzero_bytes: u64,
    /// One of the mark's two slots could not be read; the other counted.
    pub mark_slot_lost: bool,
}

/// See the module.
pub struct LocalBackend {
    disk: Arc<dyn Disk>,
    image: Image,
    report: MetadataReport,
}

impl LocalBackend {
    /// Reads the metadata, or makes a new one where there is none.
    pub fn open(disk: Arc<dyn Disk>) -> Result<LocalBackend, MetadataError> {
        todo!()
    }

    /// What opening found.
    pub fn report(&self) -> &MetadataReport {
        &self.report
    }

    /// The metadata after everything that was accepted.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Proposes one command. When this returns `Ok` it is durable.
    pub fn propose(&mut self, command: &Command) -> Result<Applied, MetadataError> {
        todo!()
    }

    /// Proposes commands in order, each judged alone, with one sync for all. When this returns
    /// `Ok`, those that were accepted are durable; if the disk fails, none was accepted.
    pub fn propose_all(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Result<Applied, Refused>>, MetadataError> {
        todo!()
    }
}
