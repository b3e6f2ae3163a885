//! What a connection costs on which nothing happens after a greeting.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use headwater_e2e::BrokerOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::process::usage;
use crate::rounds::{Outcome, Rounds};
use crate::systems::{Class, Headwater, Kafka, Nats, System, Who};

/// The preface of HTTP/2 and an empty SETTINGS frame.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A request for ApiVersions, version 0, without a client id.
const KAFKA: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
const NATS: &[u8] = b"CONNECT {\"verbose\":false}\r\nPING\r\n";

const REST: Duration = Duration::from_secs(2);

/// On servers of their own.
pub(crate) fn connections(bench: &mut Bench, rounds: &mut Rounds) {
    let count = bench.count(5_000);
    let subject = |who: Who| who.subject(Class::Unsynced);
    rounds.measure(subject(Who::Headwater), || {
        let headwater = Headwater::start(BrokerOptions {
            settings: vec!["limits.connections_max=6000".to_owned()],
            ..BrokerOptions::default()
        });
        held(&headwater, headwater.port()?, HTTP2, count)
    });
    rounds.measure(subject(Who::Kafka), || {
        let kafka = Kafka::start(bench.tools())?;
        held(&kafka, kafka.port(), KAFKA, count)
    });
    rounds.measure(subject(Who::Nats), || {
        let nats = Nats::start(bench.tools(), Class::Unsynced)?;
        held(&nats, nats.port(), NATS, count)
    });
}

fn held(system: &dyn System, port: u16, hello: &[u8], count: u64) -> Outcome {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    sleep(REST);
    let before = usage(system.pid())?;
    let connections: Vec<TcpStream> = (0..count)
        .map(|number| greet(port, hello).with_context(|| format!("connection {number}")))
        .collect::<Result<_>>()?;
    sleep(REST);
    let after = usage(system.pid())?;
    drop(connections);
    let grown_mib = (after.resident_mib - before.resident_mib).max(0.0);
    let bytes_each = grown_mib * f64::from(1 << 20) / count as f64;
    let sample = Sample::from([
        (Figure::IdleMib, before.resident_mib),
        (Figure::ResidentMib, after.resident_mib),
        (Figure::BytesPerConnection, bytes_each),
    ]);
    Ok((sample, "each was greeted back"))
}

/// Says hello and waits for an answer.
fn greet(port: u16, hello: &[u8]) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    connection.write_all(hello)?;
    connection.read_exact(&mut [0])?;
    Ok(connection)
}
