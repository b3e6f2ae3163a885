//! Manifests and pages as bytes. What is read is checked: a foreign byte is never taken for a fact.

use bytes::Bytes;
use headwater_log::{Epochs, PartitionKey};
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

use super::{Entry, Manifest, PageRef};
use crate::limits::{PAGE_ENTRIES, PAGES_MAX};
use crate::{frame, wire};

const MANIFEST: [u8; 4] = *b"HWTM";
const PAGE: [u8; 4] = *b"HWTP";

impl Manifest {
    /// The object.
    pub fn encode(&self) -> Bytes {
        let message = wire::Manifest {
            cluster: self.cluster.into(),
            topic: self.key.topic.into(),
            partition: self.key.index,
            number: self.number,
            parent: self.parent,
            leader_epoch: self.leader_epoch.0,
            start: self.start.get(),
            end: self.end.get(),
            epochs: wire_epochs(&self.epochs),
            pages: self
                .pages
                .iter()
                .map(|page| page_ref(page, self.cluster))
                .collect(),
            entries: self
                .entries
                .iter()
                .map(|e| entry(e, self.cluster))
                .collect(),
        };
        frame::encode(MANIFEST, &message)
    }

    /// Reads the object; what is wrong with it, in words, otherwise.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let message: wire::Manifest = frame::decode(MANIFEST, bytes)?;
        if message.pages.len() > PAGES_MAX || message.entries.len() > PAGE_ENTRIES {
            return Err("names more than a manifest may".to_owned());
        }
        let cluster = uuid(&message.cluster)?;
        let manifest = Manifest {
            cluster,
            key: PartitionKey {
                topic: uuid(&message.topic)?,
                index: message.partition,
            },
            number: message.number,
            parent: message.parent,
            leader_epoch: LeaderEpoch(message.leader_epoch),
            start: offset(message.start)?,
            end: offset(message.end)?,
            epochs: read_epochs(&message.epochs)?,
            pages: message
                .pages
                .iter()
                .map(|page| read_page_ref(page, cluster))
                .collect::<Result<_, _>>()?,
            entries: read_entries(&message.entries, cluster)?,
        };
        manifest.check()?;
        Ok(manifest)
    }
}

/// The object of a page, written by `cluster`.
pub(crate) fn encode_page(entries: &[Entry], cluster: Uuid) -> Bytes {
    let message = wire::Page {
        entries: entries.iter().map(|e| entry(e, cluster)).collect(),
    };
    frame::encode(PAGE, &message)
}

/// Reads a page that `page` names; what is wrong with it, in words, otherwise.
pub fn decode_page(bytes: &[u8], page: &PageRef) -> Result<Vec<Entry>, String> {
    if crc32c::crc32c(bytes) != page.crc {
        return Err("is another page than the manifest names".to_owned());
    }
    let message: wire::Page = frame::decode(PAGE, bytes)?;
    read_entries(&message.entries, page.origin)
}

fn origin(origin: Uuid, writer: Uuid) -> Vec<u8> {
    match origin == writer {
        true => Vec::new(),
        false => origin.into(),
    }
}

fn read_origin(bytes: &[u8], writer: Uuid) -> Result<Uuid, String> {
    match bytes.is_empty() {
        true => Ok(writer),
        false => uuid(bytes),
    }
}

fn entry(entry: &Entry, writer: Uuid) -> wire::Entry {
    wire::Entry {
        base_offset: entry.base_offset.get(),
        leader_epoch: entry.leader_epoch.0,
        upload: entry.upload.into(),
        origin: origin(entry.origin, writer),
        start: entry.start.get(),
        end: entry.end.get(),
        segment_bytes: entry.segment_bytes,
        footer_bytes: entry.footer_bytes,
        crc: entry.crc,
        max_timestamp_ms: entry.max_timestamp_ms,
        latest_append_ms: entry.latest_append_ms,
    }
}

fn read_entries(entries: &[wire::Entry], writer: Uuid) -> Result<Vec<Entry>, String> {
    let read = |entry: &wire::Entry| {
        Ok(Entry {
            base_offset: offset(entry.base_offset)?,
            leader_epoch: LeaderEpoch(entry.leader_epoch),
            upload: uuid(&entry.upload)?,
            origin: read_origin(&entry.origin, writer)?,
            start: offset(entry.start)?,
            end: offset(entry.end)?,
            segment_bytes: entry.segment_bytes.min(u64::from(u32::MAX)),
            footer_bytes: entry.footer_bytes,
            crc: entry.crc,
            max_timestamp_ms: entry.max_timestamp_ms,
            latest_append_ms: entry.latest_append_ms,
        })
    };
    entries.iter().map(read).collect()
}

fn page_ref(page: &PageRef, writer: Uuid) -> wire::PageRef {
    wire::PageRef {
        number: page.number,
        upload: page.upload.into(),
        origin: origin(page.origin, writer),
        start: page.start.get(),
        end: page.end.get(),
        entries: page.entries,
        segment_bytes: page.segment_bytes,
        frame_bytes: page.frame_bytes,
        crc: page.crc,
        max_timestamp_ms: page.max_timestamp_ms,
        latest_append_ms: page.latest_append_ms,
    }
}

fn read_page_ref(page: &wire::PageRef, writer: Uuid) -> Result<PageRef, String> {
    Ok(PageRef {
        number: page.number,
        upload: uuid(&page.upload)?,
        origin: read_origin(&page.origin, writer)?,
        start: offset(page.start)?,
        end: offset(page.end)?,
        entries: page.entries,
        segment_bytes: page.segment_bytes,
        frame_bytes: page.frame_bytes,
        crc: page.crc,
        max_timestamp_ms: page.max_timestamp_ms,
        latest_append_ms: page.latest_append_ms,
    })
}

pub(crate) fn wire_epochs(epochs: &Epochs) -> Vec<wire::Epoch> {
    let epoch = |&(epoch, start): &(LeaderEpoch, Offset)| wire::Epoch {
        epoch: epoch.0,
        start: start.get(),
    };
    epochs.entries().iter().map(epoch).collect()
}

pub(crate) fn read_epochs(epochs: &[wire::Epoch]) -> Result<Epochs, String> {
    let pair = |epoch: &wire::Epoch| Ok((LeaderEpoch(epoch.epoch), offset(epoch.start)?));
    let pairs = epochs
        .iter()
        .map(pair)
        .collect::<Result<Vec<_>, String>>()?;
    Epochs::checked(&pairs).ok_or_else(|| "has epochs that do not grow".to_owned())
}

pub(crate) fn uuid(bytes: &[u8]) -> Result<Uuid, String> {
    Uuid::from_slice(bytes).map_err(|_| "has an id that is none".to_owned())
}

pub(crate) fn offset(number: u64) -> Result<Offset, String> {
    let offset = i64::try_from(number).ok().and_then(Offset::from_i64);
    offset.ok_or_else(|| format!("has the offset {number}, which is none"))
}
