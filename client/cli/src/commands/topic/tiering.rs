//! What a change of tiering or of local retention will do, said before it is done.

use std::time::Duration;

use headwater_client::Admin;
use headwater_client::types::{Topic, TopicConfig};

use crate::failure::Outcome;
use crate::session::Session;
use crate::units::{show_bytes, show_duration};

/// What will happen.
#[derive(Debug, PartialEq, Eq)]
struct Effect {
    /// For people, after the name of the topic.
    says: String,
    /// Whether that is better asked than told.
    asks: bool,
}

/// Says what changing `wanted` at `paths` will do, and asks where it is not harmless, unless `yes`.
/// From then on the change is conditional: what was said is what is done.
pub(super) async fn announce(
    admin: &Admin,
    session: &Session,
    wanted: &mut Topic,
    paths: &[&str],
    yes: bool,
) -> Outcome {
    let before = super::get(admin, &wanted.name).await?;
    wanted.revision = before.revision;
    let after = admin.update_topic(wanted.clone(), paths, true).await;
    let after = after.map_err(|error| super::failed("change", &wanted.name, &error))?;
    let config = |topic: &Topic| topic.effective_config.unwrap_or_default();
    let Some(effect) = effect(&config(&before), &config(&after)) else {
        return Ok(());
    };
    // A broker that cannot say counts as one with a tier: better said in vain.
    let status = admin.tier_status(&[&before.name]).await;
    if status.is_ok_and(|status| status.tier.is_none()) {
        let note = "the cluster has no tier: this has no effect until the broker's setting tier.url \
                    names one";
        session.talk.note(note);
        return Ok(());
    }
    let says = format!("{}: {}", before.name, effect.says);
    if effect.asks && !yes {
        return session.talk.confirm(&format!("{says}. Go on?"), false);
    }
    session.talk.note(says);
    Ok(())
}

/// What going from one to the other does; `None` if nothing of this kind changes.
fn effect(before: &TopicConfig, after: &TopicConfig) -> Option<Effect> {
    let tells = |says: String| Some(Effect { says, asks: false });
    let bounds = |config: &TopicConfig| {
        (
            bound(config.local_retention_ms),
            bound(config.local_retention_bytes),
        )
    };
    let (old, new) = (bounds(before), bounds(after));
    match (before.tiering(), after.tiering()) {
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
            when(after)
        )),
        _ if old == new => None,
        (false, false) => tells(
            "tiering is off for this topic, so local retention only counts for what was uploaded \
             before"
                .to_owned(),
        ),
        (true, true) if new.0 <= old.0 && new.1 <= old.1 => tells(format!(
            "copies on the brokers' disks of what is in the tier go {}; they are read from the \
             tier from then on, and do not come back when this is taken back",
            when(after)
        )),
        (true, true) => tells(format!(
            "copies on the brokers' disks of what is in the tier go {}; those that are gone \
             already do not come back and are read from the tier",
            when(after)
        )),
    }
}

/// A bound that can be compared: none is the largest.
fn bound(given: Option<i64>) -> u64 {
    given
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(u64::MAX)
}

/// When copies go.
fn when(config: &TopicConfig) -> String {
    let time = |ms| {
        let time = show_duration(Duration::from_millis(ms));
        format!("{time} after the records were appended")
    };
    let size = |bytes| {
        let size = show_bytes(bytes);
        format!("while a partition takes more than {size} on a disk")
    };
    let (ms, bytes) = (
        bound(config.local_retention_ms),
        bound(config.local_retention_bytes),
    );
    match (ms, bytes) {
        (0, _) | (_, 0) => "as soon as they are in the tier".to_owned(),
        (u64::MAX, u64::MAX) => "only when retention takes the records".to_owned(),
        (ms, u64::MAX) => time(ms),
        (u64::MAX, bytes) => size(bytes),
        (ms, bytes) => format!("{}, and earlier {}", time(ms), size(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tiering: bool, ms: i64, bytes: i64) -> TopicConfig {
        TopicConfig {
            tiering: Some(tiering),
            local_retention_ms: Some(ms),
            local_retention_bytes: Some(bytes),
            ..TopicConfig::default()
        }
    }

    fn check(before: TopicConfig, after: TopicConfig, asks: bool, words: &str) {
        let effect = effect(&before, &after).unwrap();
        assert_eq!(effect.asks, asks, "{}", effect.says);
        assert!(effect.says.contains(words), "{words}: {}", effect.says);
    }

    const DAY: i64 = 86_400_000;

    #[test]
    fn turning_tiering_off_is_asked_and_says_what_stays_where() {
        check(
            config(true, DAY, -1),
            config(false, DAY, -1),
            true,
            "stays readable until retention takes it",
        );
    }

    #[test]
    fn turning_tiering_on_says_when_local_copies_go() {
        let before = config(false, DAY, -1);
        let cases = [
            (DAY, -1, "1d after the records were appended"),
            (-1, 1 << 30, "while a partition takes more than 1.0 GiB"),
            (DAY, 1 << 30, "appended, and earlier while a partition"),
            (0, -1, "as soon as they are in the tier"),
            (-1, 0, "as soon as they are in the tier"),
            (-1, -1, "only when retention takes the records"),
        ];
        for (ms, bytes, words) in cases {
            check(before, config(true, ms, bytes), false, words);
        }
    }

    #[test]
    fn what_local_retention_drops_does_not_come_back() {
        let day = config(true, DAY, -1);
        let hour = config(true, DAY / 24, -1);
        check(day, hour, false, "when this is taken back");
        check(hour, day, false, "those that are gone already");
    }

    #[test]
    fn without_tiering_local_retention_hardly_counts_and_no_change_says_nothing() {
        let off = config(false, DAY, -1);
        check(off, config(false, 0, -1), false, "tiering is off");
        assert_eq!(effect(&off, &off), None);
    }
}
