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
    opens(&[("form", "false")]).await;
}

#[tokio::test]
async fn it_gets_a_tier_as_well() {
    let settings = [
        ("form", "false"),
        ("tier.url", "fs:"),
        ("tier.commit_interval", "250ms"),
        ("topics.local_retention_bytes", "0"),
        ("topics.segment_bytes", "64KiB"),
        ("topics.message_bytes_max", "64KiB"),
    ];
    let mut harness = opens(&settings).await;
    let many: Vec<String> = (0..200)
        .map(|n| format!("{n}-{}", "x".repeat(1_000)))
        .collect();
    for value in &many {
        harness.produce("kept", 0, &[value]).await;
    }
    let request = v1::GetTierStatusRequest::default();
    let started = std::time::Instant::now();
    loop {
        let status = harness.tier.get_tier_status(request.clone()).await.unwrap();
        let partitions = status.into_inner().partitions;
        if partitions
            .iter()
            .any(|partition| partition.local_start_offset > 16)
        {
            break;
        }
        assert!(started.elapsed().as_secs() < 30, "{partitions:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let values = harness.values("kept", 0).await;
    assert_eq!(values[17..], many);
    harness.broker.stop().await.unwrap();
}

/// Opens the directory, reads what is in it, and writes one record.
async fn opens(settings: &[(&str, &str)]) -> Harness {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    copy(&root.join("tests/fixtures/data-0.1"), dir.path());
    let mut harness = Harness::start_on(dir, settings).await;
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
    harness
}
