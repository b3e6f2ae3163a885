//! The container image, made without Docker: `cargo xtask image`.
//!
//! Three programs, built statically, in one layer that holds nothing else to run: no shell, no
//! libraries. The result is a docker-archive of one platform, the form that `docker load`,
//! `kind load image-archive` and `ctr images import` all take. The same programs give the same
//! bytes, whatever the day and the user.
//!
//! The `Dockerfile` packs what this command makes.

mod archive;
mod layout;
mod program;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};
use clap::Args;

/// Packages that the image holds a program of, and the names of the programs.
const PROGRAMS: [(&str, &str); 3] = [
    ("headwater-broker", "headwater-broker"),
    ("headwater-cli", "headwater"),
    ("headwater-operator", "headwater-operator"),
];

/// Name in a registry. Container runtimes read it as `docker.io/headwater/headwater`.
const REPOSITORY: &str = "headwater/headwater";

/// Digits of the content's hash in a tag: 48 bits, short enough to read.
const CONTENT_TAG_DIGITS: usize = 12;

/// A limit on growth by accident, such as programs that were not stripped. Every node of a
/// cluster pulls the image, and a broker's restart on a new node waits for it.
const ARCHIVE_BYTES_MAX: usize = 85_000_000;

/// Builds the image.
#[derive(Args)]
pub(crate) struct Image {
    /// Where the archive goes [default: headwater-image.tar in cargo's target directory]
    #[arg(long)]
    output: Option<PathBuf>,
    /// Packs the programs of an earlier build.
    #[arg(long)]
    no_build: bool,
}

/// Builds, packs and writes the image. The last two lines on stdout are for scripts.
pub(crate) fn run(arguments: &Image, repository: &Path) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "`cargo xtask image` needs Linux, for it links Linux programs: \
         use the Dockerfile instead (`docker build --tag {REPOSITORY} .`)"
    );
    let workspace = MetadataCommand::new()
        .manifest_path(repository.join("Cargo.toml"))
        .no_deps()
        .exec()?;
    // Programs are built for the architecture that builds them.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    if !arguments.no_build {
        build(&target)?;
    }

    let built = workspace.target_directory.join(&target).join("release");
    let mut programs = Vec::new();
    for (_, name) in PROGRAMS {
        let bytes = program::stripped(built.join(name).as_std_path())?;
        eprintln!("{name}: {}", megabytes(bytes.len()));
        programs.push((name, bytes));
    }
    let created = created(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    let version = version(&workspace)?;
    let image = archive::Image {
        architecture: archive::architecture(std::env::consts::ARCH)?,
        layer: archive::layer(&layout::files(programs), created)?,
        repository: REPOSITORY,
        version: &version,
        created,
    };
    let packed = archive::pack(&image)?;
    eprintln!("image: {}", megabytes(packed.bytes.len()));
    ensure!(
        packed.bytes.len() <= ARCHIVE_BYTES_MAX,
        "the image is larger than {}: find out what grew before raising the limit",
        megabytes(ARCHIVE_BYTES_MAX)
    );

    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => workspace
            .target_directory
            .join("headwater-image.tar")
            .into_std_path_buf(),
    };
    std::fs::write(&output, &packed.bytes)
        .with_context(|| format!("writing {}", output.display()))?;
    println!("archive: {}", output.display());
    println!("image: docker.io/{}", packed.content_tag);
    Ok(())
}

/// Builds the programs as static ones.
fn build(target: &str) -> Result<()> {
    let flags = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        target.to_uppercase().replace('-', "_")
    );
    let mut command = crate::cargo();
    command
        .args(["build", "--release", "--locked", "--bins"])
        // With a target named, even the machine's own, the flags spare procedural macros, which
        // the compiler has to load and which cannot be static.
        .args(["--target", target])
        .env(flags, "-C target-feature=+crt-static")
        // These would win over the flags of a target.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    ensure!(command.status()?.success(), "{command:?} has failed");
    Ok(())
}

/// The version that all packages of the workspace share.
fn version(workspace: &Metadata) -> Result<String> {
    let (package, _) = PROGRAMS[0];
    let broker = workspace
        .packages
        .iter()
        .find(|found| found.name.as_str() == package)
        .with_context(|| format!("the workspace has no package {package}"))?;
    Ok(broker.version.to_string())
}

/// When the image claims to be made, in seconds since 1970: at a time that is given, not now, or no
/// two images would be equal. The variable is a convention: <https://reproducible-builds.org>.
fn created(source_date_epoch: Option<&str>) -> Result<u32> {
    source_date_epoch.map_or(Ok(0), |seconds| {
        seconds
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is not a time: {seconds:?}"))
    })
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_creation_is_given_or_zero() {
        assert_eq!(created(None).unwrap(), 0);
        assert_eq!(created(Some("1764547200")).unwrap(), 1_764_547_200);
        assert!(created(Some("yesterday")).is_err());
    }

    #[test]
    fn the_dockerfile_uses_the_toolchain_of_the_repository() {
        let read = |name| std::fs::read_to_string(crate::repository().join(name)).unwrap();
        let toolchain = read("rust-toolchain.toml");
        let version = toolchain.split('"').nth(1).unwrap();
        let wanted = format!("FROM rust:{version} AS build");
        assert!(
            read("Dockerfile").lines().any(|line| line == wanted),
            "the Dockerfile lacks `{wanted}`"
        );
    }
}
