//! What the file store needs of this process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use headwater_tier::store::FsHost;
use tokio::runtime::Handle;

/// Runs the file store's work on the runtime's threads for work that blocks.
pub(super) struct Host {
    runtime: Handle,
    root: PathBuf,
}

impl Host {
    pub(super) fn of_this_runtime(root: &Path) -> anyhow::Result<Host> {
        Ok(Host {
            runtime: Handle::try_current().context("a file store needs a runtime")?,
            root: root.to_owned(),
        })
    }
}

impl FsHost for Host {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        drop(self.runtime.spawn_blocking(work));
    }

    fn modified_ms(&self, path: &Path) -> io::Result<Option<i64>> {
        let modified = std::fs::metadata(self.root.join(path))?.modified()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).ok())
    }
}
