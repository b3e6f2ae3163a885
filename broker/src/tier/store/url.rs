//! `tier.url`: which store, and where in it.

use std::path::PathBuf;

use anyhow::{bail, ensure};

const FORMS: &str = "fs: (the folder tier of the data directory), fs:///PATH, memory:, \
     s3://BUCKET/PREFIX?region=R&endpoint=URL, gcs://BUCKET/PREFIX?endpoint=URL, \
     azblob://CONTAINER/PREFIX?account=NAME&endpoint=URL";

/// A place for objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoreUrl {
    /// A directory; `None` is the one within the data directory.
    Fs { dir: Option<PathBuf> },
    /// This process's memory, for tests.
    Memory,
    /// Amazon S3 and what speaks like it.
    S3 {
        bucket: String,
        prefix: String,
        region: Option<String>,
        endpoint: Option<String>,
    },
    /// Google Cloud Storage.
    Gcs {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
    },
    /// Azure Blob Storage.
    Azblob {
        container: String,
        prefix: String,
        endpoint: Option<String>,
        account: Option<String>,
    },
}

impl StoreUrl {
    /// Reads the setting. Errors name the setting, what was given (without secrets) and what may be.
    pub(super) fn parse(url: &str) -> anyhow::Result<StoreUrl> {
        let given = redacted(url);
        let Some((scheme, rest)) = url.split_once(':') else {
            bail!("tier.url: {given} names no kind of store; write one of {FORMS}");
        };
        match (scheme, rest) {
            ("fs", "") => Ok(StoreUrl::Fs { dir: None }),
            ("memory", "") => Ok(StoreUrl::Memory),
            ("fs", path) => {
                let path = path.strip_prefix("//").unwrap_or_default();
                ensure!(
                    path.starts_with('/') && !path.contains(['?', '#']),
                    "tier.url: {given} is not an absolute path; write fs:///PATH, or fs: for the folder tier of the \
                     data directory"
                );
                let dir = Some(PathBuf::from(path));
                Ok(StoreUrl::Fs { dir })
            }
            ("s3" | "gcs" | "azblob", rest) => Parts::parse(&given, scheme, rest)?.into_url(scheme),
            ("memory", _) => bail!("tier.url: {given} has something behind memory:; write memory:"),
            _ => bail!("tier.url: {given} is no store known here; write one of {FORMS}"),
        }
    }

    /// Whether requests to it are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            StoreUrl::Fs { .. } | StoreUrl::Memory => false,
            StoreUrl::S3 { endpoint, .. }
            | StoreUrl::Gcs { endpoint, .. }
            | StoreUrl::Azblob { endpoint, .. } => {
                let plain = |endpoint: &String| endpoint.starts_with("http://");
                !endpoint.as_ref().is_some_and(plain)
            }
        }
    }
}

/// What a URL of an object store is made of.
#[derive(Default)]
struct Parts {
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    account: Option<String>,
}

impl Parts {
    fn parse(given: &str, scheme: &str, rest: &str) -> anyhow::Result<Parts> {
        let Some(rest) = rest.strip_prefix("//") else {
            bail!("tier.url: {given} names no bucket; write one of {FORMS}");
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        ensure!(
            !place.contains(['@', ':']),
            "tier.url: {given} holds a user, a password or a port; credentials go into files in \
             tier.credentials_dir, a server into ?endpoint="
        );
        ensure!(
            !bucket.is_empty() && bucket.bytes().all(is_plain),
            "tier.url: {given} names no bucket of letters, digits, '-', '_' and '.'; write {scheme}://BUCKET/PREFIX"
        );
        let prefix = prefix.trim_matches('/');
        let is_name = |name: &str| {
            !name.is_empty() && name != "." && name != ".." && name.bytes().all(is_plain)
        };
        ensure!(
            prefix.len() <= 200 && (prefix.is_empty() || prefix.split('/').all(is_name)),
            "tier.url: the prefix of {given} is not made of at most 200 letters, digits, '-', '_' and '.', in folders"
        );
        let mut parts = Parts {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            ..Parts::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parts.take(given, scheme, pair)?;
        }
        Ok(parts)
    }

    fn take(&mut self, given: &str, scheme: &str, pair: &str) -> anyhow::Result<()> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let allowed = parameters(scheme);
        ensure!(
            allowed.contains(&name),
            "tier.url: {given} has a parameter that {scheme} does not take; it takes {}; credentials go into files in \
             tier.credentials_dir",
            allowed.join(", ")
        );
        let value = decoded(value)
            .filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()));
        let Some(value) = value else {
            bail!("tier.url: {name} of {given} has no value that can be read; write {name}=...");
        };
        if name == "endpoint" {
            let place = ["http://", "https://"]
                .iter()
                .find_map(|scheme| value.strip_prefix(scheme));
            ensure!(
                place.is_some_and(|place| !place.is_empty() && !place.contains(['@', '?', '#'])),
                "tier.url: endpoint of {given} is not an address; write http://HOST:PORT or https://HOST:PORT, without \
                 user and password"
            );
        } else {
            ensure!(
                value.bytes().all(is_plain),
                "tier.url: {name} of {given} holds more than letters, digits, '-', '_' and '.'"
            );
        }
        let field = match name {
            "region" => &mut self.region,
            "endpoint" => &mut self.endpoint,
            _ => &mut self.account,
        };
        ensure!(
            field.replace(value).is_none(),
            "tier.url: {name} is given twice in {given}"
        );
        Ok(())
    }

    fn into_url(self, scheme: &str) -> anyhow::Result<StoreUrl> {
        let Parts {
            bucket,
            prefix,
            region,
            endpoint,
            account,
        } = self;
        Ok(match scheme {
            "s3" => StoreUrl::S3 {
                bucket,
                prefix,
                region,
                endpoint,
            },
            "gcs" => StoreUrl::Gcs {
                bucket,
                prefix,
                endpoint,
            },
            _ => StoreUrl::Azblob {
                container: bucket,
                prefix,
                endpoint,
                account,
            },
        })
    }
}

fn parameters(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "s3" => &["region", "endpoint"],
        "gcs" => &["endpoint"],
        "azblob" => &["account", "endpoint"],
        _ => &[],
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Undoes `%2F` and the like; `None` if it is not well formed.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The URL for people: without user and password, and without the values of parameters that are not known, should
/// somebody have put a credential there.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let mut shown = format!("{scheme}:{}", without_user(place));
    if !url.contains(':') {
        shown = scheme.to_owned();
    }
    for (at, pair) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = match name {
            "endpoint" => {
                let value = decoded(value).unwrap_or_default();
                let value = value.split(['?', '#']).next().unwrap_or_default();
                without_user(value)
            }
            "region" | "account" => value.to_owned(),
            _ => "***".to_owned(),
        };
        let sign = if at == 0 { '?' } else { '&' };
        shown.push_str(&format!("{sign}{name}={value}"));
    }
    shown
}

/// `//user:password@host/path` without what is before the last `@`.
fn without_user(place: &str) -> String {
    match place.rsplit_once('@') {
        None => place.to_owned(),
        Some((before, after)) => {
            let (scheme, _) = before.split_once("//").unwrap_or(("", before));
            format!("{scheme}//***@{after}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, part: &str) {
        let error = StoreUrl::parse(url).unwrap_err().to_string();
        assert!(error.starts_with("tier.url: "), "{error}");
        assert!(error.contains(part), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn each_form_is_read() {
        let parse = |url| StoreUrl::parse(url).unwrap();
        assert_eq!(parse("fs:"), StoreUrl::Fs { dir: None });
        let dir = Some(PathBuf::from("/mnt/tier"));
        assert_eq!(parse("fs:///mnt/tier"), StoreUrl::Fs { dir });
        assert_eq!(parse("memory:"), StoreUrl::Memory);
        assert_eq!(
            parse("s3://bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000"),
            StoreUrl::S3 {
                bucket: "bucket".into(),
                prefix: "a/b".into(),
                region: Some("eu-west-1".into()),
                endpoint: Some("http://127.0.0.1:9000".into()),
            }
        );
        assert_eq!(
            parse("s3://bucket"),
            StoreUrl::S3 {
                bucket: "bucket".into(),
                prefix: String::new(),
                region: None,
                endpoint: None,
            }
        );
        assert_eq!(
            parse("gcs://bucket/p?endpoint=https%3A%2F%2Fstorage.example"),
            StoreUrl::Gcs {
                bucket: "bucket".into(),
                prefix: "p".into(),
                endpoint: Some("https://storage.example".into()),
            }
        );
        assert_eq!(
            parse("azblob://container/p?account=me"),
            StoreUrl::Azblob {
                container: "container".into(),
                prefix: "p".into(),
                endpoint: None,
                account: Some("me".into()),
            }
        );
    }

    #[test]
    fn what_is_no_store_is_refused_with_the_forms_there_are() {
        refused("", "names no kind of store");
        refused("/var/tier", "names no kind of store");
        refused("ftp://host/x", "s3://BUCKET/PREFIX");
        refused("s3:bucket", "names no bucket");
        refused("s3://", "names no bucket");
        refused("s3:///prefix", "names no bucket");
        refused("fs:relative", "fs:///PATH");
        refused("fs://relative", "fs:///PATH");
        refused("memory:x", "write memory:");
        refused("s3://b/a//b", "prefix");
        refused("s3://b/../b", "prefix");
        refused("s3://b/?region=", "region=...");
        refused("s3://b/?region=%zz", "region=...");
        refused("s3://b/?region=a&region=b", "given twice");
        refused("s3://b/?endpoint=host:9000", "write http://HOST:PORT");
        refused("gcs://b/?region=x", "it takes endpoint");
        refused("azblob://b/?region=x", "it takes account, endpoint");
    }

    #[test]
    fn credentials_are_refused_and_never_repeated() {
        refused("s3://user:hunter2@bucket/p", "tier.credentials_dir");
        refused("s3://b?access_key_id=hunter2", "tier.credentials_dir");
        refused(
            "s3://b?endpoint=http://user:hunter2@host",
            "without user and password",
        );
        refused(
            "s3://b?endpoint=http://host/?sig=hunter2",
            "without user and password",
        );
        refused("s4://b?secret=hunter2", "no store known here");
    }

    #[test]
    fn a_url_for_people_keeps_the_place_and_no_secret() {
        let same = "s3://bucket/p?region=r&endpoint=http://127.0.0.1:9000";
        assert_eq!(redacted(same), same);
        for same in ["fs:", "fs:///mnt/tier", "memory:", "nonsense", ""] {
            assert_eq!(redacted(same), same);
        }
        assert_eq!(
            redacted("s3://me:hunter2@b/p?sas=hunter2&endpoint=https://u:hunter2@h"),
            "s3://***@b/p?sas=***&endpoint=https://***@h"
        );
    }
}
