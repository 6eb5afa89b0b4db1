//! The commands, one module each.

pub(crate) mod agent;
pub(crate) mod detach;
pub(crate) mod doctor;
pub(crate) mod policy;
pub(crate) mod run;
pub(crate) mod status;
