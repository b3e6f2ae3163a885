//! Whoever reads a reason in a condition finds a section about it.

use headwater_crds::Reason;
use strum::IntoEnumIterator as _;

use super::expect_none;

const PAGE: &str = "docs/operations/troubleshooting.md";

#[test]
fn troubleshooting_has_a_section_for_every_reason() {
    let text = std::fs::read_to_string(crate::repository().join(PAGE)).unwrap();
    // Headings of this level are reasons and nothing else.
    let headings = text.lines().filter_map(|line| line.strip_prefix("### "));
    let headings: Vec<_> = headings.map(str::trim).collect();
    let reasons: Vec<_> = Reason::iter().map(Reason::as_str).collect();

    let sections = |reason: &str| {
        headings
            .iter()
            .filter(|heading| **heading == reason)
            .count()
    };
    let mut findings: Vec<_> = reasons
        .iter()
        .filter(|reason| sections(reason) != 1)
        .map(|reason| format!("{} sections `### {reason}`, not one", sections(reason)))
        .collect();
    let unknown = headings.iter().filter(|heading| !reasons.contains(heading));
    findings.extend(unknown.map(|heading| format!("`### {heading}` is no reason")));
    expect_none(PAGE, &findings);
}
