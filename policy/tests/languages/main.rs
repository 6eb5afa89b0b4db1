//! The policy languages from the outside: files, findings as people see them, the examples, and
//! text that nobody wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arbitrary;
mod examples;
mod files;
mod mistakes;
mod rendering;
