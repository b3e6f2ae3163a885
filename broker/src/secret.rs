//! The secret that the brokers of a cluster and its operator share.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, ensure};
use subtle::ConstantTimeEq as _;

/// Digits of a secret: 32 bytes in hexadecimal.
const DIGITS: usize = 64;

/// The secret in a file. The file is read again when something else is shown, so that a secret
/// that was changed counts without a restart.
pub(crate) struct Secret {
    file: PathBuf,
    known: Mutex<String>,
}

impl Secret {
    /// Reads it for the first time.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Secret> {
        let known = read(file)?;
        Ok(Secret {
            file: file.to_owned(),
            known: Mutex::new(known),
        })
    }

    /// Whether `shown` is the secret.
    pub(crate) fn is(&self, shown: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(|dead| dead.into_inner());
        let matches = |known: &str| bool::from(known.as_bytes().ct_eq(shown.as_bytes()));
        if matches(&known) {
            return true;
        }
        if let Ok(fresh) = read(&self.file) {
            *known = fresh;
        }
        matches(&known)
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read internal.secret_file {}", file.display()))?;
    let secret = text.trim();
    ensure!(
        secret.len() == DIGITS && secret.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "internal.secret_file {} does not hold a secret: write {DIGITS} hexadecimal digits",
        file.display()
    );
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_secret_counts_and_the_old_one_no_longer_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (old, new) = ("a".repeat(64), "b".repeat(64));
        std::fs::write(&file, format!("{old}\n")).unwrap();
        let secret = Secret::read(file.path()).unwrap();
        assert!(secret.is(&old) && !secret.is(&new) && !secret.is(""));
        std::fs::write(&file, &new).unwrap();
        assert!(secret.is(&new) && !secret.is(&old));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_form_it_must_have() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "too short").unwrap();
        let error = Secret::read(file.path()).err().unwrap().to_string();
        assert!(error.ends_with("write 64 hexadecimal digits"), "{error}");
    }
}
