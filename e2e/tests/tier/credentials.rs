//! Credentials: where they may be, and what happens when they are wrong, or change while a broker runs.

use std::time::Duration;

use headwater_e2e::{Account, Versitygw};

use crate::emulators::{Azurite, FakeGcs, serve};
use crate::s3_server::S3Server;
use crate::stage::{Credentials, SMALLEST, Stage, together};

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

/// A broker that has to find its credentials itself has found them, and keeps them to itself.
async fn served_from(url: &str, variables: &[(&str, &str)], secret: &str) {
    let _turn = together().await;
    let stage = Stage::in_environment(url, variables);
    stage.run(&["topic", "create", "t", "--partitions", "1"]);
    produce(&stage, &lines(0));
    let status = stage.settled("t").await;
    assert!(status[0].tier_end_offset.is_some());
    assert!(stage.run(&["consume", "t"]) == lines(0));
    let said = stage.said().await;
    assert!(said.contains("headwater_tier_uploaded_bytes_total"));
    assert!(!said.contains(secret), "a secret is told: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_s3_come_from_the_environment() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let Account { access, secret } = server.root();
    let variables = [
        ("AWS_ACCESS_KEY_ID", access.as_str()),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
    ];
    let url = server.url("e2e").replace("region=us-east-1&", "");
    assert!(!url.contains("region"));
    served_from(&url, &variables, secret).await;
}

/// As a pod's role gives them (EKS Pod Identity, ECS): for a short time, by an address that the environment names.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_s3_come_from_the_role_of_a_pod() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let Account { access, secret } = server.root();
    let answer = serde_json::json!({
        "AccessKeyId": access, "SecretAccessKey": secret, "Token": "", "Expiration": "2999-01-01T00:00:00Z",
    });
    let address = format!("http://127.0.0.1:{}/role", serve(answer.to_string()));
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str())];
    served_from(&server.url("e2e"), &variables, secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_azure_come_from_the_environment() {
    let Some(server) = Azurite::start() else {
        return;
    };
    let secret = server.account_key();
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", server.account()),
        ("AZURE_STORAGE_ACCOUNT_KEY", secret),
    ];
    served_from(&server.url("e2e"), &variables, secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_google_come_from_the_environment() {
    let Some(server) = FakeGcs::start() else {
        return;
    };
    let credentials = Credentials::of(&[("credential.json", server.credential())]);
    let file = credentials.path().join("credential.json");
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
    served_from(&server.url("e2e"), &variables, FakeGcs::SUBJECT).await;
}

/// A broker serves without them, and says where it has looked.
async fn denied_with(url: &str, variables: &[(&str, &str)], secret: &str) -> String {
    let stage = Stage::in_environment(url, variables);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let log = loop {
        let log = stage.broker.log();
        if log.contains("the tier does not answer") {
            break log;
        }
        assert!(std::time::Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for place in [
        "check the credentials",
        "credentials are looked for in",
        "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "role",
        "tier.credentials_dir is not set",
    ] {
        assert!(log.contains(place), "{place}: {log}");
    }
    let said = stage.said().await;
    assert!(!said.contains(secret), "a secret is told: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_of_the_environment_are_told_by_their_place_and_not_shown() {
    let server = S3Server::start().await;
    let secret = Account::new("wrong").secret;
    let variables = [
        ("AWS_ACCESS_KEY_ID", server.access_key()),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    let said = denied_with(&server.url("e2e"), &variables, &secret).await;
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(server.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_credentials_serves_and_says_where_it_has_looked() {
    let server = S3Server::start().await;
    // Only half of them, and no machine to ask.
    let secret = Account::new("half").secret;
    let variables = [
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let said = denied_with(&server.url("e2e"), &variables, &secret).await;
    assert!(said.contains("failed to load signing credential"), "{said}");
    assert!(server.keys().is_empty());
}
