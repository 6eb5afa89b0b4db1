//! Any text, read in the dialect that its keys tell.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::check_policy;

fuzz_target!(|input: &str| check_policy(input, None));
