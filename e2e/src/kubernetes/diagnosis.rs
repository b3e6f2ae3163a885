//! What a person would look at next when a test has waited in vain.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt as _;
use kube::api::{ListParams, LogParams};

use super::{Kubernetes, NAMESPACE};

/// Events that are shown of a namespace.
const EVENTS_MAX: usize = 60;
/// Lines that are shown of a log.
const LOG_LINES_MAX: i64 = 60;

impl Kubernetes {
    /// Events, pods and logs of a namespace and of the operator's.
    pub(super) async fn diagnosis(&self, namespace: &str) -> String {
        let mut text = String::new();
        let mut namespaces = vec![namespace];
        if namespace != NAMESPACE {
            namespaces.push(NAMESPACE);
        }
        for namespace in namespaces {
            self.show_events(namespace, &mut text).await;
            self.show_pods(namespace, &mut text).await;
        }
        text
    }

    async fn show_events(&self, namespace: &str, text: &mut String) {
        let api = self.api::<Event>(namespace);
        let mut events = match api.list(&ListParams::default()).await {
            Ok(events) => events.items,
            Err(error) => {
                let _ = writeln!(text, "--- no events of {namespace}: {error}");
                return;
            }
        };
        events.sort_by_key(|event| event.creation_timestamp());
        let _ = writeln!(text, "--- events of {namespace}");
        for event in events.iter().rev().take(EVENTS_MAX).rev() {
            let about = &event.involved_object;
            let _ = writeln!(
                text,
                "{} {}/{} {}: {}",
                event.type_.as_deref().unwrap_or_default(),
                about.kind.as_deref().unwrap_or_default(),
                about.name.as_deref().unwrap_or_default(),
                event.reason.as_deref().unwrap_or_default(),
                event.message.as_deref().unwrap_or_default(),
            );
        }
    }

    async fn show_pods(&self, namespace: &str, text: &mut String) {
        let pods = self.api::<Pod>(namespace);
        let Ok(listed) = pods.list(&ListParams::default()).await else {
            return;
        };
        for pod in listed {
            let name = pod.name_any();
            let status = pod.status.unwrap_or_default();
            let states = status.container_statuses.unwrap_or_default();
            let phase = status.phase.unwrap_or_default();
            let _ = writeln!(text, "--- pod {namespace}/{name} {phase}");
            for state in states {
                let _ = writeln!(
                    text,
                    "{}: {:?}, {} restarts, before: {:?}",
                    state.name, state.state, state.restart_count, state.last_state
                );
            }
            for previous in [true, false] {
                let params = LogParams {
                    previous,
                    tail_lines: Some(LOG_LINES_MAX),
                    ..LogParams::default()
                };
                if let Ok(log) = pods.logs(&name, &params).await {
                    let _ = writeln!(text, "{log}");
                }
            }
        }
    }
}
