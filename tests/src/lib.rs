//! What a user or an attacker would do. The programs of this package try it on real kernels; this
//! library has the evasion catalogue, from which the tests run and `docs/evasions.md` is written,
//! and what those programs share.

pub mod catalogue;
pub mod loaded;
