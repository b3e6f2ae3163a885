//! The tree stays readable: small files, documented crates, a map without holes.

use cargo_metadata::MetadataCommand;

use super::{expect_none, files};

/// Lines from which a file is surely two files; 100 to 400 feel right.
const FILE_LINES_MAX: usize = 800;

#[test]
fn no_source_file_swallows_its_neighbours() {
    let findings: Vec<_> = files()
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| FILE_LINES_MAX <= *lines)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    expect_none(
        &format!("source files of {FILE_LINES_MAX} lines or more"),
        &findings,
    );
}

#[test]
fn every_crate_says_what_it_is_and_stands_on_the_map() {
    let repository = crate::repository();
    let map = std::fs::read_to_string(repository.join("ARCHITECTURE.md")).unwrap();
    let metadata = MetadataCommand::new()
        .manifest_path(repository.join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();

    let mut findings = Vec::new();
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().unwrap();
        let below = folder.strip_prefix(repository.to_str().unwrap()).unwrap();
        if !map.contains(&format!("`{below}`")) {
            findings.push(format!("ARCHITECTURE.md does not name `{below}`"));
        }
        let entry = ["src/lib.rs", "src/main.rs"]
            .iter()
            .map(|file| folder.join(file))
            .find(|file| file.exists())
            .unwrap();
        let text = std::fs::read_to_string(&entry).unwrap();
        if !text.starts_with("//! ") || text.contains("Skeleton") {
            findings.push(format!(
                "{below}: {} does not begin with its purpose",
                entry
            ));
        }
    }
    expect_none("crates and the map", &findings);
}
