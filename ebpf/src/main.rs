//! The kernel programs of ringfence.
//!
//! Each hook gathers facts, asks `ringfence-common` for the decision, and tells of it. Nothing is
//! decided here that is not decided there, on the tables that the agent compiled.
#![no_std]
#![no_main]
// For a few instructions, such as the atomic addition that counts lost events.
#![feature(asm_experimental_arch)]

mod budget;
mod content;
mod emit;
mod exec;
mod file;
mod guard;
mod installed;
mod kernel;
mod listen;
mod membership;
mod metadata;
mod network;
mod own;
mod packet;
mod path;
mod redirect;
mod scope;
mod scopes;
mod server_name;
mod serving;
mod setup;
mod table;
mod unix;
mod verdicts;

/// The kernel functions that the programs call are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // No call of ours can panic; a program in which this is reachable does not pass the verifier.
    loop {}
}
