//! A bucket in the resource, and what the broker gets of it.

use headwater_crds::{Cluster, Reason, Verdict};

use super::{MINIMAL, build, cluster, found, settings, valid};
use crate::cluster::dereference::Found;
use crate::cluster::validate::validate;

fn with_tier(tier: &str) -> Cluster {
    let mut declared = cluster(MINIMAL);
    declared.spec.tier = Some(serde_yaml::from_str(tier).unwrap());
    declared
}

fn with_keys(keys: &[&str]) -> Found {
    Found {
        tier_keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
        ..Found::default()
    }
}

const S3: &str =
    "{backend: s3, bucket: logs, region: eu-west-1, credentialsSecret: {name: tier-key}}";

#[test]
fn without_a_tier_nothing_of_one_is_in_the_pod_or_the_configuration() {
    let declared = cluster(MINIMAL);
    let set = build::stateful_set(&declared, &valid(&declared), "1Gi");
    let text = serde_yaml::to_string(&set).unwrap() + &valid(&declared).configuration;
    assert!(!text.contains("tier"), "{text}");
}

#[test]
fn credentials_of_the_cloud_need_an_address_and_no_secret() {
    let declared = with_tier("{backend: gcs, bucket: logs, prefix: prod}");
    let valid = validate(&declared, &Found::default(), &settings()).unwrap();
    assert!(
        valid.configuration.contains("tier.url: gcs://logs/prod\n"),
        "{}",
        valid.configuration
    );
    assert!(!valid.configuration.contains("tier.credentials_dir"));
    let set = build::stateful_set(&declared, &valid, "1Gi");
    let text = serde_yaml::to_string(&set).unwrap();
    assert!(!text.contains("tier-credentials"), "{text}");
}

#[test]
fn a_secret_that_is_not_there_is_waited_for_with_the_command_that_makes_it() {
    let verdict = validate(&with_tier(S3), &Found::default(), &settings()).unwrap_err();
    assert!(matches!(verdict, Verdict::Reconciling { .. }));
    assert_eq!(verdict.reason(), Reason::TierCredentialsMissing);
    let message = verdict.message();
    for words in [
        "no Secret tier-key in namespace headwater",
        "create secret generic tier-key -n headwater --from-file=access_key_id \
         --from-file=secret_access_key`",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn a_secret_without_a_key_is_told_which() {
    let check = |tier: &str, keys: &[&str], missing: Option<&str>| {
        let verdict = validate(&with_tier(tier), &with_keys(keys), &settings());
        let Some(missing) = missing else {
            assert_eq!(
                verdict.unwrap().tier_secret.as_deref(),
                Some("tier-key"),
                "{tier}"
            );
            return;
        };
        let verdict = verdict.unwrap_err();
        assert_eq!(verdict.reason(), Reason::TierCredentialsMissing);
        let message = verdict.message();
        assert!(
            message.contains(&format!("has no value for {missing};")),
            "{message}"
        );
    };
    check(S3, &["access_key_id"], Some("secret_access_key"));
    check(S3, &["access_key_id", "secret_access_key"], None);
    let azure = "{backend: azblob, bucket: logs, credentialsSecret: {name: tier-key}}";
    check(azure, &[], Some("account_name and account_key"));
    let account =
        "{backend: azblob, bucket: logs, account: acme, credentialsSecret: {name: tier-key}}";
    check(account, &["account_key"], None);
}

#[test]
fn the_pod_is_not_held_up_by_a_secret_that_was_deleted_later() {
    let declared = with_tier(S3);
    let valid = validate(&declared, &found(), &settings()).unwrap();
    let set = build::stateful_set(&declared, &valid, "1Gi");
    let pod = set.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume.name == "tier-credentials");
    let secret = volume.unwrap().secret.as_ref().unwrap();
    assert_eq!(secret.optional, Some(true));
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.name == "tier-credentials");
    assert_eq!(mount.unwrap().read_only, Some(true));
}
