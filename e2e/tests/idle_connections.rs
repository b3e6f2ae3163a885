//! Thousands of connections that do nothing cost little and keep nobody out for long.
#![allow(clippy::print_stderr, reason = "what was measured is for who runs it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use headwater_client::types::TopicConfig;
use headwater_client::{Client, Record};
use headwater_e2e::{Broker, BrokerOptions, everything};

/// What the broker is told to take, and what is tried.
const ALLOWED: usize = 4_000;
const TRIED: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_bounded_and_do_not_stop_those_who_work() {
    if !everything("") {
        return;
    }
    let settings = vec![format!("limits.connections_max={ALLOWED}")];
    let broker = Broker::start_with(BrokerOptions {
        settings,
        ..BrokerOptions::default()
    });
    let client = broker.client().await;
    client
        .admin()
        .create_topic("busy", 1, TopicConfig::default(), false)
        .await
        .unwrap();
    append(&client, 0).await;

    let before = broker.resident_bytes();
    let (mut holder, open) = hold(&broker);
    let each = (broker.resident_bytes() - before) / open as u64;
    eprintln!("{open} of {TRIED} idle connections stayed open, {each} bytes of memory each");
    // The client's own connections count too.
    assert!(
        (ALLOWED - 10..=ALLOWED).contains(&open),
        "{open} connections stayed open"
    );
    assert!(each < 64 << 10, "{each} bytes for each idle connection");
    append(&client, 1).await;

    drop(holder.stdin.take());
    holder.wait().unwrap();
    let newcomer = broker.client().await;
    append(&newcomer, 2).await;
}

async fn append(client: &Client, expected_offset: u64) {
    let record = Record {
        value: Some(Bytes::from_static(b"x")),
        ..Record::default()
    };
    let ack = client
        .append("busy", 0, Some(expected_offset), vec![record])
        .await
        .unwrap();
    assert_eq!(ack.base_offset, Some(expected_offset));
}

/// Starts the process that holds connections; says how many stayed open.
fn hold(broker: &Broker) -> (Child, usize) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_hold-connections"))
        .args([&broker.endpoint(), &TRIED.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (holder, line.trim().parse().expect("a count"))
}
