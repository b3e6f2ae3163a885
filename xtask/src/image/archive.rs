//! A docker-archive: a tar of `manifest.json`, the image's configuration, and its layer.
//!
//! The manifest names the other two, which are named by their SHA-256. The configuration carries
//! the layer's hash, so that its own hash stands for the whole content; it is the image's id.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::layout::{File, NONROOT};

/// What makes an image.
pub(super) struct Image<'a> {
    /// Architecture in the words of container images.
    pub(super) architecture: &'static str,
    /// The file system, as [`layer`] packs it.
    pub(super) layer: Vec<u8>,
    /// Name without a tag.
    pub(super) repository: &'a str,
    /// Version of the programs.
    pub(super) version: &'a str,
    /// Seconds since 1970.
    pub(super) created: u32,
}

/// An image, packed.
pub(super) struct Packed {
    /// The archive.
    pub(super) bytes: Vec<u8>,
    /// Name with the tag that no other content has.
    pub(super) content_tag: String,
}

/// The name that container images have for an architecture.
pub(super) fn architecture(rust: &str) -> Result<&'static str> {
    match rust {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image is made for {other}"),
    }
}

/// Packs an image.
pub(super) fn pack(image: &Image<'_>) -> Result<Packed> {
    let layer_hash = sha256(&image.layer);
    let config = config(image, &layer_hash);
    let id = sha256(&config);
    let version_tag = format!("{}:{}", image.repository, image.version);
    let content_tag = format!("{version_tag}-{}", &id[..super::CONTENT_TAG_DIGITS]);

    let config_name = format!("{id}.json");
    let layer_name = format!("{layer_hash}.tar");
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [version_tag, content_tag],
        "Layers": [layer_name],
    }]);
    let mut tar = Builder::new(Vec::new());
    for (name, content) in [
        ("manifest.json", manifest.to_string().as_bytes()),
        (&config_name, &config),
        (&layer_name, &image.layer),
    ] {
        append(&mut tar, name, (0o644, 0), Some(content), image.created)?;
    }
    Ok(Packed {
        bytes: tar.into_inner()?,
        content_tag,
    })
}

/// Packs a file system as a layer.
pub(super) fn layer(files: &BTreeMap<String, File>, created: u32) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, file) in files {
        let rights = (file.mode, file.owner);
        append(&mut tar, path, rights, file.content.as_deref(), created)?;
    }
    Ok(tar.into_inner()?)
}

/// The image's configuration, as JSON, after the OCI image specification.
fn config(image: &Image<'_>, layer_hash: &str) -> Vec<u8> {
    let created = prost_types::Timestamp {
        seconds: image.created.into(),
        nanos: 0,
    }
    .to_string();
    let config = json!({
        "architecture": image.architecture,
        "os": "linux",
        "created": created,
        "config": {
            "User": format!("{NONROOT}:{NONROOT}"),
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": ["/usr/bin/headwater-broker"],
            // Clients, brokers among themselves, and probes with metrics.
            "ExposedPorts": { "7650/tcp": {}, "7651/tcp": {}, "7680/tcp": {} },
            "Labels": {
                "org.opencontainers.image.title": "headwater",
                "org.opencontainers.image.description":
                    "Event streaming for Kubernetes: broker, operator and command line",
                "org.opencontainers.image.version": image.version,
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_hash}")] },
        "history": [{ "created": created, "created_by": "cargo xtask image" }],
    });
    config.to_string().into_bytes()
}

/// Adds a file, or a directory if there is no content. Nothing of the machine gets in: no clock, no
/// user, no mode of a file on disk.
fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    (mode, owner): (u32, u32),
    content: Option<&[u8]>,
    created: u32,
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(match content {
        Some(_) => EntryType::Regular,
        None => EntryType::Directory,
    });
    let content = content.unwrap_or_default();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(created.into());
    tar.append_data(&mut header, path, content)?;
    Ok(())
}

/// SHA-256 in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::Value;
    use tar::Archive;

    use super::super::layout;
    use super::*;

    fn make(program: &[u8], created: u32) -> Packed {
        let files = layout::files(vec![("headwater", program.to_vec())]);
        let image = Image {
            architecture: "amd64",
            layer: layer(&files, created).unwrap(),
            repository: "headwater/headwater",
            version: "1.2.3",
            created,
        };
        pack(&image).unwrap()
    }

    /// Paths with headers and contents, in order.
    fn read(bytes: &[u8]) -> Vec<(String, Header, Vec<u8>)> {
        let mut archive = Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (path, entry.header().clone(), content)
            })
            .collect()
    }

    #[test]
    fn the_same_programs_give_the_same_bytes_and_others_another_tag() {
        let once = make(b"program", 0);
        assert!(once.bytes == make(b"program", 0).bytes);
        assert_ne!(once.content_tag, make(b"other", 0).content_tag);
        assert_ne!(once.content_tag, make(b"program", 1).content_tag);
    }

    #[test]
    fn manifest_configuration_and_layer_name_each_other_by_their_hashes() {
        let packed = make(b"program", 1_000_000_000);
        let files = read(&packed.bytes);
        let [
            (first, _, manifest),
            (config_name, _, config),
            (layer_name, _, layer),
        ] = &files[..]
        else {
            panic!("{} files", files.len());
        };
        assert_eq!(first, "manifest.json");
        let id = sha256(config);
        assert_eq!(*config_name, format!("{id}.json"));
        assert_eq!(*layer_name, format!("{}.tar", sha256(layer)));
        assert_eq!(
            packed.content_tag,
            format!("headwater/headwater:1.2.3-{}", &id[..12])
        );
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        assert_eq!(
            manifest,
            json!([{
                "Config": config_name,
                "RepoTags": ["headwater/headwater:1.2.3", packed.content_tag],
                "Layers": [layer_name],
            }])
        );
        let config: Value = serde_json::from_slice(config).unwrap();
        assert_eq!(
            config["rootfs"]["diff_ids"],
            json!([format!("sha256:{}", sha256(layer))])
        );
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["created"], "2001-09-09T01:46:40Z");
        assert_eq!(config["config"]["User"], "65532:65532");
    }

    #[test]
    fn the_layer_has_the_rights_of_the_layout_and_one_time() {
        let packed = make(b"program", 7);
        let (_, _, layer) = read(&packed.bytes).pop().unwrap();
        let entries = read(&layer);
        for (path, header, _) in &entries {
            assert_eq!(header.mtime().unwrap(), 7, "{path}");
            assert_eq!(header.uid().unwrap(), header.gid().unwrap(), "{path}");
        }
        let find = |wanted: &str| {
            let (_, header, content) = entries
                .iter()
                .find(|(path, ..)| path.trim_end_matches('/') == wanted)
                .unwrap();
            let rights = (header.mode().unwrap(), header.uid().unwrap());
            (header.entry_type(), rights, content.as_slice())
        };
        assert_eq!(
            find("usr/bin/headwater"),
            (EntryType::Regular, (0o755, 0), &b"program"[..])
        );
        assert_eq!(find("tmp"), (EntryType::Directory, (0o1777, 0), &b""[..]));
        assert_eq!(
            find("var/lib/headwater"),
            (EntryType::Directory, (0o750, 65532), &b""[..])
        );
    }
}
