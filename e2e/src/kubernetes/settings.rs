//! What whoever runs the tests may set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::program::target_folder;

/// Loads an image if nothing else is said; the archive's path is its last argument.
const LOAD_DEFAULT: &str = "kind load image-archive";

/// What whoever runs the tests may set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `HEADWATER_E2E_IMAGE`, the archive that `cargo xtask image` wrote; its usual place if unset.
    pub(super) archive: PathBuf,
    /// `HEADWATER_E2E_TAG`, the tag to run; the archive's own, of its content, if unset.
    pub(super) tag: String,
    /// `HEADWATER_E2E_LOAD`, a command that brings an archive to the nodes.
    pub(super) load: String,
}

impl Settings {
    /// The same in all tests of this process, whatever happens to the archive meanwhile.
    pub(super) fn get() -> &'static Settings {
        static SETTINGS: OnceLock<Settings> = OnceLock::new();
        SETTINGS.get_or_init(Settings::from_env)
    }

    fn from_env() -> Settings {
        let archive = std::env::var_os("HEADWATER_E2E_IMAGE").map_or_else(
            || target_folder().join("headwater-image.tar"),
            PathBuf::from,
        );
        assert!(
            archive.is_file(),
            "{} is not there: make it by `cargo xtask image`, or name one in HEADWATER_E2E_IMAGE",
            archive.display()
        );
        let tag = set("HEADWATER_E2E_TAG").unwrap_or_else(|| content_tag(&archive));
        let load = set("HEADWATER_E2E_LOAD").unwrap_or_else(|| LOAD_DEFAULT.to_owned());
        Settings { archive, tag, load }
    }
}

/// A variable that is set to something.
pub(super) fn set(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
}

/// The tag that says what is in an archive, and not only its version.
fn content_tag(archive: &Path) -> String {
    let mut tar = Command::new("tar");
    tar.arg("-xOf").arg(archive).arg("manifest.json");
    let output = tar.output().expect("tar runs");
    let manifest: Value = serde_json::from_slice(&output.stdout).expect("a docker-archive");
    let tags = manifest[0]["RepoTags"].as_array().expect("it has tags");
    let tags = tags
        .iter()
        .filter_map(|name| name.as_str()?.rsplit_once(':'));
    let mut tags = tags.map(|(_, tag)| tag);
    let found = tags.find(|tag| tag.contains('-'));
    found.expect("one of them is of the content").to_owned()
}
