//! A small file system, to be filled.

use std::path::Path;
use std::process::Command;

/// A file system of 64 MiB in memory; gone when dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Bytes of a segment in [`SmallDisk::settings`].
    pub const SEGMENT_BYTES: u64 = 1 << 20;

    /// Mounts one, which only root may; see [`crate::is_root`].
    pub fn mount() -> SmallDisk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=64m", "headwater-e2e"])
            .arg(folder.path());
        let mounted = mount.status().expect("there is a mount");
        assert!(mounted.success(), "mounting a tmpfs has failed");
        SmallDisk(folder)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Settings of a broker on it: marks that fit its size, segments that fill it one by one, and looks that find
    /// soon what has changed.
    pub fn settings() -> Vec<String> {
        let settings = [
            "disk_guard.reserve_bytes=4MiB",
            "disk_guard.low_water_bytes=8MiB",
            "disk_guard.high_water_bytes=16MiB",
            "topics.segment_bytes=1MiB",
            "storage.retention_check_interval=100ms",
        ];
        settings.map(str::to_owned).to_vec()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // If it stays mounted the temporary folder stays too, which is all the harm.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}
