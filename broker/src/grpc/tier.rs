//! `TierService`.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::tier_service_server::TierService;
use headwater_proto::v1::verify_tier_response::Event;
use headwater_record::Offset;
use headwater_tier::{Depth, ProblemKind};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Service;
use crate::facade::{Broker, PartitionTier, VerifyEvent};

/// How often a check says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Messages of a check that wait for a slow client; the check waits behind them.
const EVENTS_WAITING_MAX: usize = 64;

#[tonic::async_trait]
impl TierService for Service {
    async fn get_tier_status(
        &self,
        request: Request<v1::GetTierStatusRequest>,
    ) -> Result<Response<v1::GetTierStatusResponse>, Status> {
        let principal = self.principal(&request);
        let topics = request.into_inner().topics;
        let status = self.broker.tier_status(&principal, &topics).await?;
        let wall_ms = self.broker.wall_ms();
        let partitions: Vec<_> = status
            .iter()
            .map(|status| partition(status, wall_ms))
            .collect();
        let tiered_bytes = partitions
            .iter()
            .map(|partition| partition.tiered_bytes)
            .sum();
        Ok(Response::new(v1::GetTierStatusResponse {
            tier: info(&self.broker, tiered_bytes),
            partitions,
        }))
    }

    type VerifyTierStream =
        Pin<Box<dyn Stream<Item = Result<v1::VerifyTierResponse, Status>> + Send>>;

    async fn verify_tier(
        &self,
        request: Request<v1::VerifyTierRequest>,
    ) -> Result<Response<Self::VerifyTierStream>, Status> {
        let principal = self.principal(&request);
        let v1::VerifyTierRequest { topics, checksums } = request.into_inner();
        self.broker.tier()?;
        let depth = match checksums {
            true => Depth::Checksum,
            false => Depth::Length,
        };
        let (answers, stream) = mpsc::channel(EVENTS_WAITING_MAX);
        let (events, mut told) = mpsc::channel(EVENTS_WAITING_MAX);
        let broker = self.broker.clone();
        let check =
            tokio::spawn(
                async move { broker.verify_tier(&principal, &topics, depth, events).await },
            );
        tokio::spawn(async move {
            let mut answer = Answer::new(checksums);
            while let Some(event) = told.recv().await {
                if let Some(event) = answer.event(event)
                    && answers.send(Ok(response(event))).await.is_err()
                {
                    // Whoever has gone away needs no check: it ends when nobody takes what it tells.
                    return;
                }
            }
            let last = match check.await {
                Ok(Ok(partitions)) => Ok(response(answer.summary(partitions))),
                Ok(Err(error)) => Err(Status::from(error)),
                Err(_) => Err(Status::internal(
                    "the check has failed; the broker's log says why",
                )),
            };
            drop(answers.send(last).await);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// What a check has told so far.
struct Answer {
    summary: v1::VerifyTierSummary,
    /// Objects and bytes that are to be looked at in all, once that is known.
    total: Option<(i64, i64)>,
    progress_at: Instant,
}

impl Answer {
    fn new(checksums: bool) -> Answer {
        Answer {
            summary: v1::VerifyTierSummary {
                checksums,
                ..v1::VerifyTierSummary::default()
            },
            total: None,
            progress_at: Instant::now(),
        }
    }

    /// What is passed on: every problem, and now and then how far it is.
    fn event(&mut self, event: VerifyEvent) -> Option<Event> {
        match event {
            VerifyEvent::Total(objects, bytes) => {
                self.total = Some((objects as i64, bytes as i64));
                None
            }
            VerifyEvent::Progress(objects, bytes) => {
                self.summary.objects = objects as i64;
                self.summary.bytes = bytes as i64;
                if self.progress_at.elapsed() < PROGRESS_INTERVAL {
                    return None;
                }
                self.progress_at = Instant::now();
                let (objects_total, bytes_total) = self.total.unzip();
                Some(Event::Progress(v1::VerifyTierProgress {
                    objects: self.summary.objects,
                    objects_total,
                    bytes: self.summary.bytes,
                    bytes_total,
                }))
            }
            problem => {
                self.summary.problems += 1;
                Some(Event::Problem(self::problem(problem)))
            }
        }
    }

    fn summary(mut self, partitions: u64) -> Event {
        self.summary.partitions = partitions as i64;
        Event::Summary(self.summary)
    }
}

fn response(event: Event) -> v1::VerifyTierResponse {
    v1::VerifyTierResponse { event: Some(event) }
}

fn info(broker: &Broker, tiered_bytes: i64) -> Option<v1::TierInfo> {
    let tier = broker.tier().ok()?;
    let facts = tier.state.facts();
    let (last_error, last_error_time_ms) = facts.last_error.unzip();
    Some(v1::TierInfo {
        url: tier.url.clone(),
        reachable: facts.failing_since_ms.is_none(),
        last_error: last_error.unwrap_or_default(),
        last_error_time_ms,
        last_success_time_ms: facts.last_success_ms,
        upload_backlog_bytes: facts.backlog_bytes as i64,
        tiered_bytes,
        garbage_objects: facts.garbage_objects as i64,
    })
}

fn partition(status: &PartitionTier, wall_ms: i64) -> v1::PartitionTierStatus {
    let view = &status.view;
    let end = status
        .head
        .map_or(Offset::ZERO, |head| head.end)
        .max(view.log_start);
    let waiting = view
        .sealed
        .iter()
        .filter(|segment| status.tiering && segment.end_offset > end);
    let oldest_ms = waiting
        .clone()
        .next()
        .and_then(|segment| segment.latest_append_ms);
    let (tiered_bytes, tiered_segments) = status.tiered.unwrap_or_default();
    v1::PartitionTierStatus {
        topic: status.topic.clone(),
        partition: status.partition as i32,
        tiering: status.tiering,
        log_start_offset: view.log_start.to_i64(),
        local_start_offset: view.local_start.to_i64(),
        tier_start_offset: status
            .head
            .map(|head| head.start.max(view.log_start).to_i64()),
        tier_end_offset: status
            .head
            .map(|head| head.end.max(view.log_start).to_i64()),
        high_watermark: view.limit.to_i64(),
        local_bytes: status.local_bytes as i64,
        tiered_bytes: tiered_bytes as i64,
        tiered_segments: tiered_segments as i64,
        uploading_segments: status.uploading as i32,
        backlog_segments: waiting.clone().count() as i32,
        backlog_bytes: waiting.map(|segment| segment.size_bytes as i64).sum(),
        backlog_age_ms: oldest_ms.map(|ms| wall_ms.saturating_sub(ms).max(0)),
        last_error: status.error.clone().unwrap_or_default(),
    }
}

fn problem(event: VerifyEvent) -> v1::TierProblem {
    let VerifyEvent::Problem {
        topic,
        partition,
        problem,
        held_locally,
    } = event
    else {
        return v1::TierProblem::default();
    };
    let kind = match problem.kind {
        ProblemKind::Missing => v1::TierProblemKind::Missing,
        ProblemKind::Length => v1::TierProblemKind::Length,
        ProblemKind::Checksum => v1::TierProblemKind::Checksum,
        ProblemKind::Unreadable => v1::TierProblemKind::Unreadable,
    };
    v1::TierProblem {
        topic,
        partition: partition as i32,
        object_key: problem.object,
        base_offset: problem.range.start.to_i64(),
        end_offset: problem.range.end.to_i64(),
        kind: kind.into(),
        detail: problem.detail,
        held_locally,
    }
}
