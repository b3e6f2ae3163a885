//! What a change of tiering or of a retention will do, said before it is done.

use std::time::Duration;

use headwater_client::Admin;
use headwater_client::types::{Topic, TopicConfig};
use headwater_crds::{Effect, Keeping, Units, delete_effect, move_effect};

use crate::failure::Outcome;
use crate::session::Session;
use crate::units::{show_bytes, show_duration};

const UNITS: Units = Units {
    time: |ms| show_duration(Duration::from_millis(ms)),
    size: show_bytes,
};

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
    let (is, shall) = (config(&before), config(&after));
    let says = |effect: &Effect| format!("{}: {}", before.name, effect.says);
    if let Some(effect) = deleted(&is, &shall) {
        session.talk.note(says(&effect));
    }
    let Some(effect) = effect(&is, &shall) else {
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
    let says = says(&effect);
    if effect.asks && !yes {
        return session.talk.confirm(&format!("{says}. Go on?"), false);
    }
    session.talk.note(says);
    Ok(())
}

/// What going from one to the other does to what is where; `None` if nothing of this kind changes.
fn effect(before: &TopicConfig, after: &TopicConfig) -> Option<Effect> {
    move_effect(&keeping(before), &keeping(after), UNITS)
}

/// What going from one to the other deletes.
fn deleted(before: &TopicConfig, after: &TopicConfig) -> Option<Effect> {
    delete_effect(&keeping(before), &keeping(after), UNITS)
}

fn keeping(config: &TopicConfig) -> Keeping {
    Keeping {
        tiering: config.tiering(),
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        local_retention_ms: config.local_retention_ms,
        local_retention_bytes: config.local_retention_bytes,
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
