//! Credentials that are wrong, or change while a broker runs.

use headwater_e2e::{Account, Versitygw};

use crate::stage::{Credentials, Stage, together};

const SMALLEST: u64 = 64 << 10;

/// Records that fill several segments.
fn lines(from: usize) -> String {
    let lines = (from..from + 3_000).map(|n| format!("{n:05} {}\n", "x".repeat(94)));
    lines.collect()
}

fn produce(stage: &Stage, lines: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("lines");
    std::fs::write(&file, lines).unwrap();
    stage.run(&["produce", "t", "--file", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_replaced_while_the_broker_runs() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let (first, second) = (Account::new("first"), Account::new("second"));
    server.add(&first);
    server.add(&second);
    let credentials = Credentials::new(&first);
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, SMALLEST);
    stage.run(&["topic", "create", "t", "--partitions", "1"]);
    produce(&stage, &lines(0));
    let before = stage.settled("t").await;

    // As a Secret is rotated: the new one is there, and a little later the old one is no good.
    credentials.replace(&second);
    server.remove(&first);
    produce(&stage, &lines(3_000));
    let after = stage.settled("t").await;
    assert!(before[0].tier_end_offset < after[0].tier_end_offset);
    stage.verify();
    assert!(stage.run(&["consume", "t"]) == lines(0) + &lines(3_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_wrong_credentials_serves_says_so_and_catches_up_when_they_are_right() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let mut wrong = server.root().clone();
    wrong.secret = Account::new("wrong").secret;
    let credentials = Credentials::new(&wrong);
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, SMALLEST);
    stage.run(&["topic", "create", "t", "--partitions", "1"]);
    produce(&stage, &lines(0));
    assert!(stage.run(&["consume", "t"]) == lines(0));
    let finding = stage.finding("TIER_UNAVAILABLE", true).await.unwrap();
    let shown = stage.run(&["tier", "status", "t"]);
    eprintln!(
        "{}: {}; {}",
        finding.reason, finding.message, finding.remedy
    );
    eprintln!("$ headwater tier status t\n{shown}");
    assert!(finding.remedy.contains("credentials"), "{finding:?}");
    for said in [&finding.message, &shown, &stage.broker.log()] {
        assert!(!said.contains(&wrong.secret), "a secret is told: {said}");
    }

    credentials.replace(server.root());
    stage.settled("t").await;
    stage.finding("TIER_UNAVAILABLE", false).await;
    assert!(stage.run(&["consume", "t"]) == lines(0));
    stage.verify();
}
