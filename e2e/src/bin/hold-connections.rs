//! Opens connections to an address, says how many stayed open, and holds them until its standard
//! input ends. A process of its own, so that its descriptors are not the test's.
#![allow(clippy::print_stdout, reason = "the count is what it is for")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What every HTTP/2 client says first: the preface and an empty SETTINGS frame.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .context("usage: hold-connections ADDRESS COUNT")?;
    let count: usize = arguments
        .next()
        .context("usage: hold-connections ADDRESS COUNT")?
        .parse()?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;

    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = TcpStream::connect(&address)?;
        // A connection that was closed at once fails here, or is found out below.
        if connection.write_all(HELLO).is_ok() {
            connections.push(connection);
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    connections.retain_mut(|connection| is_open(connection).unwrap_or(false));
    println!("{}", connections.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reads what has arrived; an end means that the other side has closed.
fn is_open(connection: &mut TcpStream) -> std::io::Result<bool> {
    connection.set_nonblocking(true)?;
    let mut heard = [0; 1024];
    loop {
        match connection.read(&mut heard) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
