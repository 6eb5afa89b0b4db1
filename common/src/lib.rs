//! The facts that the kernel programs and the agent share, and every decision taken on them.
//!
//! This crate is compiled twice: into the eBPF programs, and into the agent, where `policy test`,
//! the property tests and the fuzzers run it. Both give it the same bytes: a policy *image*, laid
//! out as [`image`] says. That is what makes "the same question has one answer" hold.
//!
//! It does no I/O, allocates nothing, has no `unsafe`, and knows no policy language.
#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod budget;
pub mod content;
pub mod decision;
pub mod egress;
pub mod event;
pub mod files;
pub mod guard;
pub mod image;
pub mod installed;
pub mod layout;
pub mod names;
pub mod resolver;
pub mod scope;
pub mod server_name;
pub mod serving;
pub mod socket;
pub mod tls;

pub use address::Address;
pub use decision::{Action, Cell, Decision, Reason, Verdict};
pub use files::Right;
pub use image::Image;
