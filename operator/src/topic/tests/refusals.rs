//! Brokers' refusals as conditions.

use headwater_crds::{Reason, Verdict};

use crate::brokers::BrokerError;
use crate::topic::failed;

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_waits_for_a_person() {
    let gone = failed(&BrokerError::Unreachable("no answer".to_owned()));
    assert!(matches!(
        gone,
        Verdict::Reconciling {
            reason: Reason::ClusterNotReady,
            ..
        }
    ));
    let stale = failed(&BrokerError::Stale("revision 4".to_owned()));
    assert!(matches!(stale, Verdict::Reconciling { .. }));
    let refused = |reason: &str| {
        failed(&BrokerError::Refused {
            reason: reason.to_owned(),
            message: "no".to_owned(),
        })
    };
    let shrink = refused("PARTITIONS_SHRINK").reason();
    assert_eq!(shrink, Reason::PartitionsCannotShrink);
    let verdict = refused("INVALID_CONFIG");
    assert!(
        matches!(&verdict, Verdict::Stalled { reason: Reason::Refused, message } if message == "no")
    );
}
