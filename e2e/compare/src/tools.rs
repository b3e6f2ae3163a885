//! The peers' programs, from their registries into a cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::output_within;

/// As in `peers/kafka/pom.xml`, which says what Maven fetches.
pub(crate) const KAFKA_VERSION: &str = "4.3.1";
pub(crate) const NATS_SERVER_VERSION: &str = "v2.15.2";
pub(crate) const VERSITYGW_VERSION: &str = "v1.8.0";
const NATS_CLI_VERSION: &str = "v0.5.1";

/// How long fetching or compiling one of them may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Where everything is.
pub(crate) struct Tools {
    /// A class path: Kafka's jars, and our load beside them.
    pub(crate) kafka_class_path: String,
    pub(crate) nats_server: PathBuf,
    pub(crate) nats: PathBuf,
    /// Our own load for NATS.
    pub(crate) nats_load: PathBuf,
}

impl Tools {
    /// Fetches what is not there yet, and compiles the two loads.
    pub(crate) fn fetch() -> Result<Tools> {
        let cache = cache()?;
        let jars = cache.join(format!("kafka-{KAFKA_VERSION}"));
        once(&jars, |jars| {
            let mut maven = Command::new("mvn");
            maven
                .args(["-q", "-B", "-f"])
                .arg(peers().join("kafka/pom.xml"))
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", jars.display()));
            output_within(PATIENCE, &mut maven).map(drop)
        })?;
        let classes = cache.join("kafka-load");
        let mut javac = Command::new("javac");
        javac
            .args(["-cp", &format!("{}/*", jars.display()), "-d"])
            .arg(&classes)
            .arg(peers().join("kafka/Load.java"));
        output_within(PATIENCE, &mut javac)?;

        let nats_load = cache.join("nats-load");
        let mut build = Command::new("go");
        build
            .args(["build", "-o"])
            .arg(&nats_load)
            .arg(".")
            .current_dir(peers().join("nats"));
        output_within(PATIENCE, &mut build)?;
        Ok(Tools {
            kafka_class_path: format!("{}/*:{}", jars.display(), classes.display()),
            nats_server: go_install(
                &cache,
                "nats-server",
                "github.com/nats-io/nats-server/v2",
                NATS_SERVER_VERSION,
            )?,
            nats: go_install(
                &cache,
                "nats",
                "github.com/nats-io/natscli/nats",
                NATS_CLI_VERSION,
            )?,
            nats_load,
        })
    }

    /// A real S3 server; the tier alone needs it.
    pub(crate) fn versitygw() -> Result<PathBuf> {
        go_install(
            &cache()?,
            "versitygw",
            "github.com/versity/versitygw/cmd/versitygw",
            VERSITYGW_VERSION,
        )
    }
}

fn go_install(cache: &Path, program: &str, module: &str, version: &str) -> Result<PathBuf> {
    let folder = cache.join(format!("{program}-{version}"));
    once(&folder, |folder| {
        let mut go = Command::new("go");
        go.args(["install", &format!("{module}@{version}")])
            .env("GOBIN", folder);
        output_within(PATIENCE, &mut go).map(drop)
    })?;
    Ok(folder.join(program))
}

/// Fills a folder unless it is there; a run that was interrupted leaves none behind.
fn once(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().context("a folder in the cache")?;
    let filling = tempfile::tempdir_in(parent)?;
    fill(filling.path())?;
    fs::rename(filling.keep(), folder)?;
    Ok(())
}

fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("there is no HOME")?).join(".cache"),
    };
    let cache = base.join("headwater-compare");
    fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// Sources of the loads, and Kafka's coordinates.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maven_fetches_the_version_that_is_named() {
        let pom = fs::read_to_string(peers().join("kafka/pom.xml")).unwrap();
        assert!(pom.contains(&format!("<kafka.version>{KAFKA_VERSION}</kafka.version>")));
    }
}
