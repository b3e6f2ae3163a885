use super::frame::{BlockHead, Draft, HEAD_BYTES, Head, Item, Run, head, items};
use crate::PartitionKey;
use headwater_record::Offset;
use uuid::Uuid;

const KEY: PartitionKey = PartitionKey {
    topic: Uuid::from_u128(7),
    index: 2,
};

fn frame() -> Vec<u8> {
    let mut draft = Draft::default();
    draft.run(KEY, Offset::new(40), 900, Offset::new(44), b"some batches");
    draft.forget(KEY);
    draft.finish(5, 9, 3)
}

#[test]
fn a_frame_says_what_was_put_into_it() {
    let frame = frame();
    assert_eq!(frame.len() % 64, 0);
    let found = head(&frame, 5).unwrap();
    let len = HEAD_BYTES + 2 * 56 + 12;
    let expected = Head {
        version: 1,
        number: 9,
        live_from: 3,
        len,
    };
    assert_eq!(found, expected);
    let items = items(&frame[..len]).unwrap();
    let [
        Item::Run(Run {
            bytes,
            position: 900,
            ..
        }),
        Item::Forget { key: KEY },
    ] = items.as_slice()
    else {
        panic!("{items:?}");
    };
    assert_eq!(&frame[bytes.clone()], b"some batches");
}

#[test]
fn a_frame_that_is_cut_or_changed_or_of_another_journal_is_none() {
    let frame = frame();
    let len = head(&frame, 5).unwrap().len;
    assert_eq!(head(&frame, 6), None, "another salt");
    for cut in 0..len {
        assert_eq!(head(&frame[..cut], 5), None, "cut at {cut}");
        let mut changed = frame.clone();
        changed[cut] ^= 1;
        assert_eq!(head(&changed, 5), None, "changed at {cut}");
    }
}

#[test]
fn the_head_of_a_block_survives_nothing_but_itself() {
    let bytes = BlockHead { salt: 77 }.encode();
    assert_eq!(bytes.len(), HEAD_BYTES);
    assert_eq!(
        BlockHead::decode(&bytes).unwrap(),
        Some(BlockHead { salt: 77 })
    );
    for byte in 0..24 {
        let mut changed = bytes.clone();
        changed[byte] ^= 1;
        assert_ne!(
            BlockHead::decode(&changed).ok(),
            Some(Some(BlockHead { salt: 77 }))
        );
    }
}
