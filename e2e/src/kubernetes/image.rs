//! A container image of one static program, packed as a docker-archive.

use std::fmt::Write as _;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

/// An image, packed.
pub(super) struct Packed {
    /// The archive.
    pub(super) bytes: Vec<u8>,
    /// Name with a tag that no other content has.
    pub(super) reference: String,
}

/// Packs a program that needs nothing but the kernel; it is `/<name>` and what the image runs.
pub(super) fn pack(name: &str, program: &[u8]) -> Packed {
    let layer = tar(&[(name, program, 0o755)]);
    let layer_hash = sha256(&layer);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [format!("/{name}")]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
    });
    let config = config.to_string();
    let id = sha256(config.as_bytes());
    let reference = format!("headwater-e2e/{name}:{}", &id[..12]);
    let (config_name, layer_name) = (format!("{id}.json"), format!("{layer_hash}.tar"));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [reference],
        "Layers": [layer_name],
    }]);
    let bytes = tar(&[
        ("manifest.json", manifest.to_string().as_bytes(), 0o644),
        (&config_name, config.as_bytes(), 0o644),
        (&layer_name, &layer, 0o644),
    ]);
    Packed {
        bytes,
        reference: format!("docker.io/{reference}"),
    }
}

/// Files with their modes; the same files give the same bytes.
fn tar(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        let appended = tar.append_data(&mut header, path, *content);
        appended.expect("memory takes it");
    }
    tar.into_inner().expect("memory takes it")
}

/// SHA-256 in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
