//! Any bytes from the ring buffer are taken apart or refused, and nothing is read outside them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_common::event::{EXE_BYTES, Record};

fuzz_target!(|input: &[u8]| {
    // Ring buffer records are aligned to 8 bytes, and libFuzzer's inputs need not be.
    let mut room = vec![0_u8; input.len() + 8];
    let shift = room.as_ptr().align_offset(8);
    let bytes = &mut room[shift..shift + input.len()];
    bytes.copy_from_slice(input);
    let Some(record) = Record::parse(bytes) else { return };
    assert_eq!(record.path.len(), usize::from(record.event.path_length));
    assert_eq!(record.new_path.len(), usize::from(record.event.new_path_length));
    assert!(record.exe().len() <= EXE_BYTES);
    assert!(!record.comm().contains(&0));
});
