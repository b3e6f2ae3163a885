//! Makes what is committed and made: `proto/src/gen` from the `.proto` files, without a protocol
//! compiler on the machine, the YAML of the resource definitions, and what the chart makes of them.
//!
//! protox parses the files; tonic's generator writes messages, clients and servers. The result is
//! committed, and a test compares it with what would be made now.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;

/// Where the made files live, below the top of the repository.
const OUTPUT: &str = "proto/src/gen";

/// Writes the made files and removes those that are made no more.
pub(crate) fn write(repository: &Path) -> Result<()> {
    let output = repository.join(OUTPUT);
    let made = make(repository)?;
    fs::create_dir_all(&output)?;
    for file in fs::read_dir(&output)? {
        let file = file?;
        if !made.contains_key(Path::new(&file.file_name())) {
            fs::remove_file(file.path())?;
        }
    }
    for (name, content) in &made {
        fs::write(output.join(name), content)?;
        println!("{OUTPUT}/{}: {} bytes", name.display(), content.len());
    }
    for (name, content) in headwater_crds::definitions() {
        fs::write(repository.join("crds").join(name), &content)?;
        println!("crds/{name}: {} bytes", content.len());
    }
    for (path, content) in crate::chart::make(repository)? {
        fs::write(repository.join(&path), &content)?;
        println!("{path}: {} bytes", content.len());
    }
    Ok(())
}

/// The files that belong into [`OUTPUT`], by name.
fn make(repository: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let root = repository.join("proto");
    let descriptors = protox::compile(protos(&root)?, [&root]).context("parsing .proto files")?;

    let scratch = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .bytes(".")
        .emit_rerun_if_changed(false)
        .out_dir(scratch.path())
        .compile_fds(descriptors.clone())
        .context("generating Rust code")?;

    let mut made = BTreeMap::new();
    for file in fs::read_dir(scratch.path())? {
        let file = file?;
        made.insert(PathBuf::from(file.file_name()), fs::read(file.path())?);
    }
    // Reflection has no use for comments and line numbers, which are most of the bytes.
    let mut descriptors = descriptors;
    // And what is internal is not shown to clients.
    descriptors
        .file
        .retain(|file| !file.name().starts_with("headwater/internal/"));
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    made.insert("descriptor.bin".into(), descriptors.encode_to_vec());
    Ok(made)
}

/// All `.proto` files of the contract, sorted.
fn protos(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("headwater")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_code_is_what_the_proto_files_make() {
        let repository = crate::repository();
        let made = make(repository).unwrap();
        let mut committed = BTreeMap::new();
        for file in fs::read_dir(repository.join(OUTPUT)).unwrap() {
            let file = file.unwrap();
            committed.insert(
                PathBuf::from(file.file_name()),
                fs::read(file.path()).unwrap(),
            );
        }
        let differing: Vec<_> = made
            .keys()
            .chain(committed.keys())
            .filter(|name| made.get(*name) != committed.get(*name))
            .collect();
        assert!(
            differing.is_empty(),
            "{differing:?} in {OUTPUT} differ: run `cargo xtask codegen` and commit the result"
        );
    }

    #[test]
    fn the_committed_definitions_are_what_the_types_make() {
        for (name, made) in headwater_crds::definitions() {
            let committed = fs::read_to_string(crate::repository().join("crds").join(name));
            assert_eq!(
                committed.unwrap(),
                made,
                "crds/{name} differs: run `cargo xtask codegen` and commit the result"
            );
        }
    }
}
