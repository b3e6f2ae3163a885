//! The frame of every object that is not a segment: magic, version, length, checksum, payload.

use bytes::Bytes;
use prost::Message;

/// Bytes before the payload.
pub(crate) const FRAME_BYTES: usize = 16;
const VERSION: u32 = 1;

/// Puts a message into a frame.
pub(crate) fn encode(magic: [u8; 4], message: &impl Message) -> Bytes {
    let payload_bytes = message.encoded_len();
    let mut bytes = Vec::with_capacity(FRAME_BYTES + payload_bytes);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let length = u32::try_from(payload_bytes).expect("frames are bounded");
    bytes.extend_from_slice(&length.to_le_bytes());
    let payload = message.encode_to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes.into()
}

/// Reads a message out of a frame that fills `bytes` exactly; what does not fit, in words, otherwise.
pub(crate) fn decode<M: Message + Default>(magic: [u8; 4], bytes: &[u8]) -> Result<M, String> {
    let (head, payload) = bytes
        .split_at_checked(FRAME_BYTES)
        .ok_or_else(|| format!("{} bytes are no frame", bytes.len()))?;
    let (fields, crc) = head.split_at(FRAME_BYTES - 4);
    let word = |at: usize| {
        let bytes = fields
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    if !fields.starts_with(&magic) {
        return Err("the magic is another".to_owned());
    }
    if word(4) != VERSION {
        return Err(format!(
            "version {} is not known; {VERSION} is: use a newer release",
            word(4)
        ));
    }
    if word(8) as usize != payload.len() {
        return Err(format!("{} of {} bytes are there", payload.len(), word(8)));
    }
    let expected = crc32c::crc32c_append(crc32c::crc32c(fields), payload);
    if crc != expected.to_le_bytes() {
        return Err("the checksum does not fit".to_owned());
    }
    M::decode(payload).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn a_flip_of_any_bit_or_a_cut_at_any_byte_is_noticed() {
        let fence = wire::Fence {
            cluster: vec![7; 16],
        };
        let bytes = encode(*b"HWTX", &fence);
        assert_eq!(decode::<wire::Fence>(*b"HWTX", &bytes), Ok(fence));
        assert!(decode::<wire::Fence>(*b"HWTM", &bytes).is_err());
        for at in 0..bytes.len() {
            assert!(decode::<wire::Fence>(*b"HWTX", &bytes[..at]).is_err());
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                assert!(decode::<wire::Fence>(*b"HWTX", &damaged).is_err());
            }
        }
    }
}
