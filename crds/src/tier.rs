//! Where sealed segments of a cluster go.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a private copy of each struct"
)]

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bucket of an object storage. Nothing in it is ever deleted with the Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.backend == oldSelf.backend && self.bucket == oldSelf.bucket && has(self.prefix) == has(oldSelf.prefix) && (!has(self.prefix) || self.prefix == oldSelf.prefix)").message("spec.tier: backend, bucket and prefix cannot be changed: what is in the tier stays where it is and could no longer be read; if there is nothing in it yet, delete the Cluster with deletionPolicy Retain and apply it again"),
    validation = Rule::new("!has(oldSelf.account) || (has(self.account) && self.account == oldSelf.account)").message("spec.tier.account cannot be changed or removed: what is in the tier stays in its account and could no longer be read"),
    validation = Rule::new("self.backend != 's3' || has(self.region) || has(self.endpoint)").message("spec.tier.region is required for backend s3 without endpoint, such as eu-central-1"),
    validation = Rule::new("self.backend == 's3' || !has(self.region)").message("spec.tier.region is for backend s3 only; take it out"),
    validation = Rule::new("self.backend == 'azblob' || !has(self.account)").message("spec.tier.account is for backend azblob only; take it out"),
    validation = Rule::new("self.backend != 'azblob' || has(self.account) || has(self.credentialsSecret)").message("spec.tier.account is required for backend azblob without credentialsSecret: nothing else says whose container it is")
)]
pub struct TierSpec {
    /// Which protocol the object storage speaks: `s3` (also MinIO, Ceph, R2 and others), `gcs` or
    /// `azblob`. Cannot be changed.
    pub backend: TierBackend,
    /// The bucket; with `azblob`, the container. It must exist. Cannot be changed.
    #[schemars(
        length(min = 3, max = 222),
        regex(pattern = r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$")
    )]
    pub bucket: String,
    /// What all keys begin with, such as `headwater/prod`, without a slash at either end. Several
    /// clusters may share one: each has its own keys below it. Unset: none. Cannot be changed, added
    /// or removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")
    )]
    pub prefix: Option<String>,
    /// The storage's address, such as `https://minio.example.com:9000`. Unset: the cloud's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?$")
    )]
    pub endpoint: Option<String>,
    /// The bucket's region, such as `eu-central-1`. With `s3` only, and required there unless
    /// `endpoint` is set: other servers than Amazon's mostly take any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub region: Option<String>,
    /// The storage account, with `azblob` only. Unset: key `account_name` of the Secret. Cannot be
    /// changed once it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 24), regex(pattern = r"^[a-z0-9]+$"))]
    pub account: Option<String>,
    /// A Secret with the credentials. Unset: what the cloud gives the pod, such as the role of its
    /// ServiceAccount or its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<CredentialsSecret>,
}

/// Which protocol an object storage speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TierBackend {
    /// Amazon S3, and what is compatible with it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
}

/// Names a Secret in the namespace of the Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecret {
    /// Name of the Secret, in the namespace of the Cluster. Its keys, by backend: `s3` has
    /// `access_key_id`, `secret_access_key` and perhaps `session_token`; `gcs` has
    /// `credential.json`; `azblob` has `account_key`, and `account_name` unless `account` is set.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

impl fmt::Display for TierBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TierBackend::S3 => "s3",
            TierBackend::Gcs => "gcs",
            TierBackend::Azblob => "azblob",
        })
    }
}

impl TierSpec {
    /// The broker's `tier.url`. Holds nothing secret.
    pub fn url(&self) -> String {
        let mut url = format!("{}://{}", self.backend, self.bucket);
        if let Some(prefix) = &self.prefix {
            url.push('/');
            url.push_str(prefix);
        }
        // The schema allows no character in them that would have to be escaped in a query.
        let options = [
            ("region", &self.region),
            ("endpoint", &self.endpoint),
            ("account", &self.account),
        ];
        let mut mark = '?';
        for (name, value) in options {
            if let Some(value) = value {
                url.push_str(&format!("{mark}{name}={value}"));
                mark = '&';
            }
        }
        url
    }

    /// Keys that the Secret with the credentials must have.
    pub fn secret_keys(&self) -> &'static [&'static str] {
        match (self.backend, &self.account) {
            (TierBackend::S3, _) => &["access_key_id", "secret_access_key"],
            (TierBackend::Gcs, _) => &["credential.json"],
            (TierBackend::Azblob, None) => &["account_name", "account_key"],
            (TierBackend::Azblob, Some(_)) => &["account_key"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, url: &str, keys: &[&str]) {
        let tier: TierSpec = serde_yaml::from_str(yaml).unwrap();
        assert_eq!(tier.url(), url);
        assert_eq!(tier.secret_keys(), keys);
    }

    #[test]
    fn a_bucket_becomes_the_address_that_the_broker_takes() {
        check(
            "{backend: s3, bucket: logs, endpoint: 'https://s3.example.com'}",
            "s3://logs?endpoint=https://s3.example.com",
            &["access_key_id", "secret_access_key"],
        );
        check(
            "{backend: s3, bucket: logs, prefix: a/b, region: us-east-1, endpoint: 'http://minio:9000'}",
            "s3://logs/a/b?region=us-east-1&endpoint=http://minio:9000",
            &["access_key_id", "secret_access_key"],
        );
        check(
            "{backend: gcs, bucket: logs, prefix: prod}",
            "gcs://logs/prod",
            &["credential.json"],
        );
        check(
            "{backend: azblob, bucket: logs, account: acme, endpoint: 'https://acme.blob.core.windows.net'}",
            "azblob://logs?endpoint=https://acme.blob.core.windows.net&account=acme",
            &["account_key"],
        );
        check(
            "{backend: azblob, bucket: logs}",
            "azblob://logs",
            &["account_name", "account_key"],
        );
    }
}
