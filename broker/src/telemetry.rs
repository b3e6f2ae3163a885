//! Logs: lines on standard error, for people or for machines.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, Logging};

/// Sends what this process logs to standard error, from now on.
///
/// # Errors
/// When the process already sends it somewhere.
pub fn init(logging: &Logging) -> Result<(), TryInitError> {
    let filter = filter(&logging.level).expect("the level was parsed with the settings");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match logging.format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => {
            use io::IsTerminal as _;
            builder
                .with_ansi(io::stderr().is_terminal())
                .finish()
                .try_init()
        }
    }
}

/// Parses the setting `log.level`.
pub(crate) fn check_level(text: &str) -> Result<String, String> {
    filter(text).map(|_| text.to_owned())
}

/// Libraries that log what is in the credentials they cannot read, at every level from `warn` on: they log nothing.
const SECRETIVE: &str = "reqsign";

fn filter(text: &str) -> Result<EnvFilter, String> {
    if text
        .split(',')
        .any(|word| word.trim_start().starts_with(SECRETIVE))
    {
        return Err(format!(
            "must not name {SECRETIVE}: it would log credentials"
        ));
    }
    let problem = "is neither error, warn, info, debug or trace nor a list such as \
                   info,headwater_log=debug";
    // A bare word that is no level would be taken for the name of a module, and silence the rest;
    // an empty one would pass for a level.
    let known = |word: &str| {
        let is_level = || word.parse::<LevelFilter>().is_ok();
        word.contains('=') || (!word.is_empty() && is_level())
    };
    if !text.split(',').all(known) {
        return Err(problem.to_owned());
    }
    let silent = format!("{SECRETIVE}=off").parse().expect("a directive");
    EnvFilter::builder()
        .parse(text)
        .map(|filter| filter.add_directive(silent))
        .map_err(|_| problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::check_level;

    #[test]
    fn levels_and_directives_are_told_from_mistakes() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,headwater_log=debug",
            "warn,headwater_core=trace",
        ] {
            assert_eq!(check_level(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "inof",
            "info,headwater_log",
            "info,headwater_log=loud",
            "a=b=c",
            "info,",
            "info, warn",
            "info,reqsign_core=debug",
        ] {
            assert!(check_level(bad).is_err(), "{bad:?}");
        }
    }
}
