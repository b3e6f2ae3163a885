//! Azure Blob Storage and Google Cloud Storage, as their emulators understand them: azurite and fake-gcs-server. Both
//! enforce conditions on writes, without which a broker does not start.

use std::path::Path;

use headwater_e2e::{Broker, BrokerOptions};

use crate::emulators::{Azurite, FakeGcs};
use crate::flights::many;
use crate::stage::{Credentials, Stage, together};
use crate::there_and_back::there_and_back;

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn flights_come_back_from_azurite_as_they_went_in() {
    let Some(server) = Azurite::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::of(&[("account_key", server.account_key())]);
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, MIB);
    there_and_back(stage, 1, &many(), &server.url("e2e")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_come_back_from_fake_gcs_server_as_they_went_in() {
    let Some(server) = FakeGcs::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::of(&[("credential.json", server.credential())]);
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, MIB);
    there_and_back(stage, 1, &many(), &server.url("e2e")).await;
}

/// The library that signs requests logs the whole of a file of credentials that it cannot read.
#[test]
fn what_is_in_credentials_is_not_logged() {
    const SECRET: &str = "aHVzaC1odXNoLWh1c2g=";
    let json = format!("{{\"type\":\"external_account\",\"private_key\":\"{SECRET}\"}}");
    let cases: [(&str, &[(&str, &str)]); 3] = [
        (
            "gcs://bucket/e2e?endpoint=http://127.0.0.1:1",
            &[("credential.json", &json)],
        ),
        (
            "azblob://container/e2e?account=me&endpoint=http://127.0.0.1:1",
            &[("account_key", SECRET)],
        ),
        (
            "s3://bucket/e2e?region=us-east-1&endpoint=http://127.0.0.1:1",
            &[("access_key_id", "me"), ("secret_access_key", SECRET)],
        ),
    ];
    for (url, files) in cases {
        let credentials = Credentials::of(files);
        let log = log_of(url, credentials.path());
        assert!(log.contains("the tier does not"), "{url}: {log}");
        assert!(!log.contains(SECRET), "{url}: {log}");
    }
}

/// What a broker logs whose store cannot be used.
fn log_of(url: &str, credentials: &Path) -> String {
    let mut broker = Broker::start_with(BrokerOptions {
        settings: vec![
            format!("tier.url={url}"),
            format!("tier.credentials_dir={}", credentials.display()),
            "log.level=trace".to_owned(),
        ],
        ..BrokerOptions::default()
    });
    broker.stop();
    broker.log()
}
