//! The compiled image against oracles that were written without it.

#![expect(clippy::unwrap_used, reason = "what fails in a helper of a test fails the test")]

mod addresses;
mod boundaries;
mod contents;
mod header;
mod hosts;
mod idle;
mod limits;
mod names;
mod paths;
mod server_names;
mod support;
