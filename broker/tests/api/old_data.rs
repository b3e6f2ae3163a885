//! Data directories that earlier versions have left, see `tests/fixtures`.

use std::fs;

use super::*;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_of_version_0_1_opens_and_serves_what_is_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    copy(&root.join("tests/fixtures/data-0.1"), dir.path());
    let mut harness = Harness::start_on(dir, &[("form", "false")]).await;
    let topics = harness
        .topics
        .list_topics(v1::ListTopicsRequest::default())
        .await
        .unwrap();
    let names: Vec<_> = topics
        .into_inner()
        .topics
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["default/kept"]);
    let sample = fs::read_to_string(root.join("../examples/data/flights-2013-01-01.ndjson"));
    let mut expected: Vec<String> = sample
        .unwrap()
        .lines()
        .take(40)
        .map(|line| {
            let value = line
                .split_once("\"value\":")
                .expect("every line has a value")
                .1;
            value[..value.len() - 1].to_owned()
        })
        .collect();
    let mut values = harness.values("kept", 0).await;
    values.extend(harness.values("kept", 1).await);
    expected.sort();
    values.sort();
    assert_eq!(values, expected);
    assert_eq!(harness.produce("kept", 0, &["and on"]).await, 16);
}
