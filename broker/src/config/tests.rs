use std::path::PathBuf;
use std::time::Duration;

use super::{
    ConfigError, Durability, KEYS, Layers, LogFormat, Machine, RawConfig, Settings, print,
};
use crate::limits::{GIB, MIB};
use crate::memory::{LimitSource, MemoryLimit};

fn machine() -> Machine {
    Machine {
        cores: 2,
        host_name: "broker-0".to_owned(),
        memory: MemoryLimit {
            bytes: GIB,
            source: LimitSource::Cgroup(PathBuf::from("/sys/fs/cgroup/memory.max")),
        },
    }
}

fn layers(yaml: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Layers {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let flag = |(key, text): &(&str, &str)| {
        (
            (*key).to_owned(),
            format!("--set {key}"),
            (*text).to_owned(),
        )
    };
    Layers {
        file: Some(("broker.yaml".to_owned(), yaml.to_owned())),
        variables: variables.iter().map(pair).collect(),
        flags: flags.iter().map(flag).collect(),
    }
}

fn load(layers: &Layers) -> Result<Settings, ConfigError> {
    Settings::parse(&RawConfig::read(layers)?, &machine())
}

fn from_yaml(yaml: &str) -> Settings {
    load(&layers(yaml, &[], &[])).unwrap()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = from_yaml("");
    assert_eq!(settings.data_dir, PathBuf::from("./data"));
    assert_eq!(settings.node_name, "broker-0");
    assert!(!settings.form);
    assert_eq!(settings.listen.client, "0.0.0.0:7650".parse().unwrap());
    assert_eq!(settings.listen.http, "0.0.0.0:7680".parse().unwrap());
    assert_eq!(settings.listen.advertised, None);
    assert_eq!(settings.storage.shards, 2);
    assert_eq!(
        settings.storage.background_sync_interval,
        Duration::from_secs(10)
    );
    assert_eq!(settings.topics.segment_bytes, 128 * MIB);
    assert_eq!(settings.topics.segment_ms, 24 * 3_600_000);
    assert_eq!(settings.topics.retention_ms, Some(7 * 24 * 3_600_000));
    assert_eq!(settings.topics.retention_bytes, None);
    assert_eq!(settings.topics.message_bytes_max, 1 << 20);
    assert_eq!(settings.topics.timestamp_ahead_ms_max, 3_600_000);
    assert_eq!(settings.topics.durability, Durability::Fsync);
    assert_eq!(settings.disk_guard.reserve_bytes, 64 * MIB);
    assert_eq!(settings.memory.limit.bytes, GIB);
}

#[test]
fn a_later_layer_wins() {
    let in_file = "topics: {partitions: 2}";
    let variable = [("HEADWATER_TOPICS_PARTITIONS", "3")];
    let flag = [("topics.partitions", "4")];
    let twice = [("topics.partitions", "4"), ("topics.partitions", "5")];
    let table = [
        (layers("", &[], &[]), 1),
        (layers(in_file, &[], &[]), 2),
        (layers("", &variable, &[]), 3),
        (layers("", &[], &flag), 4),
        (layers(in_file, &variable, &[]), 3),
        (layers(in_file, &[], &flag), 4),
        (layers("", &variable, &flag), 4),
        (layers(in_file, &variable, &flag), 4),
        (layers(in_file, &variable, &twice), 5),
    ];
    for (layers, partitions) in table {
        assert_eq!(
            load(&layers).unwrap().topics.partitions,
            partitions,
            "{layers:?}"
        );
    }
}

#[test]
fn an_empty_variable_or_key_counts_as_not_set() {
    let yaml = "topics:\n  partitions: 2\n  segment_bytes:\nlimits:\n";
    let settings = load(&layers(yaml, &[("HEADWATER_TOPICS_PARTITIONS", "")], &[])).unwrap();
    assert_eq!(settings.topics.partitions, 2);
    assert_eq!(settings.topics.segment_bytes, 128 * MIB);
}

#[test]
fn every_way_to_write_a_value_is_understood() {
    let settings = from_yaml(
        "data_dir: /var/lib/headwater\n\
         form: true\n\
         shutdown_grace: 90 s\n\
         listen: {client: '[::1]:0', advertised: 'broker-0.example.com:7650'}\n\
         topics:\n\
         \x20 retention_time: forever\n\
         \x20 retention_bytes: 1GiB\n\
         \x20 segment_bytes: 1048576\n\
         \x20 segment_time: 12h\n\
         \x20 durability: replicated\n\
         \x20 compression: zstd\n\
         memory:\n\
         \x20 limit_bytes: 512MiB\n\
         log: {format: json, level: 'warn,headwater_log=debug'}\n",
    );
    assert_eq!(settings.data_dir, PathBuf::from("/var/lib/headwater"));
    assert!(settings.form);
    assert_eq!(settings.shutdown_grace, Duration::from_secs(90));
    assert_eq!(settings.listen.client, "[::1]:0".parse().unwrap());
    assert_eq!(
        settings.listen.advertised.as_deref(),
        Some("broker-0.example.com:7650")
    );
    assert_eq!(settings.topics.retention_ms, None);
    assert_eq!(settings.topics.retention_bytes, Some(GIB));
    assert_eq!(settings.topics.segment_bytes, MIB);
    assert_eq!(settings.topics.segment_ms, 12 * 3_600_000);
    assert_eq!(settings.topics.durability, Durability::Replicated);
    assert_eq!(
        settings.topics.compression,
        headwater_record::Compression::Zstd
    );
    assert_eq!(
        settings.memory.limit,
        MemoryLimit {
            bytes: 512 * MIB,
            source: LimitSource::Setting
        }
    );
    assert_eq!(settings.logging.format, LogFormat::Json);
    assert_eq!(
        from_yaml("topics: {retention_time: -1}")
            .topics
            .retention_ms,
        None
    );
}

/// What is wrong with a file, as it is told.
fn check_refused(yaml: &str, message: &str) {
    let error = load(&layers(yaml, &[], &[])).expect_err(yaml);
    assert_eq!(error.to_string(), message, "of {yaml:?}");
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let lists_all = "`headwater-broker --print-config` lists all of them";
    let table = [
        (
            "topics:\n  # a comment\n  partitons: 3\n",
            3,
            "topics.partitons",
            "topics.partitions",
        ),
        (
            "topic:\n  partitions: 3\n",
            2,
            "topic.partitions",
            "topics.partitions",
        ),
        ("datadir: /data\n", 1, "datadir", "data_dir"),
        (
            "---\nlisten: {clinet: 1}\n",
            2,
            "listen.clinet",
            "listen.client",
        ),
        ("data_dir: {path: x}\n", 1, "data_dir.path", "data_dir"),
        ("limits: 3\n", 1, "limits", "limits.partitions_max"),
        (
            "topics:\n  retention: 3d\n",
            2,
            "topics.retention",
            "topics.retention_time",
        ),
        ("listen:\n  port: 7650\n", 2, "listen.port", "listen.http"),
        (
            "\ntopics:\n\n  open_files_max: 7\n",
            4,
            "topics.open_files_max",
            "storage.open_files_max",
        ),
    ];
    for (yaml, line, name, nearest) in table {
        check_refused(
            yaml,
            &format!(
                "broker.yaml:{line} sets {name}, which is not a setting; did you mean {nearest}? \
                 {lists_all}"
            ),
        );
    }
    let variable = [("HEADWATER_TOPIC_PARTITIONS", "3")];
    assert_eq!(
        load(&layers("", &variable, &[])).unwrap_err().to_string(),
        format!(
            "variable HEADWATER_TOPIC_PARTITIONS is not a setting; did you mean \
             HEADWATER_TOPICS_PARTITIONS? {lists_all}"
        )
    );
    assert_eq!(
        load(&layers("", &[], &[("topics.partition", "3")]))
            .unwrap_err()
            .to_string(),
        format!(
            "flag --set topics.partition sets topics.partition, which is not a setting; did you \
             mean topics.partitions? {lists_all}"
        )
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    let foreign = [
        ("HEADWATER_ENDPOINT", "localhost:7650"),
        ("HEADWATER_CONFIG", "broker.yaml"),
        ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
        ("HEADWATER_SERVICE_PORT", "7650"),
        ("HEADWATER_SERVICE_PORT_CLIENT", "7650"),
        ("HEADWATER_PORT", "tcp://10.0.0.1:7650"),
        ("HEADWATER_PORT_7650_TCP", "tcp://10.0.0.1:7650"),
        ("HEADWATER_PORT_7650_TCP_ADDR", "10.0.0.1"),
        ("HEADWATER_BROKERS_SERVICE_HOST", "10.0.0.1"),
        ("HEADWATER_BROKERS_PORT_7651_TCP_PROTO", "tcp"),
        ("PATH", "/bin"),
    ];
    assert_eq!(load(&layers("", &foreign, &[])).unwrap(), from_yaml(""));
}

#[test]
fn a_bad_value_says_what_to_write() {
    let size = "is not a size: write a number of bytes, or one with KiB, MiB, GiB or TiB, such as \
                64MiB";
    let time = "is not a time: write a number with ms, s, m, h or d, such as 10s";
    let address = "is not an address to listen on: write an IP address and a port, such as \
                   0.0.0.0:7650";
    let namespace = "is not a namespace: write 1 to 63 lower-case letters, digits or dashes, with \
                     no dash at either end";
    let level = "is neither error, warn, info, debug or trace nor a list such as \
                 info,headwater_log=debug";
    let table = [
        ("topics.segment_bytes", "12 parsecs", size),
        ("topics.segment_bytes", "128MB", size),
        ("topics.segment_bytes", "-1", size),
        ("topics.segment_bytes", "99999999999999999999", size),
        ("topics.segment_bytes", "17000000TiB", size),
        (
            "topics.segment_bytes",
            "1KiB",
            "is out of range: write 64KiB to 2147483647B",
        ),
        (
            "topics.segment_bytes",
            "1TiB",
            "is out of range: write 64KiB to 2147483647B",
        ),
        (
            "topics.message_bytes_max",
            "5GiB",
            "is out of range: write 1KiB to 16MiB",
        ),
        ("topics.retention_time", "7", time),
        ("topics.retention_time", "7w", time),
        (
            "topics.retention_time",
            "0s",
            "is out of range: write 1s to 36500d",
        ),
        ("shutdown_grace", "forever", time),
        (
            "topics.partitions",
            "0",
            "is out of range: write 1 to 10000",
        ),
        ("topics.partitions", "2.5", "is not a whole number"),
        ("storage.shards", "65", "is out of range: write 1 to 64"),
        ("topics.durability", "yes", "is none of fsync, replicated"),
        (
            "topics.compression",
            "lzma",
            "is none of none, gzip, snappy, lz4, zstd",
        ),
        ("form", "maybe", "is neither true nor false"),
        ("listen.client", "localhost:7650", address),
        ("listen.http", "7680", address),
        (
            "listen.advertised",
            "broker-0",
            "is not host:port, such as broker-0.example.com:7650",
        ),
        (
            "listen.advertised",
            "::1:7650",
            "is not host:port, such as broker-0.example.com:7650",
        ),
        (
            "listen.advertised",
            "a:0",
            "is not host:port, such as broker-0.example.com:7650",
        ),
        ("default_namespace", "My_Team", namespace),
        (
            "node_name",
            "a b",
            "is not a name: write 1 to 253 letters, digits, dots, dashes or underscores",
        ),
        ("log.level", "loud", level),
        ("data_dir", "", "is empty: name a directory"),
    ];
    for (key, text, problem) in table {
        let error = load(&layers("", &[], &[(key, text)])).expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("{key}: {text:?} (flag --set {key}) {problem}")
        );
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    check_refused(
        "topics:\n  message_bytes_max: 4MiB\n  segment_bytes: 2MiB\n",
        "topics.message_bytes_max (broker.yaml:2) must fit into topics.segment_bytes, which is 2MiB",
    );
    check_refused(
        "disk_guard:\n  low_water_bytes: 1GiB\n",
        "disk_guard.high_water_bytes (default) must be above disk_guard.low_water_bytes, which is \
         1GiB",
    );
}

#[test]
fn a_file_that_is_no_mapping_of_settings_is_refused() {
    let refused = |yaml: &str| load(&layers(yaml, &[], &[])).expect_err(yaml).to_string();
    let head = "broker.yaml is not a valid configuration file: ";
    assert_eq!(
        refused("- data_dir\n"),
        format!("{head}it must be a mapping of settings, `key: value`")
    );
    assert_eq!(
        refused("topics:\n  partitions: [1, 2]\n"),
        format!("{head}topics.partitions must be a single value, not a list or a tag")
    );
    assert!(refused("topics: {partitions: 1").starts_with(head));
    assert!(refused("form: true\nform: false\n").contains("duplicate"));
    assert_eq!(
        refused("topics: {partitions: 1}\ntopics.partitions: 2\n"),
        "topics.partitions is set twice: broker.yaml:1 and broker.yaml:2"
    );
}

#[test]
fn a_memory_limit_that_is_too_small_names_the_minimum() {
    let error = load(&layers("memory: {limit_bytes: 64MiB}", &[], &[])).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("the memory limit of 64 MiB (memory.limit_bytes) is too small"));
    assert!(told.contains("at least 221 MiB"), "{told}");
    let small = "memory: {limit_bytes: 100MiB}\n\
                 limits: {partitions_max: 100, connections_max: 100}\n";
    assert_eq!(from_yaml(small).memory.limit.bytes, 100 * MIB);
}

const EXAMPLE: &str = "\
# what we run
data_dir: /var/lib/headwater
topics:
  partitions: 6
  retention_time: 30d
\"log\":
  level: \"info,headwater_log=debug\"
";

fn example() -> Layers {
    layers(
        EXAMPLE,
        &[
            ("HEADWATER_STORAGE_SHARDS", "4"),
            ("HEADWATER_TOPICS_PARTITIONS", "12"),
        ],
        &[("log.format", "json")],
    )
}

#[test]
fn the_printed_settings_say_where_each_value_comes_from() {
    let raw = RawConfig::read(&example()).unwrap();
    let printed = print(&raw, &Settings::parse(&raw, &machine()).unwrap());
    assert_eq!(printed, include_str!("golden/printed.yaml"));
}

#[test]
fn the_printed_settings_read_back_as_the_same() {
    let odd = [
        ("data_dir", "/a b/#c: \"d\""),
        ("node_name", "007"),
        ("topics.partitions", "5"),
    ];
    for layers in [example(), layers("", &[], &odd)] {
        let raw = RawConfig::read(&layers).unwrap();
        let settings = Settings::parse(&raw, &machine()).unwrap();
        assert_eq!(from_yaml(&print(&raw, &settings)), settings);
    }
}

/// A value other than the default for every key; a key that nothing reads would not show.
#[test]
fn every_key_changes_the_settings() {
    let others = [
        ("data_dir", "/other"),
        ("form", "true"),
        ("node_name", "other"),
        ("default_namespace", "other"),
        ("listen.client", "127.0.0.1:1"),
        ("listen.http", "127.0.0.1:2"),
        ("listen.internal", "127.0.0.1:4"),
        ("listen.advertised", "other:3"),
        ("internal.secret_file", "/other"),
        ("topics.durability", "replicated"),
        ("topics.compression", "lz4"),
        ("log.format", "json"),
        ("log.level", "trace"),
        ("memory.limit_bytes", "2GiB"),
        ("topics.message_bytes_max", "2MiB"),
        ("disk_guard.low_water_bytes", "1MiB"),
        ("disk_guard.high_water_bytes", "1GiB"),
        ("storage.shards", "7"),
        ("topics.retention_bytes", "3GiB"),
        ("topics.tiering", "false"),
        ("topics.local_retention_bytes", "3GiB"),
        ("tier.url", "fs:"),
        ("tier.credentials_dir", "/other"),
        ("tier.upload_concurrency", "7"),
    ];
    for key in KEYS {
        // What a tier is like does not matter where there is none.
        let base: &[(&str, &str)] = match key.name.strip_prefix("tier.") {
            Some("url") | None => &[],
            Some(_) => &[("tier.url", "fs:")],
        };
        let default = load(&layers("", &[], base)).unwrap();
        let other = others
            .iter()
            .find(|(name, _)| *name == key.name)
            .map(|(_, text)| *text);
        // The others are plain numbers, sizes or times; seven of the least unit is none's default.
        let text = other.unwrap_or(match key.default.chars().last() {
            Some('B') => "7MiB",
            Some('s' | 'm' | 'h' | 'd') => "7m",
            _ => "77",
        });
        let flags = [base, &[(key.name, text)]].concat();
        let settings = load(&layers("", &[], &flags)).unwrap();
        assert_ne!(settings, default, "{}", key.name);
        let variable = key.variable();
        let same = load(&layers("", &[(&variable, text)], base)).unwrap();
        assert_eq!(same, settings, "{variable}");
    }
}

#[test]
fn an_embedded_broker_reads_neither_file_nor_variables() {
    let settings = Settings::embedded(&[("data_dir", "/x"), ("listen.client", "127.0.0.1:0")]);
    assert_eq!(settings.unwrap().data_dir, PathBuf::from("/x"));
    let error = Settings::embedded(&[("datadir", "/x")]).unwrap_err();
    assert!(matches!(error, ConfigError::UnknownKey { .. }), "{error:?}");
}
