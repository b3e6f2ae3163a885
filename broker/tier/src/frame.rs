//! Messages in the frame of every object that is not a segment.

use bytes::Bytes;
use headwater_log::{frame, unframe};
use prost::Message;

/// Puts a message into a frame.
pub(crate) fn encode(magic: [u8; 4], message: &impl Message) -> Bytes {
    frame(magic, &message.encode_to_vec()).into()
}

/// Reads a message out of a frame that fills `bytes` exactly; what does not fit, in words, otherwise.
pub(crate) fn decode<M: Message + Default>(magic: [u8; 4], bytes: &[u8]) -> Result<M, String> {
    let payload = unframe(magic, bytes).map_err(|error| error.to_string())?;
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
