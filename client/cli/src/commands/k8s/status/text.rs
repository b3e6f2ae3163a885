//! The screen.

use super::pods::{BrokerView, ClaimView};
use super::view::{ClusterView, Standing, StatusView, TopicView};
use super::warnings::WarningView;
use crate::kubernetes::lease::Operator;
use crate::output::{Answer, columns, facts};
use crate::talk::Paint;
use crate::units::{show_age, show_many};

/// Topics in the table of one Cluster; of more, those that are Ready are only counted.
const TOPICS_SHOWN_MAX: usize = 20;
/// Warnings shown of one Cluster.
const WARNINGS_SHOWN_MAX: usize = 10;
/// Characters of a warning's message; `kubectl describe` has the rest.
const MESSAGE_CHARS_MAX: usize = 200;

impl Answer for StatusView {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        for cluster in &self.clusters {
            parts.push(cluster.text(self.paint));
        }
        let mut notes = Vec::new();
        if let Some(operators) = &self.operators {
            notes.extend(operator_notes(operators, self.paint));
        }
        let unread = |text: &String| format!("{} {}", self.paint.yellow("!"), one_line(text));
        notes.extend(self.unread.iter().map(unread));
        if !notes.is_empty() {
            parts.push(notes.join("\n"));
        }
        parts.join("\n\n")
    }

    fn names(&self) -> Vec<String> {
        let name = |cluster: &ClusterView| format!("{}/{}", cluster.namespace, cluster.name);
        self.clusters.iter().map(name).collect()
    }
}

fn operator_notes(operators: &[Operator], paint: Paint) -> Vec<String> {
    if operators.iter().any(|operator| operator.acts) {
        let acting = operators.iter().filter(|operator| operator.acts);
        return acting
            .map(|operator| format!("{} {}", paint.green("✓"), operator.describe()))
            .collect();
    }
    let mut text = format!(
        "{} no operator is at work: nothing above will change",
        paint.red("✗")
    );
    if let Some(last) = operators
        .iter()
        .min_by_key(|operator| operator.renewed_ago_seconds)
    {
        text.push_str(&format!("; the last was {}", last.describe()));
    }
    vec![text]
}

impl ClusterView {
    fn text(&self, paint: Paint) -> String {
        let mut parts = vec![self.head(paint), indent(&self.facts())];
        parts.push(indent(&brokers(&self.brokers)));
        if !self.claims.is_empty() {
            parts.push(indent(&claims(&self.claims)));
        }
        parts.push(indent(&topics(&self.topics, paint)));
        if !self.warnings.is_empty() {
            parts.push(indent(&warnings(&self.warnings, paint)));
        }
        parts.push(indent(&self.health_text()));
        parts.join("\n\n")
    }

    fn head(&self, paint: Paint) -> String {
        let name = paint.bold(format!("Cluster {}/{}", self.namespace, self.name));
        let mut text = format!(
            "{} {name} {}",
            mark(&self.standing, paint),
            is(&self.standing)
        );
        if self.standing.deleting {
            text.push_str(
                "\n  it is being deleted; if no operator is left to do that, `headwater k8s \
                 unstick` lets it go",
            );
        }
        if self.paused {
            text.push_str("\n  spec.paused is set: the operator changes nothing");
        }
        let message = one_line(&self.standing.message);
        let label = if self.standing.ready { "" } else { "why: " };
        if !message.is_empty() {
            text.push_str(&format!("\n  {label}{message}"));
        }
        text
    }

    fn facts(&self) -> String {
        let unknown = || "not known yet".to_owned();
        let ready = self.brokers.iter().filter(|broker| broker.ready).count();
        let known = |text: &Option<String>| text.clone().unwrap_or_else(unknown);
        facts(&[
            ("version", known(&self.version)),
            ("image", known(&self.image)),
            ("address", known(&self.address)),
            ("cluster id", known(&self.cluster_id)),
            ("brokers", format!("{ready} of {} ready", self.replicas)),
            ("storage", format!("{} each", self.storage_size)),
        ])
    }

    fn health_text(&self) -> String {
        let text = match (&self.health, &self.health_unknown) {
            (Some(health), _) => health.table(),
            (None, Some(why)) => format!("not asked: {}", one_line(why)),
            (None, None) => "not asked".to_owned(),
        };
        format!("a broker's own findings: {text}")
    }
}

fn mark(standing: &Standing, paint: Paint) -> String {
    match (standing.ready, standing.state) {
        (true, _) => paint.green("✓"),
        (false, "Stalled") => paint.red("✗"),
        (false, _) => paint.yellow("!"),
    }
}

fn is(standing: &Standing) -> String {
    match standing.state == standing.reason {
        true => format!("is {}", standing.state),
        false => format!("is {} ({})", standing.state, standing.reason),
    }
}

fn brokers(brokers: &[BrokerView]) -> String {
    if brokers.is_empty() {
        return "there is no broker pod".to_owned();
    }
    let row = |broker: &BrokerView| {
        vec![
            broker.pod.clone(),
            broker.state.clone(),
            broker
                .broker_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            broker.restarts.to_string(),
            broker.version.clone().unwrap_or_default(),
            broker.node.clone().unwrap_or_default(),
        ]
    };
    let header = ["pod", "state", "broker", "restarts", "version", "node"];
    let mut text = columns(&header, &[2, 3], brokers.iter().map(row));
    for broker in brokers {
        for remark in &broker.remarks {
            text.push_str(&format!("\n{}: {}", broker.pod, one_line(remark)));
        }
    }
    text
}

fn claims(claims: &[ClaimView]) -> String {
    let row = |claim: &ClaimView| {
        vec![
            claim.claim.clone(),
            claim.state.clone(),
            claim.asked.clone().unwrap_or_default(),
            claim.capacity.clone().unwrap_or_default(),
            claim.class.clone().unwrap_or_default(),
            claim.pod.clone().unwrap_or_else(|| "none".to_owned()),
        ]
    };
    let header = ["claim", "state", "asked", "capacity", "class", "used by"];
    columns(&header, &[2, 3], claims.iter().map(row))
}

fn topics(topics: &[TopicView], paint: Paint) -> String {
    let ready = topics.iter().filter(|topic| topic.standing.ready).count();
    let total = show_many(topics.len(), "Topic");
    let mut text = match (topics.len(), topics.len() - ready) {
        (0, _) => return "no Topic names this Cluster".to_owned(),
        (_, 0) => format!("{total}: all Ready"),
        (_, troubled) => format!("{total}: {}", paint.red(format!("{troubled} not Ready"))),
    };
    let all = topics.len() <= TOPICS_SHOWN_MAX;
    let shown = topics.iter().filter(|topic| all || !topic.standing.ready);
    let shown: Vec<_> = shown.take(TOPICS_SHOWN_MAX).collect();
    if shown.is_empty() {
        return text;
    }
    let count = |count: Option<i32>| count.map(|count| count.to_string()).unwrap_or_default();
    let row = |topic: &&TopicView| {
        let Standing { state, reason, .. } = &topic.standing;
        vec![
            topic.topic.clone(),
            count(topic.partitions),
            count(topic.in_sync_partitions),
            (*state).to_owned(),
            if state == reason {
                String::new()
            } else {
                reason.clone()
            },
        ]
    };
    let header = ["topic", "partitions", "in sync", "state", "reason"];
    text.push('\n');
    text.push_str(&columns(&header, &[1, 2], shown.iter().map(row)));
    for topic in shown.iter().filter(|topic| !topic.standing.ready) {
        let leaving = if topic.standing.deleting {
            "being deleted; "
        } else {
            ""
        };
        let message = one_line(&topic.standing.message);
        text.push_str(&format!("\n{}: {leaving}{message}", topic.topic));
    }
    let hidden = (topics.len() - ready).saturating_sub(shown.len());
    if !all && hidden > 0 {
        text.push_str(&format!(
            "\nand {hidden} more that are not Ready; -o json has all"
        ));
    }
    text
}

fn warnings(warnings: &[WarningView], paint: Paint) -> String {
    let mut text = paint.yellow("Warnings of the last hour");
    for warning in warnings.iter().take(WARNINGS_SHOWN_MAX) {
        let times = match warning.count {
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        let mut message = one_line(&warning.message);
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        text.push_str(&format!(
            "\n{} ago, {}: {}{times}: {message}",
            show_age(warning.age),
            warning.object,
            warning.reason,
        ));
    }
    match warnings.len().saturating_sub(WARNINGS_SHOWN_MAX) {
        0 => text,
        more => format!(
            "{text}\nand {}; -o json has all",
            show_many(more, "older one")
        ),
    }
}

/// Text of others in one line, without what would move a terminal's cursor.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn indent(text: &str) -> String {
    let line = |line: &str| match line.is_empty() {
        true => String::new(),
        false => format!("  {line}"),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
