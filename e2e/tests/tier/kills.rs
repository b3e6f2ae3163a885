//! A broker that is killed while it uploads loses nothing and believes nothing that is not so.

use std::time::Duration;

use headwater_client::types::TopicConfig;
use headwater_e2e::{Load, Versitygw, read_all, seed};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::stage::{Credentials, SMALLEST, Stage, segment_objects, together};

const PARTITIONS: u32 = 3;
const KILLS: u32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_while_it_uploads_loses_nothing() {
    let Some(mut server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let mut rng = StdRng::seed_from_u64(seed());
    let credentials = Credentials::new(server.root());
    let mut stage = Stage::in_bucket(&server.url("e2e"), &credentials, SMALLEST);
    let client = stage.broker.client().await;
    let admin = client.admin();
    let created = admin.create_topic("t", PARTITIONS, TopicConfig::default(), false);
    created.await.unwrap();
    let load = Load::start(&client, "t", PARTITIONS, 2);
    for number in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_500))).await;
        stage.broker.kill();
        // Now and then the store goes with it.
        if number % 5 == 4 {
            server.kill();
            server.restart();
        }
        stage.broker.restart();
    }
    let history = load.finish().await;
    let status = stage.settled("t").await;

    let faults = history.faults(&read_all(&client, "t").await);
    assert!(
        faults.is_empty(),
        "{} faults: {:#?}",
        faults.len(),
        &faults[..faults.len().min(10)]
    );
    assert_eq!(
        history.unknown_count(),
        0,
        "a restart is no reason to give up"
    );
    let verified = stage.verify();
    let named: i64 = status
        .iter()
        .map(|partition| partition.tiered_segments)
        .sum();
    let objects = segment_objects(&server.bucket()).len() as i64;
    eprintln!(
        "{KILLS} kills: {} records acked, {named} segments in the tier, and {} objects of uploads \
         that were cut off\n{verified}",
        history.acked_count(),
        objects - named,
    );
    assert!(named <= objects);
    assert!(
        i64::from(KILLS) < named,
        "there was hardly anything to upload"
    );
}
