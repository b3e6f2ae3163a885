//! What a change of tiering or of a retention does to the records of a topic, in words: the command line says it before
//! it asks for the change, and the operator in an event.

/// How long records are kept, and where, by the settings in force. A bound that is absent or below zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Whether sealed segments are uploaded.
    pub tiering: bool,
    /// How long there are records, in milliseconds.
    pub retention_ms: Option<i64>,
    /// How many bytes of them a partition holds.
    pub retention_bytes: Option<i64>,
    /// How long copies of what is in the tier stay on the brokers' disks, in milliseconds.
    pub local_retention_ms: Option<i64>,
    /// How many bytes of a partition are on a disk before they go.
    pub local_retention_bytes: Option<i64>,
}

/// How amounts are written where the words stand.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// Milliseconds.
    pub time: fn(u64) -> String,
    /// Bytes.
    pub size: fn(u64) -> String,
}

/// What will happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// For people, after the name of the topic.
    pub says: String,
    /// Whether that is better asked than told.
    pub asks: bool,
}

/// What going from one to the other does to what is in the tier and on the disks; `None` if nothing of this kind changes.
/// Without effect in a cluster that has no tier.
pub fn move_effect(before: &Keeping, after: &Keeping, units: Units) -> Option<Effect> {
    let tells = |says: String| Some(Effect { says, asks: false });
    let (old, new) = (before.local(), after.local());
    match (before.tiering, after.tiering) {
        (true, false) => Some(Effect {
            says: "turning tiering off: nothing more is uploaded; what is in the tier stays there \
                   and stays readable until retention takes it; everything newer stays on the \
                   brokers' disks until retention takes it, which needs the room"
                .to_owned(),
            asks: true,
        }),
        (false, true) => tells(format!(
            "turning tiering on: sealed segments are uploaded to the tier; their copies on the \
             brokers' disks go {}, and are read from the tier from then on",
            copies_go(new, units)
        )),
        _ if old == new => None,
        (false, false) => tells(
            "tiering is off for this topic, so local retention only counts for what was uploaded \
             before"
                .to_owned(),
        ),
        (true, true) if !lowers(new, old) => tells(format!(
            "copies on the brokers' disks of what is in the tier go {}; they are read from the \
             tier from then on, and do not come back when this is taken back",
            copies_go(new, units)
        )),
        (true, true) => tells(format!(
            "copies on the brokers' disks of what is in the tier go {}; those that are gone \
             already do not come back and are read from the tier",
            copies_go(new, units)
        )),
    }
}

/// What a shorter retention does to the records themselves; `None` if it is none.
pub fn delete_effect(before: &Keeping, after: &Keeping, units: Units) -> Option<Effect> {
    let (old, new) = (before.total(), after.total());
    lowers(old, new).then(|| Effect {
        says: format!(
            "records are deleted {}, wherever they are; they do not come back when this is taken back",
            bounded(new, "they were", "", units)
        ),
        asks: false,
    })
}

/// Milliseconds and bytes; no bound is the largest.
type Bounds = (u64, u64);

impl Keeping {
    fn total(&self) -> Bounds {
        (bound(self.retention_ms), bound(self.retention_bytes))
    }

    fn local(&self) -> Bounds {
        (
            bound(self.local_retention_ms),
            bound(self.local_retention_bytes),
        )
    }
}

fn bound(given: Option<i64>) -> u64 {
    given
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(u64::MAX)
}

/// Whether a bound of the second is below that of the first.
fn lowers(first: Bounds, second: Bounds) -> bool {
    second.0 < first.0 || second.1 < first.1
}

/// When local copies go.
fn copies_go(bounds: Bounds, units: Units) -> String {
    match bounds {
        (0, _) | (_, 0) => "as soon as they are in the tier".to_owned(),
        (u64::MAX, u64::MAX) => "only when retention takes the records".to_owned(),
        bounds => bounded(bounds, "the records were", " on a disk", units),
    }
}

/// When what has at least one bound goes.
fn bounded((ms, bytes): Bounds, they_were: &str, place: &str, units: Units) -> String {
    let time = || format!("{} after {they_were} appended", (units.time)(ms));
    let size = || {
        let size = (units.size)(bytes);
        format!("while a partition takes more than {size}{place}")
    };
    match (ms, bytes) {
        (_, u64::MAX) => time(),
        (u64::MAX, _) => size(),
        _ => format!("{}, and earlier {}", time(), size()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units {
        time: |ms| format!("{ms} ms"),
        size: |bytes| format!("{bytes} bytes"),
    };

    fn total(ms: i64, bytes: i64) -> Keeping {
        Keeping {
            tiering: true,
            retention_ms: Some(ms),
            retention_bytes: Some(bytes),
            ..Keeping::default()
        }
    }

    #[test]
    fn a_shorter_retention_says_when_records_go_and_a_longer_one_nothing() {
        let says = |before, after| {
            let effect = delete_effect(&before, &after, UNITS)?;
            assert!(!effect.asks);
            Some(effect.says)
        };
        let words = |says: Option<String>, words: &str| {
            let says = says.unwrap();
            assert!(says.contains(words), "{words}: {says}");
        };
        let day = total(86_400_000, -1);
        words(
            says(Keeping::default(), day),
            "deleted 86400000 ms after they were appended, wherever",
        );
        words(
            says(day, total(-1, 7)),
            "deleted while a partition takes more than 7 bytes, wherever",
        );
        words(
            says(day, total(86_400_000, 7)),
            "appended, and earlier while",
        );
        assert_eq!(says(day, day), None);
        assert_eq!(says(day, total(-1, -1)), None);
        assert_eq!(says(day, total(604_800_000, -1)), None);
    }

    #[test]
    fn a_retention_moves_nothing_and_a_local_one_deletes_nothing() {
        let local = |ms| Keeping {
            tiering: true,
            local_retention_ms: Some(ms),
            ..Keeping::default()
        };
        assert_eq!(move_effect(&total(-1, -1), &total(1, 1), UNITS), None);
        assert_eq!(delete_effect(&local(-1), &local(0), UNITS), None);
        let shorter = move_effect(&local(-1), &local(5), UNITS).unwrap().says;
        assert!(
            shorter.contains("go 5 ms after the records were appended"),
            "{shorter}"
        );
        assert!(shorter.contains("when this is taken back"), "{shorter}");
        let longer = move_effect(&local(5), &local(-1), UNITS).unwrap().says;
        assert!(longer.contains("gone already"), "{longer}");
    }
}
