//! A disk that runs full behind a tier: produce is refused, what is not in the tier stays, and nobody has to act once
//! there is somewhere for it to go.

use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_client::types::{PartitionTierStatus, TopicConfig};
use headwater_client::{Client, Record};
use headwater_e2e::{History, SmallDisk, Versitygw, everything, is_root, read_all};

use crate::stage::{Credentials, Stage, bucket_settings, files, together};

const MIB: u64 = 1 << 20;
/// Bytes of a batch: four fill a segment.
const BATCH_BYTES: usize = 256 << 10;
const FULL: &str = "STORAGE_FULL";
/// How long a full disk is watched: long enough for many looks at it and at the tier.
const WATCHED: Duration = Duration::from_secs(5);
/// How long it may take until produce is taken again: what a disk of this size holds is uploaded in a fraction of it.
const RECOVERY: Duration = Duration::from_secs(60);
/// The shortest grace that can be set, and one look for what nothing names.
const GRACE_AND_SWEEP: Duration = Duration::from_secs(60 + 60);

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_while_the_store_is_away_has_room_again_when_it_is_back() {
    if !everything(", versitygw and root") || !is_root() {
        return;
    }
    let Some(mut server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let disk = SmallDisk::mount();
    let credentials = Credentials::new(server.root());
    let settings = bucket_settings(&server.url("e2e"), &credentials);
    let mut stage = Stage::on_small_disk(&disk, &settings);
    let client = stage.broker.client().await;
    let admin = client.admin();
    let created = admin.create_topic("t", 1, TopicConfig::default(), false);
    created.await.unwrap();
    let mut producing = Producing::new(&client);
    for _ in 0..12 {
        producing.append().await.unwrap();
    }
    let before = stage.uploaded("t").await.remove(0);
    let tiered_end = before.tier_end_offset;
    assert!(Some(0) < tiered_end, "{before:?}");
    assert_eq!(before.local_start_offset, 0, "there is room for copies");

    server.kill();
    let filled = producing.fill().await;
    assert!(100 < filled, "only {filled} batches until {FULL}");
    let waits = |status: &PartitionTierStatus| {
        assert_eq!(status.tier_end_offset, tiered_end, "{status:?}");
        assert!(
            Some(status.local_start_offset) <= tiered_end,
            "what is in no tier is gone: {status:?}"
        );
    };
    let watched = Instant::now();
    while watched.elapsed() < WATCHED {
        assert_eq!(producing.append().await.unwrap_err(), FULL);
        waits(&stage.status("t").await[0]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let finding = stage.finding(FULL, true).await.unwrap();
    eprintln!(
        "{}: {}; {}",
        finding.reason, finding.message, finding.remedy
    );
    let says = |words: &str| assert!(finding.remedy.contains(words), "{words}: {finding:?}");
    says("wait for the tier");
    says("TIER_UNAVAILABLE");
    // Neither does a broker that is killed drop anything when it comes back, with what room its journals took.
    stage.broker.kill();
    stage.broker.restart();
    producing.fill().await;
    waits(&stage.status("t").await[0]);

    server.restart();
    let back = Instant::now();
    producing.recovers(RECOVERY).await;
    let recovered = back.elapsed();
    stage.finding(FULL, false).await;
    let status = stage.uploaded("t").await;
    eprintln!(
        "{filled} batches until the disk was full; room {recovered:.1?} after the store was back"
    );
    assert!(tiered_end < status[0].tier_end_offset, "{status:?}");
    let faults = producing.history.faults(&read_all(&client, "t").await);
    assert_eq!(faults, [""; 0]);
    stage.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_on_the_disk_itself_takes_the_copies_at_once_and_counts_as_what_fills_it() {
    if !everything(" and root") || !is_root() {
        return;
    }
    let _turn = together().await;
    let disk = SmallDisk::mount();
    let settings = ["tier.url=fs:", "tier.gc_grace=1m", "tier.gc_interval=1m"];
    let stage = Stage::on_small_disk(&disk, &settings.map(str::to_owned));
    let client = stage.broker.client().await;
    let admin = client.admin();
    let created = admin.create_topic("t", 1, TopicConfig::default(), false);
    created.await.unwrap();
    let mut producing = Producing::new(&client);
    // In portions: whoever appends faster than segments are copied fills the disk with the log alone.
    for _ in 0..5 {
        for _ in 0..16 {
            producing.append().await.unwrap();
        }
        let status = stage.settled("t").await.remove(0);
        assert_eq!(Some(status.local_start_offset), status.tier_end_offset);
        assert_eq!(stage.local_segments(), 1, "only the active one");
    }

    let filled = producing.fill_up().await;
    let in_tier = bytes(&stage, "tier");
    let in_log = bytes(&stage, "topics");
    eprintln!(
        "{filled} batches more until the disk was full: {} MiB in the tier, {} MiB in the log",
        in_tier / MIB,
        in_log / MIB
    );
    // Of 64 MiB 8 are to stay free, and the reserve and the journals have theirs: neither alone has filled the disk. What
    // was sealed when there was no room for a copy any more is in the log, and nothing but what was begun is in both.
    let both = in_tier + in_log;
    let acked = (producing.history.acked_count() * BATCH_BYTES) as u64;
    assert!(16 * MIB < in_tier, "{in_tier} bytes in the tier");
    assert!(40 * MIB < both, "{both} bytes");
    assert!(both < acked + 4 * MIB, "{both} bytes for {acked}");
    let faults = producing.history.faults(&read_all(&client, "t").await);
    assert_eq!(faults, [""; 0]);

    let finding = stage.finding(FULL, true).await.unwrap();
    assert!(finding.remedy.contains("tier.gc_grace"), "{finding:?}");
    let end = stage.status("t").await[0].high_watermark as u64;
    let deleted = Instant::now();
    let ranges = [(0, Some(end))];
    admin.delete_records("t", &ranges).await.unwrap();
    producing.recovers(GRACE_AND_SWEEP + RECOVERY).await;
    eprintln!(
        "room {:.0?} after the records were deleted",
        deleted.elapsed()
    );
    stage.finding(FULL, false).await;
}

/// Bytes of all files below a folder of the data directory.
fn bytes(stage: &Stage, folder: &str) -> u64 {
    let files = files(&stage.broker.data_dir().join(folder)).into_iter();
    // One that goes meanwhile takes no room.
    let lengths = files.filter_map(|path| path.metadata().ok());
    lengths.map(|metadata| metadata.len()).sum()
}

/// Appends to partition 0 of topic `t`, and keeps what was promised.
struct Producing {
    client: Client,
    history: History,
    next: u64,
}

impl Producing {
    fn new(client: &Client) -> Producing {
        Producing {
            client: client.clone(),
            history: History::default(),
            next: 0,
        }
    }

    /// Appends a batch that no other is like; the reason if it is refused.
    async fn append(&mut self) -> Result<(), String> {
        let mut value = vec![7; BATCH_BYTES];
        value[..8].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        let value = Bytes::from(value);
        let record = Record {
            value: Some(value.clone()),
            ..Record::default()
        };
        let ack = self.client.append("t", 0, None, vec![record]).await;
        let ack = ack.map_err(|error| error.reason().to_owned())?;
        let offset = ack.base_offset.expect("acks are asked for");
        self.history.acked(0, offset, value);
        Ok(())
    }

    /// Appends until the disk is full; how many batches that took.
    async fn fill(&mut self) -> u32 {
        for batches in 0..1_000 {
            match self.append().await {
                Ok(()) => {}
                Err(reason) if reason == FULL => return batches,
                Err(reason) => panic!("refused for {reason}"),
            }
        }
        panic!("1000 batches did not fill the disk");
    }

    /// Appends until the disk is full and stays so; how many batches that took.
    async fn fill_up(&mut self) -> u32 {
        let mut batches = 0;
        let mut full = Instant::now();
        while full.elapsed() < WATCHED {
            let more = self.fill().await;
            if 0 < more {
                batches += more;
                full = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        batches
    }

    /// Waits until a batch is taken again.
    async fn recovers(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while let Err(reason) = self.append().await {
            assert_eq!(reason, FULL);
            assert!(
                Instant::now() < deadline,
                "refused all of {patience:?}, although there is room to be had"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
