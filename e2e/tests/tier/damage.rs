//! Objects that are not what they were: what is lost is named, and nothing else is.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use headwater_e2e::Versitygw;

use crate::stage::{Credentials, SMALLEST, Stage, segment_objects, together};

/// Exit code of `headwater consume` when it has shown a part.
const PARTLY: i32 = 5;

/// What happens to objects in the store's folder.
struct Damage {
    /// How a check calls it.
    kind: &'static str,
    /// Whether it can be seen without reading.
    is_quickly_seen: bool,
    harm: fn(&Path),
}

const DAMAGE: [Damage; 3] = [
    Damage {
        kind: "length",
        is_quickly_seen: true,
        harm: |object| {
            let file = File::options().write(true).open(object).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        },
    },
    Damage {
        kind: "checksum",
        is_quickly_seen: false,
        harm: |object| {
            let file = File::options().read(true).write(true).open(object).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, 10_000).unwrap();
            file.write_all_at(&[!byte[0]], 10_000).unwrap();
        },
    },
    Damage {
        kind: "missing",
        is_quickly_seen: true,
        harm: |object| std::fs::rename(object, aside(object)).unwrap(),
    },
];

/// A place outside of the bucket.
fn aside(object: &Path) -> PathBuf {
    let mut folders = object.ancestors();
    let data = folders.find(|folder| folder.ends_with("data")).unwrap();
    data.with_file_name("aside")
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_objects_are_named_and_disturb_nothing_else() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::new(server.root());
    let mut stage = Stage::in_bucket(&server.url("e2e"), &credentials, SMALLEST);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("lines");
    let lines: Vec<String> = (0..10_000)
        .map(|n| format!("{n:05} {}", "x".repeat(94)))
        .collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    for topic in ["t", "other"] {
        stage.run(&["topic", "create", topic, "--partitions", "1"]);
        stage.run(&["produce", topic, "--file", file.to_str().unwrap()]);
        stage.settled(topic).await;
    }
    stage.verify();
    // What is in the broker's memory is as good as ever.
    assert!(stage.broker.stop().success());
    stage.broker.restart();

    let topic_id = object_folder(&server, &stage, "t").await;
    let objects = segment_objects(&topic_id);
    assert!(objects.len() > 8, "{objects:?}");
    let harmed: Vec<_> = DAMAGE
        .iter()
        .zip(objects.iter().skip(1).step_by(2))
        .collect();
    for (damage, object) in &harmed {
        (damage.harm)(object);
    }
    let key = |object: &Path| {
        object
            .strip_prefix(server.bucket().join("e2e"))
            .unwrap()
            .to_owned()
    };

    let (code, quick) = stage.refused(&["tier", "verify", "--quick"]);
    let (whole_code, whole) = stage.refused(&["tier", "verify"]);
    eprintln!("$ headwater tier verify\n{whole}");
    assert_eq!((code, whole_code), (1, 1));
    let mut place = 0;
    for (damage, object) in &harmed {
        let key = key(object);
        let key = key.to_str().unwrap();
        assert_eq!(
            quick.contains(key),
            damage.is_quickly_seen,
            "{key} in:\n{quick}"
        );
        let line = whole.lines().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not in:\n{whole}"));
        assert!(line.contains(damage.kind), "{line}");

        // All before it is read; then it is named; and all behind it is read.
        let from = place.to_string();
        let (code, said) = stage.refused(&["consume", "t", "--from", &from]);
        let told = said.lines().skip_while(|line| line.contains("xxx"));
        let told: Vec<&str> = told.collect();
        let told = told.join("\n");
        eprintln!("$ headwater consume t --from {from}\n{told}");
        assert_eq!(code, PARTLY, "{told}");
        assert!(
            told.contains("damaged") && told.contains(key),
            "{key} in:\n{told}"
        );
        let read = said.lines().take_while(|line| line.contains("xxx")).count();
        let base = base_offset(object);
        assert_eq!(read, base - place, "{told}");
        assert!(
            said.lines()
                .take(read)
                .eq(lines[place..base].iter().map(String::as_str))
        );
        place = next_base(&objects, object);
    }
    let rest = stage.run(&["consume", "t", "--from", &place.to_string()]);
    assert!(rest.lines().eq(lines[place..].iter().map(String::as_str)));
    let other = stage.run(&["consume", "other"]);
    assert!(other.lines().eq(lines.iter().map(String::as_str)));
    let findings = stage.findings().await;
    for (_, object) in &harmed {
        let key = key(object);
        let named = |text: &str| text.contains(key.to_str().unwrap());
        assert!(
            findings.iter().any(|finding| named(&finding.message)),
            "{findings:#?}"
        );
    }

    // An object that comes back is as good as ever.
    let (_, missing) = harmed[2];
    std::fs::rename(aside(missing), missing).unwrap();
    let from = base_offset(missing).to_string();
    let rest = stage.run(&["consume", "t", "--from", &from]);
    assert!(
        rest.lines()
            .eq(lines[base_offset(missing)..].iter().map(String::as_str))
    );
}

/// Where the objects of a topic are.
async fn object_folder(server: &Versitygw, stage: &Stage, topic: &str) -> PathBuf {
    let admin = stage.broker.client().await.admin();
    let id = admin.get_topic(topic).await.unwrap().topic_id;
    let cluster = std::fs::read_dir(server.bucket().join("e2e")).unwrap();
    let mut folders = cluster.map(|entry| entry.unwrap().path().join(&id));
    folders.find(|folder| folder.is_dir()).unwrap()
}

/// The first offset of a segment's object.
fn base_offset(object: &Path) -> usize {
    let name = object.file_name().unwrap().to_str().unwrap();
    name[..20].parse().unwrap()
}

fn next_base(objects: &[PathBuf], object: &Path) -> usize {
    let at = objects.iter().position(|other| other == object).unwrap();
    base_offset(&objects[at + 1])
}
