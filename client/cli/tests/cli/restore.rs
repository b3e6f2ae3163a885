//! What `headwater restore` refuses before it looks into any bucket, and a bucket with nothing in it.

use crate::support::run;

#[test]
fn adopting_wants_a_yes_and_a_cluster_is_a_uuid() {
    let dir = tempfile::tempdir().expect("a directory");
    let (tier, data) = (dir.path().join("tier"), dir.path().join("new"));
    let (from, data_dir) = (
        format!("fs://{}", tier.display()),
        data.display().to_string(),
    );
    let restore = ["restore", "--from", &from, "--data-dir", &data_dir];
    run(&[&restore[..], &["--adopt"]].concat())
        .exits(2)
        .says("add --yes")
        .says("for good");
    run(&[&restore[..], &["--cluster", "mine"]].concat())
        .exits(2)
        .says("no UUID of a cluster");
    run(&restore).exits(1).says("there is no directory");
    assert!(!tier.exists(), "a wrong URL makes nothing");
    std::fs::create_dir(&tier).expect("it can be made");
    run(&[&restore[..], &["--dry-run"]].concat())
        .exits(1)
        .says("there is no cluster in fs://");
    assert!(!data.exists());
}
