//! Zigzag varints, as protobuf's `sint32` and `sint64`: 7 bits a byte, lowest first.

use bytes::BufMut;

/// Bytes that `value` takes: 1 to 10.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`.
pub(crate) fn put(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Reads a value from the front of `bytes` and moves them on; `None` if it is cut or does not fit
/// 64 bits.
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut zigzag: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    None
}

/// As [`take_i64`]; `None` also if the value does not fit 32 bits.
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    take_i64(bytes)?.try_into().ok()
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_round_trips_and_its_size_is_foretold() {
        let edges = (0..64).flat_map(|bit| {
            let power = 1i64 << bit;
            [power, power.wrapping_sub(1), power.wrapping_neg(), !power]
        });
        for value in edges.chain([0, -1, i64::MIN, i64::MAX]) {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), size(value), "{value}");
            let mut rest = out.as_slice();
            assert_eq!(take_i64(&mut rest), Some(value));
            assert!(rest.is_empty());
            let mut rest = out.as_slice();
            assert_eq!(take_i32(&mut rest), i32::try_from(value).ok());
        }
    }

    #[test]
    fn cut_and_overlong_varints_are_refused() {
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11], &[0x80; 64]] {
            assert_eq!(take_i64(&mut &*bytes), None, "{bytes:?}");
        }
    }
}
