//! A broker is lost with its disk, and another is made of the bucket, as people would do it.

use headwater_e2e::{Versitygw, headwater};

use crate::flights::many;
use crate::stage::{Credentials, Stage, together};

const MIB: u64 = 1 << 20;
/// Where nobody listens: a restore asks no broker.
const NOWHERE: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn the_flights_of_a_lost_broker_come_back_from_its_bucket() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::new(server.root());
    let url = server.url("lost");
    let text = many();
    let source: Vec<&str> = text.lines().collect();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("flights.ndjson");
    std::fs::write(&file, &text).unwrap();

    let mut lost = Stage::in_bucket(&url, &credentials, MIB);
    let create = ["topic", "create", "flights", "--partitions", "1"];
    lost.run(&[&create[..], &["--retention", "2h"]].concat());
    lost.run(&["produce", "flights", "--file", file.to_str().unwrap()]);
    let status = lost.settled("flights").await;
    let tiered = status[0].tier_end_offset.unwrap() as usize;
    assert!(0 < tiered && tiered < source.len());
    let described = lost.run(&["topic", "describe", "flights", "-o", "json"]);
    lost.broker.kill();
    std::fs::remove_dir_all(lost.broker.data_dir()).unwrap();

    let data_dir = scratch.path().join("restored");
    let folder = credentials.path().to_str().unwrap();
    let arguments = [
        "restore",
        "--from",
        &url,
        "--credentials-dir",
        folder,
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    let dry = headwater(NOWHERE, &[&arguments[..], &["--dry-run"]].concat());
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && said.contains("flights"), "{dry:?}");
    assert!(!data_dir.exists(), "a dry run writes nothing");
    let output = headwater(NOWHERE, &arguments);
    assert!(output.status.success(), "{output:?}");
    eprintln!(
        "$ headwater restore\n{}",
        String::from_utf8_lossy(&output.stdout)
    );

    let restored = Stage::restored(&data_dir, &url, &credentials, MIB);
    let found = restored.run(&["consume", "flights", "-o", "ndjson"]);
    let found: Vec<&str> = found.lines().collect();
    assert!(found == source[..tiered], "{} of {tiered}", found.len());
    let config =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["config"].clone();
    let now = restored.run(&["topic", "describe", "flights", "-o", "json"]);
    assert_eq!(config(&now), config(&described));

    // It goes on where the old one was, into the same bucket.
    restored.run(&["produce", "flights", "--file", file.to_str().unwrap()]);
    restored.settled("flights").await;
    let found = restored.run(&["consume", "flights", "-o", "ndjson"]);
    assert!(
        found
            .lines()
            .eq(source[..tiered].iter().chain(&source).copied())
    );
    restored.verify();
}
