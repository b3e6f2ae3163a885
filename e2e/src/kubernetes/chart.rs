//! The chart: installed, upgraded and uninstalled as a user does it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::commands::{headwater, helm, run};
use super::{Kubernetes, NAMESPACE, Ran};
use crate::program::repository;

/// Name of the release.
const RELEASE: &str = "headwater";
/// How long Helm waits.
const HELM_TIMEOUT: &str = "3m";

/// Whether the release is there. It belongs to whoever has the turn.
static INSTALLED: AtomicBool = AtomicBool::new(false);

impl Kubernetes {
    /// Brings an image to the nodes.
    pub(super) fn load_image(&self, archive: &Path) {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("{} \"$1\"", self.settings.load));
        run(shell.arg("load").arg(archive)).text();
    }

    /// Bytes of the image's archive.
    pub fn image_bytes(&self) -> u64 {
        let metadata = std::fs::metadata(&self.settings.archive);
        metadata.expect("the archive is there").len()
    }

    /// Begins with an empty namespace, whatever an earlier run has left.
    pub(super) async fn fresh_namespace(&self) {
        if self.is_namespace(NAMESPACE).await {
            helm(&[
                "uninstall",
                RELEASE,
                "-n",
                NAMESPACE,
                "--no-hooks",
                "--ignore-not-found",
            ])
            .text();
            let home = tempfile::tempdir().expect("a temporary folder");
            headwater(home.path(), &["k8s", "unstick", "-A", "--all", "--yes"]);
            self.delete_namespace(NAMESPACE).await;
        }
        self.create_namespace(NAMESPACE).await;
    }

    /// Installs the chart and waits until the operator runs. Nothing to do if it is there.
    pub fn install(&self) {
        if INSTALLED.load(Ordering::Relaxed) {
            return;
        }
        self.upgrade(&[]).text();
        INSTALLED.store(true, Ordering::Relaxed);
    }

    /// Installs or upgrades the chart with more arguments for Helm.
    pub fn upgrade(&self, arguments: &[&str]) -> Ran {
        let chart = repository().join("charts/headwater");
        let chart = chart.to_str().expect("the clone's path is text");
        let tag = format!("image.tag={}", self.settings.tag);
        let mut all = vec!["upgrade", "--install", RELEASE, chart, "-n", NAMESPACE];
        all.extend(["--set", &tag, "--wait", "--timeout", HELM_TIMEOUT]);
        all.extend(arguments);
        helm(&all)
    }

    /// Uninstalls the chart, with more arguments for Helm, and waits until the operator is gone.
    pub async fn uninstall(&self, arguments: &[&str]) {
        INSTALLED.store(false, Ordering::Relaxed);
        let mut all = vec!["uninstall", RELEASE, "-n", NAMESPACE];
        all.extend(["--wait", "--timeout", HELM_TIMEOUT]);
        all.extend(arguments);
        helm(&all).text();
        self.eventually("the operator's pods go", async || {
            self.operator_pods().await.is_empty().then_some(())
        })
        .await;
    }

    /// Runs the chart's own test against a Cluster.
    pub fn helm_test(&self, cluster: &str) -> String {
        self.upgrade(&["--set", &format!("test.cluster={cluster}")])
            .text();
        helm(&["test", RELEASE, "-n", NAMESPACE, "--logs"]).text()
    }
}
