//! Credentials in files, one value in each, as a Kubernetes Secret is mounted.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::url::StoreUrl;

/// No file here is longer; the credentials of Google are some 2,500 bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the files hold. Never to be printed, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials(BTreeMap<&'static str, String>);

impl Credentials {
    /// Reads the files that the store at this place takes; others may be there too.
    pub(super) fn read(dir: &Path, place: &StoreUrl) -> anyhow::Result<Credentials> {
        let (needed, more): (&[&'static str], &[&'static str]) = match place {
            StoreUrl::S3 { .. } => (&["access_key_id", "secret_access_key"], &["session_token"]),
            StoreUrl::Gcs { .. } => (&["credential.json"], &[]),
            StoreUrl::Azblob { .. } => (&["account_key"], &["account_name"]),
            StoreUrl::Fs { .. } | StoreUrl::Memory => (&[], &[]),
        };
        let mut values = BTreeMap::new();
        for name in needed.iter().chain(more) {
            let file = dir.join(name);
            let what = || format!("tier.credentials_dir: cannot read {}", file.display());
            match read(&file) {
                Ok(value) => drop(values.insert(*name, value)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(what),
            }
        }
        for name in needed {
            let value = values.get(name).map(String::as_str).unwrap_or_default();
            ensure!(
                !value.is_empty(),
                "tier.credentials_dir: {} holds no {name}; files needed: {}",
                dir.display(),
                needed.join(", ")
            );
        }
        let credentials = Credentials(values);
        if matches!(place, StoreUrl::Gcs { .. }) {
            credentials.gcs_base64()?;
        }
        Ok(credentials)
    }

    /// A value that must be there.
    pub(super) fn get(&self, name: &'static str) -> anyhow::Result<&str> {
        self.find(name)
            .with_context(|| format!("tier.credentials_dir holds no {name}"))
    }

    /// A value that may be there.
    pub(super) fn find(&self, name: &'static str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Google's file, in the form opendal takes: it ignores what it cannot read, which therefore is refused here.
    pub(super) fn gcs_base64(&self) -> anyhow::Result<String> {
        let json = self.get("credential.json")?;
        // What serde_json says quotes nothing of the text.
        let value: serde_json::Value = serde_json::from_str(json)
            .context("tier.credentials_dir: credential.json is not JSON")?;
        if value.get("type").is_none_or(|kind| !kind.is_string()) {
            bail!(
                "tier.credentials_dir: credential.json has no \"type\"; put the file there that Google gives for a \
                 service account"
            );
        }
        Ok(BASE64_STANDARD.encode(json))
    }
}

/// Where the credentials of a store are looked for, in the words of an error.
pub(super) fn places(place: &StoreUrl, dir: Option<&Path>) -> String {
    if let Some(dir) = dir {
        return format!("the files of tier.credentials_dir, {}", dir.display());
    }
    let variables = match place {
        StoreUrl::S3 { .. } => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the AWS profile",
        StoreUrl::Gcs { .. } => "GOOGLE_APPLICATION_CREDENTIALS, gcloud's own",
        StoreUrl::Azblob { .. } => {
            "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN"
        }
        StoreUrl::Fs { .. } | StoreUrl::Memory => "nothing",
    };
    format!(
        "the broker's environment ({variables}), then with the pod's or the machine's role; tier.credentials_dir is not \
         set"
    )
}

fn read(file: &Path) -> io::Result<String> {
    if FILE_BYTES_MAX < std::fs::metadata(file)?.len() {
        return Err(io::Error::other("it is too long for a credential"));
    }
    let text = std::fs::read_to_string(file)?;
    Ok(text.trim().to_owned())
}
