//! What the tier relies on with its store, held against real servers, with the broker's own way to them.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use headwater_broker::tier::store::{self, StoreMetrics, StoreOptions};
use headwater_e2e::Versitygw;
use headwater_tier::store::suite;

use crate::emulators::{Azurite, FakeGcs};
use crate::stage::{Credentials, together};

/// What brokers send.
const PART_BYTES: usize = 5 << 20;

/// Each test of the suite has a prefix of its own.
async fn keeps_the_contract(
    url: impl Fn(&str) -> String,
    credentials: &Credentials,
    part_bytes: usize,
) {
    let _turn = together().await;
    let options = StoreOptions {
        part_bytes,
        retry_delay_min: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    let made = Cell::new(0);
    suite::run(async || {
        made.set(made.get() + 1);
        let (url, dir) = (url(&format!("run/{}", made.get())), credentials.path());
        let metrics = StoreMetrics::default();
        store::open(&url, Some(dir), Path::new("."), &options, &metrics).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_keeps_the_contract() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let credentials = Credentials::new(server.root());
    keeps_the_contract(|prefix| server.url(prefix), &credentials, PART_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite_keeps_the_contract() {
    let Some(server) = Azurite::start() else {
        return;
    };
    let credentials = Credentials::of(&[("account_key", server.account_key())]);
    keeps_the_contract(|prefix| server.url(prefix), &credentials, PART_BYTES).await;
}

/// It knows no uploads in parts, as opendal makes them (0.59.5): no object of the suite has several here.
#[tokio::test(flavor = "multi_thread")]
async fn fake_gcs_server_keeps_the_contract() {
    let Some(server) = FakeGcs::start() else {
        return;
    };
    let credentials = Credentials::of(&[("credential.json", server.credential())]);
    keeps_the_contract(|prefix| server.url(prefix), &credentials, 16 << 20).await;
}
