//! What a user or an attacker would do. The programs of this package try it on real kernels; this
//! library is the part that is plain data: the evasion catalogue, from which the tests run and
//! `docs/evasions.md` is written.

pub mod catalogue;
