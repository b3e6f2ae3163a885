//! What `headwater restore` and `tier release` refuse before they look into any bucket, and a bucket with nothing in it.

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

#[test]
fn releasing_wants_a_yes_and_a_hold_that_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = format!("fs://{}", dir.path().display());
    let (old, new) = (
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
    );
    let release = |cluster| {
        let (command, holder) = (["tier", "release", "--from"], ["--holder", new]);
        [&command[..], &[&from, "--cluster", cluster], &holder].concat()
    };
    run(&release(old))
        .exits(2)
        .says("add --yes")
        .says("lost to it");
    run(&release("mine")).exits(2).says("no UUID of a cluster");
    let yes = [&release(old)[..], &["--yes"]].concat();
    run(&yes)
        .exits(1)
        .says("nobody holds the objects of cluster");
    let folder = dir.path().join(old);
    std::fs::create_dir(&folder).expect("it can be made");
    let hold = |holder: &str| folder.join(format!("hold-{holder}"));
    std::fs::write(hold("another"), "").expect("it can be written");
    run(&yes).exits(1).says("who does: another");
    std::fs::write(hold(new), "").expect("it can be written");
    run(&yes).exits(0).says("holds the objects of cluster");
    assert!(!hold(new).exists());
    assert!(hold("another").exists());
}
