//! The kernel side, as seen from user space: what the kernel offers, and the programs in it.

mod attach;
pub(crate) mod btf;
mod handover;
pub(crate) mod hooks;
pub(crate) mod inode;
pub(crate) mod maps;
pub(crate) mod members;
mod misses;
pub(crate) mod object;
mod own;
mod places;
pub(crate) mod probe;
pub(crate) mod programs;
pub(crate) mod ring;
pub(crate) mod selection;
pub(crate) mod sequence;
pub(crate) mod set;
mod settings;
pub(crate) mod shared;
pub(crate) mod survey;
pub(crate) mod symbols;
pub(crate) mod sys;
mod upkeep;
