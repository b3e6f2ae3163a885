//! `headwater-broker`: arguments, signals, exit codes. The broker is in the library.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use headwater_broker::args::Args;
use headwater_broker::config::{ConfigError, Machine, RawConfig, Settings, print};
use headwater_broker::telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Stopped on request.
const STOPPED: u8 = 0;
/// Could not start, or had to stop; also the end without grace after a second signal.
const FAILED: u8 = 1;
/// Wrong flags or settings. Clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let (raw, settings) = match read(&args) {
        Ok(read) => read,
        Err(error) => return fail(USAGE, &error.into()),
    };
    if args.print_config {
        let told = io::stdout().write_all(print(&raw, &settings).as_bytes());
        return told.map_or_else(|error| fail(FAILED, &error.into()), |()| STOPPED.into());
    }
    match serve(settings) {
        Ok(()) => STOPPED.into(),
        Err(error) => fail(FAILED, &error),
    }
}

fn read(args: &Args) -> Result<(RawConfig, Settings), ConfigError> {
    let raw = RawConfig::read(&args.layers(std::env::vars_os())?)?;
    let settings = Settings::parse(&raw, &Machine::this()?)?;
    Ok((raw, settings))
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        headwater_broker::run(settings, stop).await
    })
}

/// Done at the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(
            signal = name,
            "stopping; a second signal ends the process at once"
        );
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "ending without a clean stop");
            std::process::exit(FAILED.into());
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn fail(status: u8, error: &anyhow::Error) -> ExitCode {
    // If standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "headwater-broker: {error:#}");
    status.into()
}
