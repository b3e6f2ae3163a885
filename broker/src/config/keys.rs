//! The table of settings: every key, its default, its range, and what it means.

use headwater_core::limits::{
    BROKER_PARTITIONS_MAX, CONFIG_MS_MAX, MESSAGE_BYTES, SEGMENT_BYTES, SEGMENT_MS,
    TOPIC_PARTITIONS_MAX,
};

use crate::limits::{GIB, KIB, MIB, SHARDS_MAX, TIB};

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name: `section.key`, or a key of the top level.
    pub name: &'static str,
    /// The value when nobody sets it, as it would be written.
    pub default: &'static str,
    /// What may be written.
    pub form: Form,
    /// What it means, in one or two sentences.
    pub help: &'static str,
}

impl Key {
    /// The variable that sets it: `topics.segment_bytes` is `HEADWATER_TOPICS_SEGMENT_BYTES`.
    pub fn variable(&self) -> String {
        format!(
            "HEADWATER_{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// What may be written for a setting. Ranges include both ends.
#[derive(Debug)]
pub enum Form {
    /// Bytes, such as `64MiB`.
    Size(u64, u64),
    /// Bytes, or `unlimited`.
    SizeOrUnlimited(u64, u64),
    /// Bytes, or `auto`.
    SizeOrAuto(u64, u64),
    /// A time in milliseconds, written as `10s`.
    Time(u64, u64),
    /// A time, or `forever`.
    TimeOrForever(u64, u64),
    /// A whole number.
    Count(u64, u64),
    /// A whole number, or `auto`.
    CountOrAuto(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Anything else; the help says what.
    Text,
}

impl Form {
    /// The least and the greatest number, if it is a number.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        match *self {
            Form::Size(min, max)
            | Form::SizeOrUnlimited(min, max)
            | Form::SizeOrAuto(min, max)
            | Form::Time(min, max)
            | Form::TimeOrForever(min, max)
            | Form::Count(min, max)
            | Form::CountOrAuto(min, max) => Some((min, max)),
            Form::Switch | Form::Choice(_) | Form::Text => None,
        }
    }
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Every setting, in the order in which `--print-config` shows them.
pub static KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        default: "./data",
        form: Form::Text,
        help: "Directory with everything this broker stores. One broker, one directory.",
    },
    Key {
        name: "form",
        default: "false",
        form: Form::Switch,
        help: "Form a new cluster if the data directory belongs to none. Without it an empty \
               directory is refused, so that a lost volume never comes up as a new, empty cluster.",
    },
    Key {
        name: "node_name",
        default: "auto",
        form: Form::Text,
        help: "Name for people, in logs and broker lists; never identity. auto: the host's name.",
    },
    Key {
        name: "default_namespace",
        default: "default",
        form: Form::Text,
        help: "Namespace of a topic name that has none.",
    },
    Key {
        name: "shutdown_grace",
        default: "30s",
        form: Form::Time(0, HOUR),
        help: "How long a graceful stop may take before connections are cut.",
    },
    Key {
        name: "shutdown_delay",
        default: "0s",
        form: Form::Time(0, HOUR),
        help: "How long a broker that was told to stop goes on serving, no longer ready, so that \
               whoever routes clients to it can notice.",
    },
    Key {
        name: "listen.client",
        default: "0.0.0.0:7650",
        form: Form::Text,
        help: "Address for gRPC clients, as IP:port. Port 0 takes a free one.",
    },
    Key {
        name: "listen.internal",
        default: "0.0.0.0:7651",
        form: Form::Text,
        help: "Address for the operator, as IP:port. Port 0 takes a free one. Only listened on \
               with internal.secret_file.",
    },
    Key {
        name: "listen.http",
        default: "0.0.0.0:7680",
        form: Form::Text,
        help: "Address for metrics and health, as IP:port. Port 0 takes a free one.",
    },
    Key {
        name: "listen.advertised",
        default: "auto",
        form: Form::Text,
        help: "host:port that clients are told to dial. auto: the address of listen.client, or \
               localhost if that is 0.0.0.0.",
    },
    Key {
        name: "internal.secret_file",
        default: "none",
        form: Form::Text,
        help: "File with the secret that callers of the internal listener must show: 64 \
               hexadecimal digits. none: there is no internal listener. With one, a broker whose \
               directory belongs to no cluster waits there to be told which to form.",
    },
    Key {
        name: "storage.shards",
        default: "auto",
        form: Form::CountOrAuto(1, SHARDS_MAX as u64),
        help: "Threads that own partitions and sync their files. auto: one per core.",
    },
    Key {
        name: "storage.open_files_max",
        default: "1024",
        form: Form::Count(16, 1_000_000),
        help: "Segment files open at once; idle ones are closed.",
    },
    Key {
        name: "storage.background_sync_interval",
        default: "10s",
        form: Form::Time(10, HOUR),
        help: "A partition of durability replicated is synced at most this long after its first \
               unsynced byte.",
    },
    Key {
        name: "storage.retention_check_interval",
        default: "1m",
        form: Form::Time(100, 24 * HOUR),
        help: "How often every partition is checked for records past their retention.",
    },
    Key {
        name: "disk_guard.reserve_bytes",
        default: "64MiB",
        form: Form::Size(0, TIB),
        help: "Size of a file that keeps room for metadata and deletes on a full disk; 0 keeps \
               none.",
    },
    Key {
        name: "disk_guard.low_water_bytes",
        default: "256MiB",
        form: Form::Size(0, 1024 * TIB),
        help: "With less free space than this, produce is refused with STORAGE_FULL.",
    },
    Key {
        name: "disk_guard.high_water_bytes",
        default: "512MiB",
        form: Form::Size(0, 1024 * TIB),
        help: "Produce is accepted again once this much is free. Above low_water_bytes.",
    },
    Key {
        name: "topics.partitions",
        default: "1",
        form: Form::Count(1, TOPIC_PARTITIONS_MAX as u64),
        help: "Partitions of a topic that is created without a count.",
    },
    Key {
        name: "topics.retention_time",
        default: "7d",
        form: Form::TimeOrForever(SECOND, CONFIG_MS_MAX),
        help: "Records are deleted this long after they were appended.",
    },
    Key {
        name: "topics.retention_bytes",
        default: "unlimited",
        form: Form::SizeOrUnlimited(0, 1024 * TIB),
        help: "The oldest segments are deleted while a partition is larger than this.",
    },
    Key {
        name: "topics.segment_bytes",
        default: "128MiB",
        form: Form::Size(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end()),
        help: "A segment of this size is followed by a new one.",
    },
    Key {
        name: "topics.segment_time",
        default: "1d",
        form: Form::Time(*SEGMENT_MS.start(), *SEGMENT_MS.end()),
        help: "A segment of this age is followed by a new one.",
    },
    Key {
        name: "topics.durability",
        default: "fsync",
        form: Form::Choice(&["fsync", "replicated"]),
        help: "When a batch counts as stored: on the medium of every in-sync replica, or in the \
               page cache of each.",
    },
    Key {
        name: "topics.compression",
        default: "none",
        form: Form::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        help: "How the broker compresses the batches that it builds itself; batches of clients \
               stay as they are.",
    },
    Key {
        name: "topics.message_bytes_max",
        default: "1MiB",
        form: Form::Size(*MESSAGE_BYTES.start() as u64, *MESSAGE_BYTES.end() as u64),
        help: "The largest batch that is accepted, as stored.",
    },
    Key {
        name: "topics.timestamp_ahead_max",
        default: "1h",
        form: Form::Time(0, CONFIG_MS_MAX),
        help: "Records with a timestamp further ahead of the leader's clock are refused.",
    },
    Key {
        name: "topics.tiering",
        default: "true",
        form: Form::Switch,
        help: "Upload the sealed segments of a topic, if the broker has a tier.",
    },
    Key {
        name: "topics.local_retention_time",
        default: "1d",
        form: Form::TimeOrForever(0, CONFIG_MS_MAX),
        help: "What is in the tier stays on the disk this long as well. forever: as long as the \
               topic's retention.",
    },
    Key {
        name: "topics.local_retention_bytes",
        default: "unlimited",
        form: Form::SizeOrUnlimited(0, 1024 * TIB),
        help: "What is in the tier leaves the disk, oldest first, while a partition takes more of \
               it than this.",
    },
    Key {
        name: "tier.url",
        default: "none",
        form: Form::Text,
        help: "Object storage for sealed segments: s3://bucket/prefix, gcs://bucket/prefix, \
               azblob://container/prefix (all with ?endpoint=, s3 with &region=), \
               fs:///directory, or fs: for the directory tier in the data directory. none: \
               everything stays on the disk.",
    },
    Key {
        name: "tier.credentials_dir",
        default: "none",
        form: Form::Text,
        help: "Directory with the credentials of tier.url as files, read again when they change: \
               access_key_id and secret_access_key (s3), credential.json (gcs), account_name and \
               account_key (azblob). none: the environment, or what the cloud gives its machines.",
    },
    Key {
        name: "tier.upload_concurrency",
        default: "2",
        form: Form::Count(1, 64),
        help: "Segments that are uploaded at once. Each takes 16 MiB of memory.",
    },
    Key {
        name: "tier.cache_bytes",
        default: "16MiB",
        form: Form::Size(4 * MIB, TIB),
        help: "Memory for what is read from the tier.",
    },
    Key {
        name: "tier.commit_interval",
        default: "1s",
        form: Form::Time(250, HOUR),
        help: "Uploaded segments become part of the tier this often, all partitions together.",
    },
    Key {
        name: "tier.gc_grace",
        default: "1h",
        form: Form::Time(MINUTE, CONFIG_MS_MAX),
        help: "An object that nothing names any more is deleted after this time, by the store's \
               own clock.",
    },
    Key {
        name: "tier.gc_interval",
        default: "6h",
        form: Form::Time(MINUTE, CONFIG_MS_MAX),
        help: "How often each partition's objects are listed to find those that nothing names.",
    },
    Key {
        name: "tier.snapshot_interval",
        default: "1m",
        form: Form::Time(SECOND, CONFIG_MS_MAX),
        help: "Changed metadata is written to the tier at most this often, for a restore; changed topics within a second.",
    },
    Key {
        name: "limits.connections_max",
        default: "2000",
        form: Form::Count(1, 1_000_000),
        help: "Client connections at once; more are closed as they come.",
    },
    Key {
        name: "limits.streams_per_connection_max",
        default: "1024",
        form: Form::Count(1, 100_000),
        help: "Calls and streams at once on one connection.",
    },
    Key {
        name: "limits.fetch_wait_max",
        default: "30s",
        form: Form::Time(0, HOUR),
        help: "The longest a fetch waits for records, whatever it asks for.",
    },
    Key {
        name: "limits.fetch_bytes_max",
        default: "16MiB",
        form: Form::Size(KIB, GIB),
        help: "The most bytes one fetch answers with, whatever it asks for; one batch may be \
               larger.",
    },
    Key {
        name: "limits.produce_stream_credit_bytes",
        default: "8MiB",
        form: Form::Size(KIB, GIB),
        help: "Bytes that one produce stream may have sent and not seen acknowledged.",
    },
    Key {
        name: "limits.subscribe_buffer_bytes",
        default: "4MiB",
        form: Form::Size(KIB, GIB),
        help: "Bytes that one subscription may be sent ahead of what it has taken.",
    },
    Key {
        name: "limits.partitions_max",
        default: "10000",
        form: Form::Count(1, BROKER_PARTITIONS_MAX as u64),
        help: "Partitions on this broker, over all topics.",
    },
    Key {
        name: "memory.limit_bytes",
        default: "auto",
        form: Form::SizeOrAuto(MIB, 1024 * TIB),
        help: "Memory to divide. auto: the limit of the control group, or half of the machine's \
               memory if there is none.",
    },
    Key {
        name: "log.format",
        default: "text",
        form: Form::Choice(&["text", "json"]),
        help: "Form of a line on standard error.",
    },
    Key {
        name: "log.level",
        default: "info",
        form: Form::Text,
        help: "error, warn, info, debug or trace; or directives by module, such as \
               info,headwater_log=debug.",
    },
];
