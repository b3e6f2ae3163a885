//! The persisted messages of the tier. Fields are added, never renumbered; `docs/format/tier.md` says what they mean.

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Manifest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) topic: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) partition: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) number: u64,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) parent: Option<u64>,
    #[prost(uint32, tag = "6")]
    pub(crate) leader_epoch: u32,
    #[prost(uint64, tag = "7")]
    pub(crate) start: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) end: u64,
    #[prost(message, repeated, tag = "9")]
    pub(crate) epochs: Vec<Epoch>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) pages: Vec<PageRef>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Epoch {
    #[prost(uint32, tag = "1")]
    pub(crate) epoch: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) start: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PageRef {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) upload: Vec<u8>,
    /// Empty: the manifest's cluster.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) origin: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(crate) start: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) end: u64,
    #[prost(uint32, tag = "6")]
    pub(crate) entries: u32,
    #[prost(uint64, tag = "7")]
    pub(crate) segment_bytes: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) frame_bytes: u64,
    #[prost(fixed32, tag = "9")]
    pub(crate) crc: u32,
    #[prost(sint64, tag = "10")]
    pub(crate) max_timestamp_ms: i64,
    #[prost(sint64, optional, tag = "11")]
    pub(crate) latest_append_ms: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Page {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(uint64, tag = "1")]
    pub(crate) base_offset: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) leader_epoch: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) upload: Vec<u8>,
    /// Empty: the cluster of the manifest, or of the page, that names it.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) origin: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(crate) start: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) end: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) segment_bytes: u64,
    #[prost(uint32, tag = "8")]
    pub(crate) footer_bytes: u32,
    #[prost(fixed32, tag = "9")]
    pub(crate) crc: u32,
    #[prost(sint64, tag = "10")]
    pub(crate) max_timestamp_ms: i64,
    #[prost(sint64, optional, tag = "11")]
    pub(crate) latest_append_ms: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Footer {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) topic: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) partition: u32,
    #[prost(uint64, tag = "4")]
    pub(crate) base_offset: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) end_offset: u64,
    #[prost(uint32, tag = "6")]
    pub(crate) leader_epoch: u32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) epochs: Vec<Epoch>,
    /// Places in the segment: records behind the base offset, bytes, largest timestamp before.
    #[prost(uint32, repeated, tag = "8")]
    pub(crate) index_offsets: Vec<u32>,
    #[prost(uint32, repeated, tag = "9")]
    pub(crate) index_positions: Vec<u32>,
    #[prost(sint64, repeated, tag = "10")]
    pub(crate) index_max_before_ms: Vec<i64>,
    #[prost(sint64, tag = "11")]
    pub(crate) max_timestamp_ms: i64,
    #[prost(message, repeated, tag = "12")]
    pub(crate) append_marks: Vec<AppendMark>,
    #[prost(sint64, optional, tag = "13")]
    pub(crate) latest_append_ms: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub(crate) producers: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct AppendMark {
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    #[prost(sint64, tag = "2")]
    pub(crate) ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Snapshot {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) revision: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) image: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) revision: u64,
    /// An image as `docs/format/metadata.md` has it, with this topic and no other.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) image: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Fence {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hold {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Owner {
    #[prost(uint64, tag = "1")]
    pub(crate) broker_epoch: u64,
}
