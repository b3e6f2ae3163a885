//! What is measured, and what it must show. The letters are those of the issue; what is not measured yet stands in
//! [`NOT_YET`].

use crate::figures::Figure;
use crate::special::{self, Special};
use crate::systems::{Bulk, Class, Paced, Records};

/// A question to all systems.
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What is done, and what is unfair to whom.
    pub(crate) about: &'static str,
    pub(crate) work: What,
    /// Each system once in each; not for special work.
    pub(crate) classes: &'static [Class],
    /// Measured in one run only, for it takes long or varies little.
    pub(crate) once: bool,
    /// Columns of the table; the first are drawn, too.
    pub(crate) columns: &'static [Figure],
    pub(crate) drawn: usize,
    pub(crate) floors: &'static [Floor],
    pub(crate) aims: &'static [Aim],
}

impl Scenario {
    /// By its whole name, or by what stands before the dash.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let rest = self.id.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Of those that were asked for.
    pub(crate) fn runs(&self, asked: usize) -> usize {
        if self.once { 1 } else { asked }
    }
}

/// What is done.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// One load, for every system in turn.
    Load(Work),
    Special(Special),
}

/// What the systems do.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Bulk(Bulk),
    /// Reads what was written just before; only the reading counts.
    Drain(Bulk),
    OneAtATime(Records),
    Paced(Paced),
}

/// `xtask floor` with these arguments.
pub(crate) struct Floor {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

/// What must hold between medians.
pub(crate) enum Aim {
    /// One figure is at least so many times another.
    Ratio {
        what: &'static str,
        of: (&'static str, Figure),
        to: (&'static str, Figure),
        at_least: f64,
    },
    /// A figure is at most so much.
    AtMost {
        what: &'static str,
        of: (&'static str, Figure),
        most: f64,
    },
}

const OURS: &str = "Headwater, replicated";

const KAFKA: &str = "Kafka";
const NATS: &str = "NATS";
const OURS_SYNCED: &str = "Headwater, fsync";
const KAFKA_SYNCED: &str = "Kafka, flush.messages=1";
const NATS_SYNCED: &str = "NATS, sync_interval=always";
const ECHO_FLOOR: &str = "floor: echo, stream";

/// S1's load, which others start from.
pub(crate) const BULK: Bulk = Bulk {
    records: Records {
        count: 1 << 20,
        bytes: 1 << 10,
    },
    partitions: 1,
    batch_bytes: 1000 << 10,
    linger_ms: 5,
};

/// What the research has a letter for, and nothing measures.
pub(crate) const NOT_YET: &[(&str, &str)] = &[
    (
        "S5",
        "a quorum of three brokers: replication is not there yet",
    ),
    (
        "S12",
        "failover and a slow follower: replication is not there yet",
    ),
];

/// Columns of what is about throughput.
const THROUGHPUT: &[Figure] = &[
    Figure::CpuUsPerRecord,
    Figure::MibPerSecond,
    Figure::RecordsPerSecond,
    Figure::P50Us,
    Figure::P99Us,
    Figure::ResidentMib,
    Figure::ProportionalMib,
];

/// Columns of what is about latency.
const LATENCY: &[Figure] = &[
    Figure::P50Us,
    Figure::P99Us,
    Figure::P999Us,
    Figure::RecordsPerSecond,
    Figure::CpuUsPerRecord,
    Figure::ResidentMib,
];

/// Columns of what delivers.
const DELIVERY: &[Figure] = &[
    Figure::CpuMsPerMibDelivered,
    Figure::CpuUsPerRecord,
    Figure::RecordsPerSecond,
    Figure::P50Us,
    Figure::P99Us,
    Figure::P999Us,
    Figure::ResidentMib,
];

/// Columns of what the tier does beside opendal.
const TIER: &[Figure] = &[
    Figure::UploadMibPerSecond,
    Figure::ColdReadMibPerSecond,
    Figure::WritesPerGib,
];

const OPENDAL: &str = "floor: opendal, 4 at once";
const OPENDAL_OVER_A_SOCKET: &str = "floor: opendal over a socket, 4 at once";

/// Ours over four partitions at least so many times a floor that does as many objects at once.
const fn beside_opendal(
    floor: &'static str,
    what: &'static str,
    figure: Figure,
    at_least: f64,
) -> Aim {
    Aim::Ratio {
        what,
        of: ("Headwater, 4 partitions", figure),
        to: (floor, figure),
        at_least,
    }
}

const SOCKET_FLOOR: &str = "floor: socket, CRC and write";
const SYNCED_FLOOR: &str = "floor: write, fdatasync by group";

/// 200,000 records of 1 KiB in batches as Kafka makes them by default.
const SYNCED: Bulk = Bulk {
    records: Records {
        count: 200_000,
        bytes: 1 << 10,
    },
    partitions: 1,
    batch_bytes: 16 << 10,
    linger_ms: 1,
};

/// In the order in which they are measured: the most important first.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        id: "S1",
        title: "Bulk produce",
        about: "1 GiB in records of 1 KiB and batches of 1 MiB to one partition, as fast as possible. Headwater by \
                `headwater perf produce`; Kafka by ProducerPerformance with acks=all and the same batch.size; NATS by \
                `nats bench js pub async` with 500 messages on their way, and as it has no batches, each message has \
                a frame and an ack of its own. Kafka's client is a JVM that starts cold in each run, which costs it \
                throughput, not the server's CPU. Latency is from send to ack, under full load: it says how long the \
                queue is. The floor is a loopback socket, CRC-32C and a file write, with batches made once \
                beforehand.",
        work: What::Load(Work::Bulk(BULK)),
        classes: &[Class::Unsynced],
        once: false,
        columns: THROUGHPUT,
        drawn: 2,
        floors: &[Floor {
            name: SOCKET_FLOOR,
            arguments: &["socket-write", "--bytes", "1073741824"],
        }],
        aims: &[
            Aim::Ratio {
                what: "bulk produce: server CPU of Kafka to ours",
                of: (KAFKA, Figure::CpuUsPerRecord),
                to: (OURS, Figure::CpuUsPerRecord),
                at_least: 3.0,
            },
            Aim::Ratio {
                what: "bulk produce: server CPU of NATS to ours",
                of: (NATS, Figure::CpuUsPerRecord),
                to: (OURS, Figure::CpuUsPerRecord),
                at_least: 3.0,
            },
            Aim::Ratio {
                what: "bulk produce: our throughput to the floor's",
                of: (OURS, Figure::MibPerSecond),
                to: (SOCKET_FLOOR, Figure::MibPerSecond),
                at_least: 0.7,
            },
        ],
    },
    Scenario {
        id: "S7",
        title: "Fan-out to eight readers at the end of the log",
        about: "10,000 records/s of 1 KiB to one partition, each read by eight readers as it comes: 10 MiB/s in, 78 \
                out, which is what eight readers of each system on one core can take (the research has 50 MB/s). \
                Producer and readers are one process on the load's core: `headwater perf e2e --readers 8`, and for \
                the peers programs of ours over their own Java and Go clients. Open loop: latency is from when a \
                record is due until a reader has it. Readers check offsets, and count and bytes of every record.",
        work: What::Load(Work::Paced(Paced {
            records: Records {
                count: 80_000,
                bytes: 1 << 10,
            },
            per_second: 10_000,
            warm_up: 60_000,
            readers: 8,
        })),
        classes: &[Class::Unsynced],
        once: false,
        columns: DELIVERY,
        drawn: 1,
        floors: &[],
        aims: &[
            Aim::Ratio {
                what: "fan-out: server CPU of Kafka to ours",
                of: (KAFKA, Figure::CpuMsPerMibDelivered),
                to: (OURS, Figure::CpuMsPerMibDelivered),
                at_least: 3.0,
            },
            Aim::Ratio {
                what: "fan-out: server CPU of NATS to ours",
                of: (NATS, Figure::CpuMsPerMibDelivered),
                to: (OURS, Figure::CpuMsPerMibDelivered),
                at_least: 3.0,
            },
        ],
    },
    Scenario {
        id: "memory",
        title: "Memory of a server",
        about: "Idle: three seconds after the start, before any client. Loaded: after the warm-up, and S1 once more \
                with all of it read back. Kafka with the heap that its own start script sets, 1 GiB, which it fills \
                because it may.",
        work: What::Special(special::memory),
        classes: &[],
        once: false,
        columns: &[
            Figure::ResidentMib,
            Figure::ProportionalMib,
            Figure::IdleMib,
        ],
        drawn: 3,
        floors: &[],
        aims: &[
            Aim::Ratio {
                what: "memory under load: Kafka's to ours",
                of: (KAFKA, Figure::ResidentMib),
                to: (OURS, Figure::ResidentMib),
                at_least: 10.0,
            },
            Aim::AtMost {
                what: "memory idle, MiB",
                of: (OURS, Figure::IdleMib),
                most: 25.0,
            },
        ],
    },
    Scenario {
        id: "S4",
        title: "End to end at a steady 50,000 records/s",
        about: "Records of 1 KiB to one partition and one reader, open loop: latency is from when a record is due \
                until the reader has it. Linger 1 ms and batches to 128 KiB for Headwater and Kafka; NATS sends each \
                message at once. Clients as in S7. Four seconds of warm-up are not counted, which is short for \
                Kafka's client; with both of a client's halves on one core a part of every latency is the client's.",
        work: What::Load(Work::Paced(Paced {
            records: Records {
                count: 400_000,
                bytes: 1 << 10,
            },
            per_second: 50_000,
            warm_up: 200_000,
            readers: 1,
        })),
        classes: &[Class::Unsynced],
        once: false,
        columns: LATENCY,
        drawn: 2,
        floors: &[],
        aims: &[
            Aim::Ratio {
                what: "end to end at 50,000/s: p50 of Kafka to ours",
                of: (KAFKA, Figure::P50Us),
                to: (OURS, Figure::P50Us),
                at_least: 1.0,
            },
            Aim::Ratio {
                what: "end to end at 50,000/s: p99 of Kafka to ours",
                of: (KAFKA, Figure::P99Us),
                to: (OURS, Figure::P99Us),
                at_least: 1.0,
            },
            Aim::Ratio {
                what: "end to end at 50,000/s: p99 of NATS to ours",
                of: (NATS, Figure::P99Us),
                to: (OURS, Figure::P99Us),
                at_least: 1.0,
            },
        ],
    },
    Scenario {
        id: "S6-1",
        title: "Fsynced produce over one partition",
        about: "200,000 records of 1 KiB in batches of 16 KiB, acknowledged when they are on the medium. Kafka with \
                flush.messages=1 syncs each partition's file by itself; NATS with sync_interval=always syncs each \
                message by itself, and gets a twentieth of the records for that. The floor takes batches of the same \
                size, 64 at once, and syncs together what has come meanwhile.",
        work: What::Load(Work::Bulk(SYNCED)),
        classes: &[Class::Fsynced],
        once: false,
        columns: THROUGHPUT,
        drawn: 2,
        floors: &[Floor {
            name: SYNCED_FLOOR,
            arguments: &[
                "socket-write",
                "--sync",
                "--bytes",
                "204800000",
                "--batch-bytes",
                "16384",
                "--in-flight",
                "64",
            ],
        }],
        aims: &[
            Aim::Ratio {
                what: "fsynced, 1 partition: our throughput to Kafka's",
                of: (OURS_SYNCED, Figure::RecordsPerSecond),
                to: (KAFKA_SYNCED, Figure::RecordsPerSecond),
                at_least: 10.0,
            },
            Aim::Ratio {
                what: "fsynced, 1 partition: our throughput to NATS's",
                of: (OURS_SYNCED, Figure::RecordsPerSecond),
                to: (NATS_SYNCED, Figure::RecordsPerSecond),
                at_least: 10.0,
            },
            Aim::Ratio {
                what: "fsynced, 1 partition: our throughput to the floor's",
                of: (OURS_SYNCED, Figure::MibPerSecond),
                to: (SYNCED_FLOOR, Figure::MibPerSecond),
                at_least: 0.85,
            },
        ],
    },
    Scenario {
        id: "S6-1-large",
        title: "Fsynced produce over one partition in large batches",
        about: "The same in batches of 256 KiB, as Headwater's client makes them by default and Kafka's may be set to; the \
                floor takes 16 at once, as our client has on their way. NATS has no batches, and syncs each message as before.",
        work: What::Load(Work::Bulk(Bulk {
            records: Records {
                count: 400_000,
                bytes: 1 << 10,
            },
            batch_bytes: 256 << 10,
            ..SYNCED
        })),
        classes: &[Class::Fsynced],
        once: false,
        columns: THROUGHPUT,
        drawn: 2,
        floors: &[Floor {
            name: SYNCED_FLOOR,
            arguments: &[
                "socket-write",
                "--sync",
                "--bytes",
                "409600000",
                "--batch-bytes",
                "262144",
                "--in-flight",
                "16",
            ],
        }],
        aims: &[
            Aim::Ratio {
                what: "fsynced, large batches: server CPU of Kafka to ours",
                of: (KAFKA_SYNCED, Figure::CpuUsPerRecord),
                to: (OURS_SYNCED, Figure::CpuUsPerRecord),
                at_least: 3.0,
            },
            Aim::Ratio {
                what: "fsynced, large batches: our throughput to the floor's",
                of: (OURS_SYNCED, Figure::MibPerSecond),
                to: (SYNCED_FLOOR, Figure::MibPerSecond),
                at_least: 0.85,
            },
        ],
    },
    Scenario {
        id: "S6-1000",
        title: "Fsynced produce over a thousand partitions",
        about: "The same over 1,000 partitions: each client fills a batch for one partition, then one for the next, \
                as Kafka's and ours do without keys. Kafka's client may take ten minutes to deliver a batch: in its \
                default of two it gives some up. NATS has 1,000 subjects in one stream.",
        work: What::Load(Work::Bulk(Bulk {
            partitions: 1_000,
            ..SYNCED
        })),
        classes: &[Class::Fsynced],
        once: false,
        columns: THROUGHPUT,
        drawn: 2,
        floors: &[],
        aims: &[
            Aim::Ratio {
                what: "fsynced, 1,000 partitions: our throughput to Kafka's",
                of: (OURS_SYNCED, Figure::RecordsPerSecond),
                to: (KAFKA_SYNCED, Figure::RecordsPerSecond),
                at_least: 10.0,
            },
            Aim::Ratio {
                what: "fsynced, 1,000 partitions: our throughput to NATS's",
                of: (OURS_SYNCED, Figure::RecordsPerSecond),
                to: (NATS_SYNCED, Figure::RecordsPerSecond),
                at_least: 10.0,
            },
        ],
    },
    Scenario {
        id: "S2",
        title: "Small records",
        about: "2,000,000 records of 100 bytes to 16 partitions, linger 1 ms, batches to 128 KiB, one producer. NATS \
                has one stream with 16 subjects.",
        work: What::Load(Work::Bulk(Bulk {
            records: Records {
                count: 2_000_000,
                bytes: 100,
            },
            partitions: 16,
            batch_bytes: 128 << 10,
            linger_ms: 1,
        })),
        classes: &[Class::Unsynced],
        once: false,
        columns: THROUGHPUT,
        drawn: 2,
        floors: &[],
        aims: &[Aim::AtMost {
            what: "small records: server CPU, µs/record",
            of: (OURS, Figure::CpuUsPerRecord),
            most: 0.15,
        }],
    },
    Scenario {
        id: "S3",
        title: "One record at a time",
        about: "5,000 records of 1 KiB, each sent when the one before is acknowledged, in both classes, which must \
                not be compared with each other. Kafka through a program of ours over its Java client, which starts \
                cold; NATS by `nats bench js pub sync`, a twentieth of the records where each is synced. The floors \
                are echoes of the same size through stock tonic.",
        work: What::Load(Work::OneAtATime(Records {
            count: 5_000,
            bytes: 1 << 10,
        })),
        classes: &[Class::Unsynced, Class::Fsynced],
        once: false,
        columns: LATENCY,
        drawn: 2,
        floors: &[
            Floor {
                name: ECHO_FLOOR,
                arguments: &["echo", "--mode", "bidi", "--messages", "5000"],
            },
            Floor {
                name: "floor: echo, unary",
                arguments: &["echo", "--mode", "unary", "--messages", "5000"],
            },
        ],
        aims: &[Aim::Ratio {
            what: "one record: p50 of a gRPC echo on a stream to ours (1.3 times it)",
            of: (ECHO_FLOOR, Figure::P50Us),
            to: (OURS, Figure::P50Us),
            at_least: 0.77,
        }],
    },
    Scenario {
        id: "S8",
        title: "Bulk consume",
        about: "S1's GiB, written just before, read by one reader from the beginning: catching up out of the page \
                cache, without the writers that the research has beside it. Headwater by `headwater perf consume`, \
                every record opened; Kafka by ConsumerPerformance, with a group, whose forming is not counted; NATS \
                by `nats bench js ordered`.",
        work: What::Load(Work::Drain(BULK)),
        classes: &[Class::Unsynced],
        once: false,
        columns: &[
            Figure::CpuUsPerRecord,
            Figure::MibPerSecond,
            Figure::RecordsPerSecond,
            Figure::ResidentMib,
        ],
        drawn: 2,
        floors: &[],
        aims: &[Aim::Ratio {
            what: "bulk consume: server CPU of Kafka to ours",
            of: (KAFKA, Figure::CpuUsPerRecord),
            to: (OURS, Figure::CpuUsPerRecord),
            at_least: 3.0,
        }],
    },
    Scenario {
        id: "S9",
        title: "Partitions that nobody uses",
        about: "On servers of their own. Ours holds ten times as many as the peers, which take minutes to make \
                10,000; a stream of NATS is more than a partition, and the nearest that it has. A start counts until \
                the broker serves (Headwater), answers for the end of every partition (Kafka), takes connections \
                (NATS, which reads its streams before). Resident memory includes the 2 s of rest after creation.",
        work: What::Special(special::partitions),
        classes: &[],
        once: true,
        columns: &[
            Figure::BytesPerPartition,
            Figure::ResidentMib,
            Figure::IdleMib,
            Figure::Descriptors,
            Figure::RestartAfterStopSeconds,
            Figure::RestartAfterKillSeconds,
        ],
        drawn: 1,
        floors: &[],
        aims: &[
            Aim::AtMost {
                what: "10,000 partitions, MiB in all",
                of: ("Headwater, 10000 partitions", Figure::ResidentMib),
                most: 120.0,
            },
            Aim::AtMost {
                what: "10,000 partitions, s to start after a kill",
                of: (
                    "Headwater, 10000 partitions",
                    Figure::RestartAfterKillSeconds,
                ),
                most: 2.0,
            },
        ],
    },
    Scenario {
        id: "S11",
        title: "Idle connections",
        about: "5,000 connections that say hello in the server's protocol, are answered, and do nothing more. On \
                servers of their own.",
        work: What::Special(special::connections),
        classes: &[],
        once: true,
        columns: &[
            Figure::BytesPerConnection,
            Figure::ResidentMib,
            Figure::IdleMib,
        ],
        drawn: 1,
        floors: &[],
        aims: &[Aim::AtMost {
            what: "5,000 idle connections, bytes each",
            of: (OURS, Figure::BytesPerConnection),
            most: 65_536.0,
        }],
    },
    Scenario {
        id: "S12",
        title: "Away with a GiB of log",
        about: "A server with S1's GiB is killed just after the last ack, starts again, is stopped, and starts again; \
                then all of it is read back. A start counts as in S9. The kill leaves the page cache as it is. NATS \
                only unsynced, for a GiB synced message by message takes it half an hour. The research has 10 GiB.",
        work: What::Special(special::restart),
        classes: &[],
        once: true,
        columns: &[
            Figure::RestartAfterKillSeconds,
            Figure::RestartAfterStopSeconds,
        ],
        drawn: 2,
        floors: &[],
        aims: &[],
    },
    Scenario {
        id: "S10",
        title: "The tier, beside opendal alone",
        about: "1 GiB in segments of 16 MiB on the disk, then uploaded to a directory on the same disk (`tier.url` \
                fs), each object read back to be verified, the local copies dropped, and all of it read by one \
                consumer from the beginning. The floor writes and reads the same bytes through opendal's fs alone on \
                the same core, verifies them likewise, and sends them to nobody; then it reads them once more and \
                sends each MiB over a loopback socket to a reader on the load's core, which checks its CRC-32C. Peers \
                are left out: Kafka ships no store for its tier, NATS has none.",
        work: What::Special(special::tier),
        classes: &[],
        once: false,
        columns: TIER,
        drawn: 2,
        floors: &[],
        aims: &[
            beside_opendal(
                OPENDAL,
                "upload of 4 partitions: our throughput to opendal's",
                Figure::UploadMibPerSecond,
                0.85,
            ),
            beside_opendal(
                OPENDAL,
                "cold read of 4 partitions: our throughput to opendal's",
                Figure::ColdReadMibPerSecond,
                0.85,
            ),
            beside_opendal(
                OPENDAL_OVER_A_SOCKET,
                "cold read of 4 partitions: ours to opendal over a socket's",
                Figure::ColdReadMibPerSecond,
                0.85,
            ),
        ],
    },
    Scenario {
        id: "S10-s3",
        title: "The tier over S3, beside opendal alone",
        about: "S10 on a real S3 server (versitygw on a folder), with which broker and floor talk over HTTP. The server \
                shares the load's core with our consumer and the reader of the floor over a socket; the first floor has \
                no reader. Writes are counted by the server's log: objects, their parts, manifests.",
        work: What::Special(special::tier_s3),
        classes: &[],
        once: false,
        columns: TIER,
        drawn: 2,
        floors: &[],
        aims: &[
            beside_opendal(
                OPENDAL,
                "upload of 4 partitions over S3: our throughput to opendal's",
                Figure::UploadMibPerSecond,
                0.7,
            ),
            beside_opendal(
                OPENDAL,
                "cold read of 4 partitions over S3: our throughput to opendal's",
                Figure::ColdReadMibPerSecond,
                0.7,
            ),
            beside_opendal(
                OPENDAL_OVER_A_SOCKET,
                "cold read of 4 partitions over S3: ours to opendal over a socket's",
                Figure::ColdReadMibPerSecond,
                0.7,
            ),
        ],
    },
    Scenario {
        id: "S10-requests",
        title: "Requests of the tier, by the number of partitions",
        about: "1 GiB (1.2 over 100 partitions) in segments of 128 MiB, 8 MiB and 64 KiB, the smallest, so that each \
                partition seals at least one. Segments become part of the tier every 250 ms, four times as often as by \
                default: fewer manifests are written then.",
        work: What::Special(special::requests),
        classes: &[],
        once: true,
        columns: &[
            Figure::WritesPerGib,
            Figure::UploadMibPerSecond,
            Figure::ColdReadMibPerSecond,
        ],
        drawn: 2,
        floors: &[],
        aims: &[],
    },
    Scenario {
        id: "S10-beside",
        title: "Producers beside a cold reader",
        about: "Fsynced produce at 5,000 records/s, alone, and while one consumer reads 1 GiB again and again as fast \
                as it can, from the broker's disk or from the tier. Producer and reader share the load's core, and \
                the broker's halves the other: what the tier itself adds is the difference to the hot reader.",
        work: What::Special(special::isolation),
        classes: &[],
        once: false,
        columns: &[Figure::P99Us, Figure::P50Us],
        drawn: 2,
        floors: &[],
        aims: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_or_ends_before_a_dash() {
        let named = |name| ALL.iter().filter(|one| one.is_named(name)).count();
        assert_eq!(
            (named("S1"), named("S6"), named("S6-1"), named("S")),
            (1, 3, 2, 0)
        );
    }
}
