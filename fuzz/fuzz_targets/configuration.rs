//! Any text, read as the configuration of the agent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_fuzz::check_configuration;

fuzz_target!(|input: &str| check_configuration(input));
