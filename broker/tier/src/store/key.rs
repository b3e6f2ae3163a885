//! Which keys there may be: those that every store takes as they are.

use super::{StoreError, StoreErrorKind};

/// S3 takes 1,024 bytes, the prefix in the bucket included.
const KEY_BYTES_MAX: usize = 768;

/// What file systems take for one name.
const NAME_BYTES_MAX: usize = 255;

/// The folder of a file store in which objects are written before they have their names.
pub(super) const TEMPORARIES: &str = "tmp";

/// Refuses a key that a store might read otherwise: `a//b`, `../a`, a name of more than 255 bytes.
pub(super) fn check(action: &'static str, key: &str) -> Result<(), StoreError> {
    let mut names = key.split('/');
    if key.len() <= KEY_BYTES_MAX && names.all(is_name) && first(key) != TEMPORARIES {
        return Ok(());
    }
    let detail = format!(
        "not a key: write up to {KEY_BYTES_MAX} bytes of names joined by '/', none of them empty, '.' or '..', each of \
         at most {NAME_BYTES_MAX} letters, digits, '-', '_' and '.', the first not '{TEMPORARIES}'"
    );
    Err(StoreError::new(
        StoreErrorKind::Unsupported,
        action,
        key,
        detail,
    ))
}

fn first(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    fits && name.bytes().all(plain)
}
