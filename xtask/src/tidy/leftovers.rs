//! Nothing half-done stays, and nothing tells of the machine that it was written on.

use super::{expect_none, files};

/// Marks of unfinished work, split so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("db", "g!("),
    concat!("tod", "o!("),
    concat!("unimplemented", "!("),
    concat!("#[ig", "nore"),
    concat!("<<<<", "<<< "),
];

/// Places on one developer's machine.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tm", "p/t/"),
];

#[test]
fn no_unfinished_work_is_left() {
    check("unfinished work", UNFINISHED);
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    check("paths of a machine", MACHINE);
}

fn check(rule: &str, patterns: &[&str]) {
    let mut findings = Vec::new();
    for (path, text) in files() {
        for (line, content) in text.lines().enumerate() {
            for pattern in patterns
                .iter()
                .filter(|pattern| content.contains(**pattern))
            {
                findings.push(format!("{}:{}: {pattern}", path.display(), line + 1));
            }
        }
    }
    expect_none(rule, &findings);
}
