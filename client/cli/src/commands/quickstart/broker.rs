//! The broker inside the command.

use std::io::ErrorKind;
use std::path::Path;

use headwater_broker::config::Settings;
use headwater_broker::{Running, start};

use super::STOP_MAX;
use crate::failure::{Failure, Outcome};

/// Where clients look first.
pub(super) const LISTEN_DEFAULT: &str = "127.0.0.1:7650";

const HTTP_DEFAULT: &str = "127.0.0.1:7680";
const FREE_PORT: &str = "127.0.0.1:0";

/// A broker that ends with this process.
pub(super) struct LocalBroker {
    running: Running,
}

impl LocalBroker {
    /// Opens or makes the data directory and listens.
    pub(super) async fn start(
        dir: &Path,
        listen: &str,
        http: Option<&str>,
    ) -> Outcome<LocalBroker> {
        let http = match http {
            Some(http) => http,
            None if listen == LISTEN_DEFAULT => HTTP_DEFAULT,
            None => FREE_PORT,
        };
        let Some(dir_text) = dir.to_str() else {
            return Err(Failure::usage("the data directory is not named in Unicode")
                .fix("choose another with --dir"));
        };
        let settings = Settings::embedded(&[
            ("data_dir", dir_text),
            ("form", "true"),
            ("listen.client", listen),
            ("listen.http", http),
            // Sealed segments go to a folder beside the logs, so that the quickstart shows how a tier works.
            ("tier.url", "fs:"),
        ]);
        let settings = settings.map_err(|error| {
            Failure::usage("the broker cannot run with these settings")
                .why(error.to_string())
                .fix("headwater quickstart --dir DIR --listen 127.0.0.1:7650")
        })?;
        match start(settings).await {
            Ok(running) => Ok(LocalBroker { running }),
            Err(error) => {
                let io = error
                    .chain()
                    .find_map(|cause| cause.downcast_ref::<std::io::Error>());
                let kind = io.map(std::io::Error::kind);
                Err(not_started(kind, format!("{error:#}"), dir))
            }
        }
    }

    /// Where clients connect.
    pub(super) fn endpoint(&self) -> String {
        self.running.client_address().to_string()
    }

    /// Returns if the data directory fails.
    pub(super) async fn failed(&self) -> Failure {
        let mut failure = self.running.failure();
        let reason = match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the broker has ended".to_owned(),
        };
        Failure::new("the broker's data directory has failed")
            .why(reason)
            .fix("look at the disk, then start again: the data directory is checked and recovered")
    }

    /// Syncs and closes everything.
    pub(super) async fn stop(self) -> Outcome {
        let stopped = tokio::time::timeout(STOP_MAX, self.running.stop()).await;
        let why = match stopped {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("it took longer than {STOP_MAX:?}"),
        };
        Err(Failure::new("the broker did not stop cleanly")
            .why(why)
            .fix("nothing: acknowledged records are safe, and the next start recovers the rest"))
    }
}

fn not_started(kind: Option<ErrorKind>, why: String, dir: &Path) -> Failure {
    let failure = Failure::new("cannot start the broker").why(why);
    let dir = dir.display();
    match kind {
        Some(ErrorKind::AddrInUse) => failure.fix(
            "stop what listens there (a quickstart that still runs?), or take a free port: \
             headwater quickstart --listen 127.0.0.1:0",
        ),
        Some(ErrorKind::PermissionDenied) => {
            failure.fix(format!("make {dir} writable, or choose another with --dir"))
        }
        _ => failure.fix(format!(
            "stop whatever else uses {dir}, or choose another: headwater quickstart --dir DIR"
        )),
    }
}

/// Ctrl-C or a polite kill.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without it Ctrl-C is still there.
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
