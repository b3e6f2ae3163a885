//! An API server that is away for a while.

use std::process::Command;

use super::commands::run;
use super::settings::set;

/// The commands that stop the control plane and start it again. It is started when this is dropped.
pub struct ApiOutage {
    start: String,
    under_way: bool,
    stop: String,
}

impl ApiOutage {
    /// From `HEADWATER_E2E_API_STOP` and `HEADWATER_E2E_API_START`; says so if they are not set.
    pub fn from_env() -> Option<ApiOutage> {
        let stop = set("HEADWATER_E2E_API_STOP");
        let start = set("HEADWATER_E2E_API_START");
        let (Some(stop), Some(start)) = (stop, start) else {
            eprintln!(
                "not run: needs commands that stop and start the API server in \
                 HEADWATER_E2E_API_STOP and HEADWATER_E2E_API_START"
            );
            return None;
        };
        Some(ApiOutage {
            start,
            under_way: false,
            stop,
        })
    }

    /// Takes the API server away.
    pub fn begin(&mut self) {
        self.under_way = true;
        shell(&self.stop).text();
    }

    /// Brings it back.
    pub fn end(&mut self) {
        self.under_way = false;
        shell(&self.start).text();
    }
}

impl Drop for ApiOutage {
    fn drop(&mut self) {
        if self.under_way {
            shell(&self.start);
        }
    }
}

fn shell(command: &str) -> super::Ran {
    run(Command::new("sh").arg("-c").arg(command))
}
