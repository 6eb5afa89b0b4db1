//! Any text, read as a `boundary` document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::check_policy;
use ringfence_policy::Dialect;

fuzz_target!(|input: &str| check_policy(input, Some(Dialect::Boundary)));
