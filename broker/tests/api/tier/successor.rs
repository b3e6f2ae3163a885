//! Two brokers of one cluster, on a data directory and on a copy of it: one owns the tier.

use super::*;

impl Bucket {
    async fn start_on(&self, dir: TempDir) -> Harness {
        let settings = self.settings();
        Harness::start_on(dir, &borrowed(&settings)).await
    }

    fn owners(&self) -> usize {
        let keys = self.server.keys().into_iter();
        keys.filter(|key| key.contains("/owner/")).count()
    }

    /// A broker whose start has taken the tier over as the `number`th, on a directory and on the copy of it that was made
    /// before.
    async fn with_a_copy(&self, number: usize) -> (Harness, TempDir) {
        let mut harness = self.broker().await;
        harness.create_with("t", 1, small_segments()).await.unwrap();
        harness.fill("t", 0, 0..200).await;
        harness.settle("t").await;
        let Harness { dir, broker, .. } = harness;
        broker.stop().await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_all(dir.path(), copy.path());
        let mut harness = self.start_on(dir).await;
        for started in 2..=number {
            until("it owns the tier", async || self.owners() == started).await;
            if started < number {
                harness = self.restart(harness).await;
            }
        }
        (harness, copy)
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir(&to).unwrap();
                copy_all(&entry.path(), &to);
            }
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// What is produced stays on the disk, and is read from there.
async fn assert_keeps_to_itself(bucket: &Bucket, harness: &mut Harness) {
    until("it finds the other one", async || {
        harness.finding("TIER_SUPERSEDED").await.is_some()
    })
    .await;
    let segments = bucket.segments();
    let before = harness.tier_of("t").await[0].tier_end_offset;
    harness.fill("t", 0, 300..500).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bucket.segments(), segments);
    assert_eq!(harness.tier_of("t").await[0].tier_end_offset, before);
    let read = harness.values("t", 0).await;
    assert!(read.starts_with(&values(0..200)) && read.ends_with(&values(300..500)));
    assert_eq!(harness.finding("TIER_UPLOAD_BLOCKED").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_directory_does_not_take_the_tier_over() {
    let bucket = Bucket::start().await;
    let (mut original, copy) = bucket.with_a_copy(3).await;
    let mut copy = bucket.start_on(copy).await;
    assert_keeps_to_itself(&bucket, &mut copy).await;
    copy.broker.stop().await.unwrap();
    original.fill("t", 0, 200..400).await;
    original.settle("t").await;
    assert_eq!(original.values("t", 0).await, values(0..400));
    assert_eq!(original.finding("TIER_SUPERSEDED").await, None);
    original.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_beside_a_later_one_on_a_copy_of_its_directory_gives_the_tier_up() {
    let bucket = Bucket::start().await;
    let (mut original, copy) = bucket.with_a_copy(2).await;
    let mut copy = bucket.start_on(copy).await;
    until("it owns the tier", async || bucket.owners() == 3).await;
    // Within a minute, and before it has a head committed or deletes anything.
    until("it looks", async || {
        original.fill("t", 0, 200..300).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        original.finding("TIER_SUPERSEDED").await.is_some()
    })
    .await;
    assert_keeps_to_itself(&bucket, &mut original).await;
    copy.fill("t", 0, 200..400).await;
    copy.settle("t").await;
    assert_eq!(copy.values("t", 0).await, values(0..400));
    original.broker.stop().await.unwrap();
    copy.broker.stop().await.unwrap();
}
