//! `headwater`: the command line of Headwater.
//!
//! `args` is what can be said, `commands` is one file per command, `records` turns text into
//! records and back, `session` knows the flags and the cluster, `kubernetes` has the tunnels. Data
//! goes to stdout, talk to stderr; `failure` has the exit codes. Under the name `kubectl-headwater`
//! the program is `headwater k8s`.

mod args;
mod commands;
mod contexts;
mod failure;
mod kubernetes;
mod moment;
mod output;
mod place;
mod position;
mod records;
mod session;
mod talk;
mod units;

use std::process::ExitCode;

use crate::args::Command;
use crate::failure::{Exit, Failure, Outcome};
use crate::session::Session;

fn main() -> ExitCode {
    let (global, command) = args::parse();
    let session = Session::new(global);
    start_log(session.verbose);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            session
                .talk
                .failure(&Failure::new("cannot start").why(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(command, &session));
    // A thread that waits for stdin must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.exit != Exit::Interrupt {
                session.talk.failure(&failure);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        #[cfg(feature = "embedded")]
        Command::Quickstart(args) => commands::quickstart::run(args, session).await,
        Command::Topic(command) => interruptible(commands::topic::run(command, session)).await,
        Command::Produce(args) => commands::produce::run(args, session).await,
        Command::Consume(args) => commands::consume::run(args, session).await,
        Command::Tail(args) => commands::consume::tail(args, session).await,
        Command::Cluster(command) => interruptible(commands::cluster::run(command, session)).await,
        Command::Tier(command) => interruptible(commands::tier::run(command, session)).await,
        #[cfg(feature = "embedded")]
        Command::Restore(args) => interruptible(commands::restore::run(args, session)).await,
        Command::Doctor(args) => interruptible(commands::doctor::run(args, session)).await,
        Command::Perf(command) => commands::perf::run(command, session).await,
        Command::Context(command) => interruptible(commands::context::run(command, session)).await,
        Command::K8s(args) => commands::k8s::run(args, session).await,
        Command::Completion(args) => commands::completion::run(&args),
    }
}

/// Ctrl-C ends the command at once. Those that have something to say then listen themselves.
async fn interruptible<T>(command: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::select! {
        outcome = command => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted").exit(Exit::Interrupt)),
    }
}

/// The client's and, in `quickstart`, the broker's log: warnings unless more is asked for.
fn start_log(verbose: u8) {
    let default = match verbose {
        // What the API server refuses is said once, by the failure.
        0 | 1 => "warn,kube_client=off,rustls_platform_verifier=off",
        _ => "info,headwater_client=debug,headwater_broker=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEADWATER_LOG")
        .unwrap_or_else(|_| default.into())
        // It logs what is in credentials that it cannot read.
        .add_directive("reqsign=off".parse().expect("a directive"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
