//! Any first bytes of a connection have an answer, which stands whatever follows; a name that is
//! found lies inside them and is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_common::tls::{Hello, hello};

fuzz_target!(|input: &[u8]| {
    let answer = hello(input);
    // Most lengths are tried by other inputs.
    for end in [input.len() / 2, input.len().saturating_sub(1)] {
        let before = hello(&input[..end]);
        assert!(before == answer || before == Hello::More, "{before:?}, then {answer:?}");
    }
    let Hello::Name { at, length, .. } = answer else { return };
    let name = &input[at as usize..(at + length) as usize];
    let labels = || name.split(|byte| *byte == b'.');
    assert!(labels().all(|label| (1..=63).contains(&label.len())) && name.len() <= 253);
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    assert!(name.iter().all(is_known));
    assert!(labels().last().is_some_and(|last| !last.iter().all(u8::is_ascii_digit)));
});
