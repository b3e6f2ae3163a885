//! The identity file's bytes.

use prost::Message as _;

use super::State;
use crate::ids::{BrokerId, ClusterId, IncarnationId, StorageId};
use crate::limits::{BOOT_ID_BYTES_MAX, INCARNATIONS_MAX};

/// Bytes before the message: magic, format version (u32), length of the message (u32), CRC-32C
/// (u32) of everything else. Little-endian.
const HEADER_BYTES: usize = 20;
/// The version that this program writes and the newest that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"HWIDENTY";

/// Tags are frozen.
#[derive(Clone, PartialEq, prost::Message)]
struct IdentityMessage {
    #[prost(bytes = "vec", tag = "1")]
    storage: Vec<u8>,
    /// Empty: belongs to no cluster yet.
    #[prost(bytes = "vec", tag = "2")]
    cluster: Vec<u8>,
    /// 0: not registered yet.
    #[prost(uint32, tag = "3")]
    broker: u32,
    #[prost(string, tag = "4")]
    boot_id: String,
    #[prost(bytes = "vec", repeated, tag = "5")]
    incarnations: Vec<Vec<u8>>,
    #[prost(int64, optional, tag = "6")]
    last_wall_ms: Option<i64>,
    #[prost(bool, tag = "7")]
    clean: bool,
}

/// Why bytes are not an identity.
pub(super) enum FileError {
    /// A newer program wrote them.
    Newer { version: u32 },
    /// They are damaged.
    Damaged { position: usize, detail: String },
}

pub(super) fn encode(state: &State) -> Vec<u8> {
    let message = IdentityMessage {
        storage: state.storage.0.into(),
        cluster: state
            .cluster
            .map_or_else(Vec::new, |cluster| cluster.0.into()),
        broker: state.broker.map_or(0, |broker| broker.0),
        boot_id: state.boot_id.clone(),
        incarnations: state.incarnations.iter().map(|id| id.0.into()).collect(),
        last_wall_ms: state.last_wall_ms,
        clean: state.clean,
    };
    let message = message.encode_to_vec();
    let len = u32::try_from(message.len()).expect("an identity's parts are bounded");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + message.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &message);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(message);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, FileError> {
    let damaged = |position, detail: &str| FileError::Damaged {
        position,
        detail: detail.into(),
    };
    let cut = || damaged(bytes.len(), "the file is cut short");
    let (covered, rest) = bytes.split_at_checked(HEADER_BYTES - 4).ok_or_else(cut)?;
    let (crc, message) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let (magic, rest) = covered.split_first_chunk::<8>().ok_or_else(cut)?;
    let (version, len) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    if magic != MAGIC {
        return Err(damaged(0, "it does not begin as an identity file does"));
    }
    let computed = crc32c::crc32c_append(crc32c::crc32c(covered), message);
    if computed != u32::from_le_bytes(*crc) {
        return Err(damaged(HEADER_BYTES - 4, "its CRC-32C differs"));
    }
    let version = u32::from_le_bytes(*version);
    if version > FORMAT_VERSION {
        return Err(FileError::Newer { version });
    }
    if len != (message.len() as u32).to_le_bytes() {
        return Err(damaged(bytes.len(), "its length differs"));
    }
    read_message(message).map_err(|detail| damaged(HEADER_BYTES, &detail))
}

fn read_message(bytes: &[u8]) -> Result<State, String> {
    let message = IdentityMessage::decode(bytes).map_err(|error| error.to_string())?;
    let incarnation = |id: &Vec<u8>| IncarnationId::from_slice(id).ok_or("bad incarnation id");
    if message.incarnations.len() > INCARNATIONS_MAX {
        return Err(format!("{} incarnations", message.incarnations.len()));
    }
    if message.boot_id.len() > BOOT_ID_BYTES_MAX {
        return Err(format!("a boot id of {} bytes", message.boot_id.len()));
    }
    let cluster = match message.cluster.as_slice() {
        [] => None,
        id => Some(ClusterId::from_slice(id).ok_or("bad cluster id")?),
    };
    Ok(State {
        storage: StorageId::from_slice(&message.storage).ok_or("bad storage id")?,
        cluster,
        broker: (message.broker != 0).then_some(BrokerId(message.broker)),
        boot_id: message.boot_id,
        incarnations: message
            .incarnations
            .iter()
            .map(incarnation)
            .collect::<Result<_, _>>()?,
        last_wall_ms: message.last_wall_ms,
        clean: message.clean,
    })
}
