//! The secret that the brokers of a cluster and its operator share.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use subtle::ConstantTimeEq as _;

/// Digits of a secret: 32 bytes in hexadecimal.
const DIGITS: usize = 64;

/// How soon the file is read again for those who show something else: they must not keep the disk
/// busy.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// The secret in a file. The file is read again when something else is shown, so that a secret
/// that was changed counts without a restart.
pub(crate) struct Secret {
    file: PathBuf,
    known: Mutex<Known>,
}

/// What was in the file, and when.
struct Known {
    secret: String,
    read_at: Instant,
}

impl Secret {
    /// Reads it for the first time.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Secret> {
        let known = read(file)?;
        Ok(Secret {
            file: file.to_owned(),
            known: Mutex::new(Known {
                secret: known,
                read_at: Instant::now(),
            }),
        })
    }

    /// Whether `shown` is the secret.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.is_at(shown, Instant::now())
    }

    fn is_at(&self, shown: &str, now: Instant) -> bool {
        let mut known = self.known.lock().unwrap_or_else(|dead| dead.into_inner());
        let matches = |known: &str| bool::from(known.as_bytes().ct_eq(shown.as_bytes()));
        let fresh = now.saturating_duration_since(known.read_at) < READ_INTERVAL;
        if matches(&known.secret) || fresh {
            return matches(&known.secret);
        }
        known.read_at = now;
        if let Ok(secret) = read(&self.file) {
            known.secret = secret;
        }
        matches(&known.secret)
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
        assert!(!secret.is(&new), "not looked at again yet");
        let later = Instant::now() + READ_INTERVAL;
        assert!(secret.is_at(&new, later) && !secret.is_at(&old, later));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_form_it_must_have() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "too short").unwrap();
        let error = Secret::read(file.path()).err().unwrap().to_string();
        assert!(error.ends_with("write 64 hexadecimal digits"), "{error}");
    }
}
