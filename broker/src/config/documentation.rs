//! The table of settings in docs/configuration.md.

use std::fmt::Write as _;

use super::keys::{Form, KEYS, Key};
use super::value::{show_size, show_time};

#[test]
fn the_documentation_lists_every_setting() {
    let documented = include_str!("../../../docs/configuration.md");
    let (_, rest) = documented.split_once("<!-- settings -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end of settings -->").unwrap();
    assert_eq!(
        table,
        markdown(),
        "put this table between the two comments:\n{}",
        markdown()
    );
}

/// The table of docs/configuration.md; the test above compares the two.
fn markdown() -> String {
    let mut out = "| Key | Default | Values | Meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let Key {
            name,
            default,
            help,
            ..
        } = key;
        let _ = writeln!(
            out,
            "| `{name}` | `{default}` | {} | {help} |",
            values(&key.form)
        );
    }
    out
}

fn values(form: &Form) -> String {
    let sizes = |min: u64, max: u64| format!("{} to {}", show_size(min), show_size(max));
    let times = |min: u64, max: u64| format!("{} to {}", show_time(min), show_time(max));
    match *form {
        Form::Size(min, max) => sizes(min, max),
        Form::SizeOrUnlimited(min, max) => format!("{}, or unlimited", sizes(min, max)),
        Form::SizeOrAuto(min, max) => format!("{}, or auto", sizes(min, max)),
        Form::Time(min, max) => times(min, max),
        Form::TimeOrForever(min, max) => format!("{}, or forever", times(min, max)),
        Form::Count(min, max) => format!("{min} to {max}"),
        Form::CountOrAuto(min, max) => format!("{min} to {max}, or auto"),
        Form::Switch => "true, false".to_owned(),
        Form::Choice(words) => words.join(", "),
        Form::Text => "text".to_owned(),
    }
}
