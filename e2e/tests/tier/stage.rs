//! A broker with a tier, and what is said and seen of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_client::types::{Finding, PartitionTierStatus};
use headwater_e2e::{Account, Broker, BrokerOptions, SmallDisk, headwater};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long uploads may take to catch up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The smallest that a segment may be.
pub(crate) const SMALLEST: u64 = 64 << 10;

/// The largest batch that a segment need not be smaller than.
const MESSAGE_BYTES: u64 = 1 << 20;

/// What is measured runs alone, everything else together.
static STAGE: RwLock<()> = RwLock::const_new(());

/// Waits until nothing is measured.
pub(crate) async fn together() -> RwLockReadGuard<'static, ()> {
    STAGE.read().await
}

/// Waits until nothing else runs.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    STAGE.write().await
}

/// Files with an account's credentials, as a Secret is mounted.
pub(crate) struct Credentials(tempfile::TempDir);

impl Credentials {
    /// Files that hold an account.
    pub(crate) fn new(account: &Account) -> Credentials {
        let credentials = Credentials(tempfile::tempdir().unwrap());
        credentials.replace(account);
        credentials
    }

    /// Files by name.
    pub(crate) fn of(files: &[(&str, &str)]) -> Credentials {
        let credentials = Credentials(tempfile::tempdir().unwrap());
        for (name, value) in files {
            std::fs::write(credentials.path().join(name), value).unwrap();
        }
        credentials
    }

    /// Puts another account into the files.
    pub(crate) fn replace(&self, account: &Account) {
        std::fs::write(self.path().join("access_key_id"), &account.access).unwrap();
        std::fs::write(self.path().join("secret_access_key"), &account.secret).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a broker needs to know of a bucket.
pub(crate) fn bucket_settings(url: &str, credentials: &Credentials) -> [String; 2] {
    let folder = credentials.path().display();
    [
        format!("tier.url={url}"),
        format!("tier.credentials_dir={folder}"),
    ]
}

/// A broker with a tier. It drops its own copies as soon as it may, unless something else is said.
pub(crate) struct Stage {
    /// The broker.
    pub(crate) broker: Broker,
    segment_bytes: u64,
}

impl Stage {
    /// A broker whose tier is a bucket of the server.
    pub(crate) fn in_bucket(url: &str, credentials: &Credentials, segment_bytes: u64) -> Stage {
        Stage::start(segment_bytes, None, &bucket_settings(url, credentials), &[])
    }

    /// The same of a broker that has to find its credentials itself, with these variables. It logs all there is to log.
    pub(crate) fn in_environment(url: &str, variables: &[(&str, &str)]) -> Stage {
        let settings = [format!("tier.url={url}"), "log.level=trace".to_owned()];
        Stage::start(SMALLEST, None, &settings, variables)
    }

    /// Another broker on the same bucket, on a data directory that is there.
    pub(crate) fn restored(
        data_dir: &Path,
        url: &str,
        credentials: &Credentials,
        segment_bytes: u64,
    ) -> Stage {
        Stage::start(
            segment_bytes,
            Some(data_dir),
            &bucket_settings(url, credentials),
            &[],
        )
    }

    /// A broker whose tier is a folder.
    pub(crate) fn on_folder(folder: &Path, segment_bytes: u64) -> Stage {
        let url = format!("tier.url=fs://{}", folder.display());
        Stage::start(segment_bytes, None, &[url], &[])
    }

    /// A broker on a small disk, which keeps its own copies as long as there is room.
    pub(crate) fn on_small_disk(disk: &SmallDisk, tier: &[String]) -> Stage {
        let mut settings = SmallDisk::settings();
        settings.push("topics.local_retention_time=forever".to_owned());
        settings.push("tier.commit_interval=250ms".to_owned());
        settings.extend_from_slice(tier);
        let broker = Broker::start_with(BrokerOptions {
            data_dir: Some(disk.path().join("data")),
            settings,
            ..BrokerOptions::default()
        });
        Stage {
            broker,
            segment_bytes: SmallDisk::SEGMENT_BYTES,
        }
    }

    fn start(
        segment_bytes: u64,
        data_dir: Option<&Path>,
        more: &[String],
        variables: &[(&str, &str)],
    ) -> Stage {
        let mut settings = vec![
            format!("topics.segment_bytes={segment_bytes}"),
            format!(
                "topics.message_bytes_max={}",
                segment_bytes.min(MESSAGE_BYTES)
            ),
            "topics.local_retention_time=0s".to_owned(),
            "storage.retention_check_interval=200ms".to_owned(),
            "tier.commit_interval=250ms".to_owned(),
        ];
        settings.extend_from_slice(more);
        let broker = Broker::start_with(BrokerOptions {
            data_dir: data_dir.map(Path::to_owned),
            settings,
            environment: variables
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            ..BrokerOptions::default()
        });
        Stage {
            broker,
            segment_bytes,
        }
    }

    /// What `headwater` said to programs, if it did as asked.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (success, stdout, stderr) = self.try_run(arguments);
        assert!(success, "headwater {arguments:?} has failed: {stderr}");
        stdout
    }

    /// Exit code and what was said to people, if it did not.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = headwater(&self.broker.endpoint(), arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!output.status.success(), "headwater {arguments:?}: {said}");
        (output.status.code().unwrap(), said)
    }

    fn try_run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = headwater(&self.broker.endpoint(), arguments);
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// How far a topic is in the tier.
    pub(crate) async fn status(&self, topic: &str) -> Vec<PartitionTierStatus> {
        let admin = self.broker.client().await.admin();
        admin.tier_status(&[topic]).await.unwrap().partitions
    }

    /// Waits until nothing of a topic but active segments is on the disk.
    pub(crate) async fn settled(&self, topic: &str) -> Vec<PartitionTierStatus> {
        self.until(topic, |partition| self.is_settled(partition))
            .await
    }

    /// Waits until all of a topic but active segments is in the tier, wherever else it is.
    pub(crate) async fn uploaded(&self, topic: &str) -> Vec<PartitionTierStatus> {
        self.until(topic, is_uploaded).await
    }

    async fn until(
        &self,
        topic: &str,
        so: impl Fn(&PartitionTierStatus) -> bool,
    ) -> Vec<PartitionTierStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(topic).await;
            if status.iter().all(&so) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "not in the tier within {PATIENCE:?}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_settled(&self, partition: &PartitionTierStatus) -> bool {
        is_uploaded(partition)
            && partition.local_bytes <= self.segment_bytes as i64
            && partition.local_start_offset >= partition.tier_end_offset.unwrap_or_default()
    }

    /// What is wrong, as the broker says it.
    pub(crate) async fn findings(&self) -> Vec<Finding> {
        let admin = self.broker.client().await.admin();
        admin.health().await.unwrap().findings
    }

    /// Waits until the broker says, or does not say any more, that something is wrong.
    pub(crate) async fn finding(&self, reason: &str, wanted: bool) -> Option<Finding> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let findings = self.findings().await;
            let found = findings.iter().find(|finding| finding.reason == reason);
            if found.is_some() == wanted {
                return found.cloned();
            }
            assert!(
                Instant::now() < deadline,
                "{reason}, wanted {wanted}, not within {PATIENCE:?}: {findings:#?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The sum of a metric's values.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.broker.http_get("/metrics").unwrap();
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with([' ', '{']));
        values
            .map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Everything that the broker says to anybody: log, metrics, health, and the status of its tier.
    pub(crate) async fn said(&self) -> String {
        let metrics = self.broker.http_get("/metrics").unwrap();
        let findings = self.findings().await;
        let status = self.run(&["tier", "status"]);
        format!("{}{metrics}{findings:#?}{status}", self.broker.log())
    }

    /// Files of segments on the broker's disk.
    pub(crate) fn local_segments(&self) -> usize {
        let topics = files(&self.broker.data_dir().join("topics"));
        topics
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .count()
    }

    /// A check of everything in the tier says that all is well, in both ways.
    #[track_caller]
    pub(crate) fn verify(&self) -> String {
        let quick = self.run(&["tier", "verify", "--quick"]);
        let whole = self.run(&["tier", "verify"]);
        format!("{quick}{whole}")
    }
}

fn is_uploaded(partition: &PartitionTierStatus) -> bool {
    partition.backlog_segments == 0 && partition.uploading_segments == 0
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// Objects that hold segments: everything of a partition but its pages and manifests.
pub(crate) fn segment_objects(bucket: &Path) -> Vec<PathBuf> {
    let mut objects = files(bucket);
    objects.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        // <base offset>-<leader epoch>-<upload>
        name.len() == 20 + 1 + 10 + 1 + 36 && name.as_bytes()[20] == b'-'
    });
    objects
}
