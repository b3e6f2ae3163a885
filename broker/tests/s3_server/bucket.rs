//! The bucket: what S3 promises of one, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::fault::{Fault, Strike};

/// What is there, and what is ordered.
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) uploads: BTreeMap<String, BTreeMap<i32, Bytes>>,
    pub(super) faults: Vec<Fault>,
    pub(super) requests: BTreeMap<&'static str, u64>,
    pub(super) page_objects: usize,
    pub(super) ignores_conditions: bool,
    uploads_begun: u64,
}

pub(super) struct Stored {
    bytes: Bytes,
    etag: String,
    modified: SystemTime,
}

impl Default for State {
    fn default() -> State {
        State {
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            faults: Vec::new(),
            requests: BTreeMap::new(),
            page_objects: 1000,
            ignores_conditions: false,
            uploads_begun: 0,
        }
    }
}

impl State {
    pub(super) fn corrupt(&mut self, key: &str, byte: usize) {
        let stored = self.objects.get_mut(key).expect("the object is there");
        let mut bytes = stored.bytes.to_vec();
        bytes[byte] ^= 1;
        stored.bytes = bytes.into();
    }

    /// Puts an object, if the condition holds.
    fn put(&mut self, key: &str, bytes: Bytes, only_if_absent: bool) -> S3Result<ETag> {
        if only_if_absent && !self.ignores_conditions && self.objects.contains_key(key) {
            return Err(s3_error!(PreconditionFailed));
        }
        let etag = format!("{:08x}-{}", crc32c::crc32c(&bytes), bytes.len());
        let stored = Stored {
            bytes,
            etag: etag.clone(),
            modified: SystemTime::now(),
        };
        self.objects.insert(key.to_owned(), stored);
        Ok(ETag::Strong(etag))
    }
}

#[derive(Clone)]
pub(super) struct Bucket(pub(super) Arc<Mutex<State>>);

impl Bucket {
    /// Counts the request, lets what is ordered strike, or does it.
    async fn answer<T>(
        &self,
        operation: &'static str,
        key: &str,
        act: impl FnOnce(&mut State) -> S3Result<T> + Send,
    ) -> S3Result<S3Response<T>> {
        let strike = {
            let mut state = self.0.lock().unwrap();
            *state.requests.entry(operation).or_default() += 1;
            let mut faults = state.faults.iter_mut();
            faults.find_map(|fault| fault.check(operation, key))
        };
        match strike {
            Some(Strike::Broken) => Err(s3_error!(InternalError)),
            Some(Strike::Throttled) => Err(s3_error!(SlowDown)),
            Some(Strike::Denied) => Err(s3_error!(AccessDenied)),
            Some(Strike::Hang) => std::future::pending().await,
            Some(Strike::LostAnswer) => {
                drop(act(&mut self.0.lock().unwrap()));
                Err(s3_error!(InternalError))
            }
            Some(Strike::Slow(time)) => {
                tokio::time::sleep(time).await;
                act(&mut self.0.lock().unwrap()).map(S3Response::new)
            }
            None => act(&mut self.0.lock().unwrap()).map(S3Response::new),
        }
    }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body
            .try_next()
            .await
            .map_err(|error| s3_error!(IncompleteBody, "{error}"))?
        {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes.freeze())
}

/// The server refuses what was damaged on the way.
fn check_crc32c(bytes: &[u8], told: Option<&str>) -> S3Result<()> {
    use base64::Engine as _;
    let told = told.ok_or_else(|| s3_error!(InvalidRequest, "no checksum"))?;
    let sum = crc32c::crc32c(bytes).to_be_bytes();
    if told == base64::prelude::BASE64_STANDARD.encode(sum) {
        Ok(())
    } else {
        Err(s3_error!(BadDigest))
    }
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        check_crc32c(&bytes, input.checksum_crc32c.as_deref())?;
        let only_if_absent = input
            .if_none_match
            .is_some_and(|condition| condition.is_any());
        self.answer("PutObject", &input.key, |state| {
            Ok(PutObjectOutput {
                e_tag: Some(state.put(&input.key, bytes, only_if_absent)?),
                ..Default::default()
            })
        })
        .await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.answer("CreateMultipartUpload", &input.key, |state| {
            state.uploads_begun += 1;
            let id = format!("upload-{}", state.uploads_begun);
            state.uploads.insert(id.clone(), BTreeMap::new());
            Ok(CreateMultipartUploadOutput {
                bucket: Some(input.bucket),
                key: Some(input.key.clone()),
                upload_id: Some(id),
                ..Default::default()
            })
        })
        .await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        check_crc32c(&bytes, input.checksum_crc32c.as_deref())?;
        self.answer("UploadPart", &input.key, |state| {
            let upload = state.uploads.get_mut(&input.upload_id);
            let parts = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
            parts.insert(input.part_number, bytes);
            Ok(UploadPartOutput {
                e_tag: Some(ETag::Strong(format!("part-{}", input.part_number))),
                ..Default::default()
            })
        })
        .await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let only_if_absent = input
            .if_none_match
            .is_some_and(|condition| condition.is_any());
        let named = input.multipart_upload.and_then(|upload| upload.parts);
        let named = named.unwrap_or_default();
        self.answer("CompleteMultipartUpload", &input.key, |state| {
            let parts = state.uploads.get(&input.upload_id);
            let parts = parts.ok_or_else(|| s3_error!(NoSuchUpload))?;
            let mut bytes = BytesMut::new();
            for (at, part) in named.iter().enumerate() {
                let number = part.part_number.unwrap_or_default();
                let part = parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
                if at + 1 < named.len() && part.len() < 5 << 20 {
                    return Err(s3_error!(EntityTooSmall));
                }
                bytes.extend_from_slice(part);
            }
            let etag = state.put(&input.key, bytes.freeze(), only_if_absent)?;
            state.uploads.remove(&input.upload_id);
            Ok(CompleteMultipartUploadOutput {
                bucket: Some(input.bucket),
                key: Some(input.key.clone()),
                e_tag: Some(etag),
                ..Default::default()
            })
        })
        .await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.answer("AbortMultipartUpload", &input.key, |state| {
            let removed = state.uploads.remove(&input.upload_id);
            removed.ok_or_else(|| s3_error!(NoSuchUpload))?;
            Ok(AbortMultipartUploadOutput::default())
        })
        .await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let mut response = self
            .answer("GetObject", &input.key, |state| {
                let stored = state.objects.get(&input.key);
                let stored = stored.ok_or_else(|| s3_error!(NoSuchKey))?;
                let length = stored.bytes.len() as u64;
                let range = match &input.range {
                    Some(range) => range.check(length)?,
                    None => 0..length,
                };
                let bytes = stored.bytes.slice(range.start as usize..range.end as usize);
                let content_range = input.range.as_ref().map(|_| {
                    format!(
                        "bytes {}-{}/{length}",
                        range.start,
                        range.end.saturating_sub(1)
                    )
                });
                Ok(GetObjectOutput {
                    content_length: Some(bytes.len() as i64),
                    content_range,
                    body: Some(StreamingBlob::from(Body::from(bytes))),
                    e_tag: Some(ETag::Strong(stored.etag.clone())),
                    last_modified: Some(stored.modified.into()),
                    ..Default::default()
                })
            })
            .await?;
        if input.range.is_some() {
            response.status = Some(http::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        self.answer("HeadObject", &input.key, |state| {
            let stored = state.objects.get(&input.key);
            let stored = stored.ok_or_else(|| s3_error!(NoSuchKey))?;
            Ok(HeadObjectOutput {
                content_length: Some(stored.bytes.len() as i64),
                e_tag: Some(ETag::Strong(stored.etag.clone())),
                last_modified: Some(stored.modified.into()),
                ..Default::default()
            })
        })
        .await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        self.answer("ListObjectsV2", &prefix.clone(), |state| {
            if input
                .delimiter
                .is_some_and(|delimiter| !delimiter.is_empty())
            {
                return Err(s3_error!(NotImplemented, "no folders here"));
            }
            // A token of ours is the last key of the page before.
            let after = input.continuation_token.or(input.start_after);
            let page = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or_default();
            let page = page.min(state.page_objects);
            let from = match &after {
                Some(after) => Bound::Excluded(after.clone()),
                None => Bound::Unbounded,
            };
            let found = state.objects.range((from, Bound::Unbounded));
            let mut found = found.filter(|(key, _)| key.starts_with(&prefix));
            let contents: Vec<Object> = found
                .by_ref()
                .take(page)
                .map(|(key, stored)| Object {
                    key: Some(key.clone()),
                    size: Some(stored.bytes.len() as i64),
                    e_tag: Some(ETag::Strong(stored.etag.clone())),
                    last_modified: Some(stored.modified.into()),
                    ..Default::default()
                })
                .collect();
            let truncated = found.next().is_some();
            let last = contents.last().and_then(|object| object.key.clone());
            Ok(ListObjectsV2Output {
                name: Some(input.bucket),
                prefix: Some(prefix),
                key_count: Some(contents.len() as i32),
                max_keys: Some(page as i32),
                is_truncated: Some(truncated),
                next_continuation_token: last.filter(|_| truncated),
                contents: Some(contents),
                ..Default::default()
            })
        })
        .await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        self.answer("DeleteObject", &input.key, |state| {
            state.objects.remove(&input.key);
            Ok(DeleteObjectOutput::default())
        })
        .await
    }
}
