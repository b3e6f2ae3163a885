use std::collections::BTreeMap;
use std::time::Duration;

use headwater_log::{Cut, RecoveryReport};
use headwater_record::Offset;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Metrics;

/// Reads the text format: every sample by name and labels. Panics on a line that is neither a
/// comment nor a sample, and on a sample whose metric has no help.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the text has an end");
    let mut described = Vec::new();
    let mut samples = BTreeMap::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            let rest = words.next().unwrap_or_default();
            assert!(
                ["HELP", "TYPE", "UNIT"].contains(&kind) && !rest.is_empty(),
                "{line}"
            );
            described.push(name.to_owned());
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = sample.split('{').next().unwrap();
        assert!(
            described.iter().any(|known| name.starts_with(known)),
            "{line} has no help"
        );
        let value = value
            .parse()
            .unwrap_or_else(|_| panic!("{line} has no number"));
        assert_eq!(
            samples.insert(sample.to_owned(), value),
            None,
            "{sample} is there twice"
        );
    }
    samples
}

fn scrape(registry: &Registry) -> BTreeMap<String, f64> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    samples(&text)
}

#[test]
fn what_is_observed_is_in_the_text_with_its_unit() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.observe_produce(3, 1_000, true);
    metrics.observe_produce(2, 500, true);
    metrics.observe_produce(9, 9_000, false);
    metrics.observe_fetch(5, 2, 1_500);
    metrics.observe_error("OFFSET_OUT_OF_RANGE");
    metrics.observe_request("Produce", Duration::from_millis(3));
    metrics.observe_append(Duration::from_micros(50));
    metrics.observe_sync(Duration::from_millis(2), 7);
    metrics.log_bytes.set(4_096);
    metrics.leaders.set(6);
    metrics.segments_deleted.inc_by(2);
    metrics.deleted_bytes.inc_by(2_048);
    let report = RecoveryReport {
        scanned_bytes: 70,
        cut: Some(Cut {
            offset: Offset::new(9),
            bytes: 30,
            nonzero_bytes: 4,
        }),
        damaged: vec![Offset::new(1)..Offset::new(2)],
        ..RecoveryReport::default()
    };
    metrics.observe_recovery(&report, Duration::from_millis(500));
    let found = scrape(&registry);
    let table = [
        ("headwater_produced_records_total", 5.0),
        ("headwater_produced_batches_total", 2.0),
        ("headwater_produced_bytes_total", 1_500.0),
        ("headwater_refused_batches_total", 1.0),
        ("headwater_fetched_records_total", 5.0),
        ("headwater_fetched_batches_total", 2.0),
        ("headwater_fetched_bytes_total", 1_500.0),
        (
            "headwater_errors_total{reason=\"OFFSET_OUT_OF_RANGE\"}",
            1.0,
        ),
        (
            "headwater_request_duration_seconds_count{method=\"Produce\"}",
            1.0,
        ),
        ("headwater_append_duration_seconds_sum", 0.000_05),
        ("headwater_sync_duration_seconds_count", 1.0),
        ("headwater_sync_duration_seconds_bucket{le=\"+Inf\"}", 1.0),
        ("headwater_sync_partitions_sum", 7.0),
        ("headwater_log_bytes", 4_096.0),
        ("headwater_leaders", 6.0),
        ("headwater_segments_deleted_total", 2.0),
        ("headwater_segments_deleted_bytes_total", 2_048.0),
        ("headwater_recovery_scanned_bytes_total", 70.0),
        ("headwater_recovery_cut_bytes_total", 30.0),
        ("headwater_recovery_cut_partitions_total", 1.0),
        ("headwater_recovery_damaged_ranges_total", 1.0),
        ("headwater_recovery_duration_seconds_total", 0.5),
        (
            concat!(
                "headwater_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"}"
            ),
            1.0,
        ),
    ];
    for (sample, value) in table {
        assert_eq!(found.get(sample), Some(&value), "{sample} in {found:#?}");
    }
}

#[test]
fn the_process_tells_its_cpu_time_memory_and_files() {
    let mut registry = Registry::default();
    Metrics::register(&mut registry);
    let found = scrape(&registry);
    assert!(found["process_resident_memory_bytes"] > 1e6, "{found:#?}");
    assert!(found["process_open_fds"] >= 3.0);
    assert!(found["process_cpu_seconds_total"] >= 0.0);
}

#[test]
fn clones_share_and_registries_do_not() {
    let (mut one, mut other) = (Registry::default(), Registry::default());
    let metrics = Metrics::register(&mut one);
    Metrics::register(&mut other);
    metrics.clone().observe_error("X");
    assert_eq!(scrape(&one)["headwater_errors_total{reason=\"X\"}"], 1.0);
    assert_eq!(
        scrape(&other).get("headwater_errors_total{reason=\"X\"}"),
        None
    );
}
