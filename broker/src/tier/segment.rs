//! A local segment on its way up.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_log::{LogError, LogView, ReadSlice, SegmentContext};
use headwater_record::Offset;
use headwater_tier::SegmentSource;
use headwater_tier::limits::UPLOAD_PIECE_BYTES;

use crate::partition::handle::PartitionHandle;

/// Reads a sealed segment off the runtime's threads.
pub(super) struct LocalSegment {
    pub(super) handle: Arc<PartitionHandle>,
    pub(super) view: LogView,
    pub(super) base: Offset,
    pub(super) end: Offset,
}

#[async_trait]
impl SegmentSource for LocalSegment {
    async fn context(&mut self) -> Result<SegmentContext, LogError> {
        let context = self.handle.segment_context(self.base, self.end).await;
        // A partition that was closed has no log any more.
        context.unwrap_or(Err(LogError::Failed))
    }

    async fn read(&mut self, from: Offset) -> Result<ReadSlice, LogError> {
        let (view, end) = (self.view.clone(), self.end);
        let read = move || view.read_sealed(from, end, UPLOAD_PIECE_BYTES);
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or(Err(LogError::Failed))
    }
}
