//! Programs on their way into the image: stripped, and surely static.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A copy of a program without debug information and symbols. Symbols alone are a fifth of a
/// program; a panic names its file and line without them.
pub(super) fn stripped(path: &Path) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let copy = scratch.path().join("stripped");
    ensure!(path.is_file(), "{} has not been built", path.display());
    let status = Command::new("strip")
        .args(["--strip-all", "-o"])
        .args([&copy, path])
        .status()
        .context("starting `strip`, which comes with a C compiler (package binutils)")?;
    ensure!(status.success(), "strip has failed on {}", path.display());
    let bytes = std::fs::read(&copy)?;
    let is_static = is_static(&bytes)
        .with_context(|| format!("{} is not a 64-bit ELF program", path.display()))?;
    ensure!(
        is_static,
        "{} needs a dynamic loader, which the image lacks: build it without --no-build",
        path.display()
    );
    Ok(bytes)
}

/// Program header that names the dynamic loader (`PT_INTERP`).
const INTERPRETER: u32 = 3;

/// Whether a little-endian 64-bit ELF program starts without a dynamic loader; nothing if it is no
/// such program. Field offsets are those of `Elf64_Ehdr` and `Elf64_Phdr` in elf(5).
fn is_static(elf: &[u8]) -> Option<bool> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = usize::try_from(u64::from_le_bytes(*elf.get(32..)?.first_chunk()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(*elf.get(54..)?.first_chunk()?));
    let count = usize::from(u16::from_le_bytes(*elf.get(56..)?.first_chunk()?));
    for index in 0..count {
        let kind = elf
            .get(headers.checked_add(index * size)?..)?
            .first_chunk()?;
        if u32::from_le_bytes(*kind) == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of two headers, of which the second is of this kind.
    fn program(second: u32) -> Vec<u8> {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64] = 1;
        elf[120..124].copy_from_slice(&second.to_le_bytes());
        elf
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert_eq!(is_static(&program(1)), Some(true));
        assert_eq!(is_static(&program(INTERPRETER)), Some(false));
    }

    #[test]
    fn what_is_no_program_is_neither() {
        assert_eq!(is_static(b"#!/bin/sh"), None);
        assert_eq!(is_static(&program(1)[..100]), None);
    }
}
