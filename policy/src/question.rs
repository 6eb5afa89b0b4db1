//! What the kernel would decide, by the code and the tables that it decides with.

use std::net::IpAddr;

use ringfence_common::{
    Address, Decision, Reason, Right,
    egress::{self, Protocol},
    event::PATH_BYTES,
    files::{self, Execution, Walker},
};

use crate::{boundary::Digests, compile::Tables};

/// The content that a file must have for its path to be executed, where a rule asks for one.
pub fn content_of(tables: &Tables, path: &[u8]) -> Option<Digests> {
    let image = &*tables.image;
    let state = Walker::new(image)?.walk(image, path);
    tables.content(files::content_rule(image, state)?)
}

/// Whether a path may be used for a right, by a program that is governed already. Execution is
/// answered for a file with the content that [`content_of`] asks for. The path is as
/// the kernel has it: absolute, without `//`, `.`, `..` or a slash at the end.
pub fn about_path(tables: &Tables, path: &[u8], right: Right) -> Decision {
    about(tables, path, right, true)
}

/// Whether the first program of a scope may be this one.
pub fn about_first_program(tables: &Tables, path: &[u8]) -> Decision {
    about(tables, path, Right::Exec, false)
}

/// Whether a Unix socket of a process outside the scope may be reached that has no path but an
/// abstract name.
pub fn about_abstract(tables: &Tables, name: &[u8]) -> Decision {
    let image = &*tables.image;
    let Some(walker) = Walker::new(image) else { return Decision::deny(Reason::TableCorrupt) };
    files::decide_abstract(image, walker.walk(image, &[b"@", name].concat()))
}

/// Whether a connection, or for UDP a packet, may go to an address.
pub fn about_address(tables: &Tables, address: IpAddr, port: u16, protocol: Protocol) -> Decision {
    egress::decide(&*tables.image, Address::from(address), protocol, port)
}

fn about(tables: &Tables, path: &[u8], right: Right, started: bool) -> Decision {
    let image = &*tables.image;
    let Some(walker) = Walker::new(image) else { return Decision::deny(Reason::TableCorrupt) };
    // The kernel does not look at a path that no rule is about.
    if files::governs(image, right.bit()) && path.len() > PATH_BYTES {
        return files::violation(image, Reason::PathTooLong);
    }
    about_state(image, walker.walk(image, path), right, started)
}

/// The answer about every path that leads to a state and is not too long.
pub(crate) fn about_state(image: &[u8], state: u32, right: Right, started: bool) -> Decision {
    match right {
        Right::Exec => {
            // Whether the file has the content that a rule asks for is not known here.
            files::decide_exec(image, state, Execution { started, pinned: true, anonymous: false })
        }
        _ if !files::governs(image, right.bit()) => Decision::ALLOW,
        right => files::decide(image, state, right.bit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compile::compile, testing};
    use ringfence_common::Verdict;

    const TEXT: &str = "boundary: 1\nbaseline: none\nmode: observe\nfiles:\n  \
        - { path: \"/srv/**\", allow: [read] }\negress:\n  - { cidr: \"192.0.2.0/24\" }\n";

    fn tables() -> Tables {
        let document = testing::document(TEXT, crate::Dialect::Boundary);
        compile(&[document.boundary], &Default::default()).unwrap()
    }

    #[test]
    fn a_path_is_judged_by_its_rule_and_a_right_that_nothing_governs_is_free() {
        let answer = |path: &[u8], right| about_path(&tables(), path, right).verdict;
        assert_eq!(answer(b"/srv/a", Right::Read), Verdict::Allow);
        assert_eq!(answer(b"/srv/a", Right::Write), Verdict::Observe);
        assert_eq!(answer(b"/etc", Right::Exec), Verdict::Allow);
        assert_eq!(about_first_program(&tables(), b"/etc").verdict, Verdict::Allow);
    }

    #[test]
    fn a_path_too_long_is_judged_only_where_paths_are() {
        let mut path = b"/srv".to_vec();
        path.resize(PATH_BYTES, b'a');
        let reason = |path: &[u8], right| about_path(&tables(), path, right).reason;
        assert_eq!(reason(&path, Right::Read), Reason::FsViolation);
        path.push(b'a');
        assert_eq!(reason(&path, Right::Read), Reason::PathTooLong);
        assert_eq!(reason(&path, Right::Exec), Reason::None);
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        for (text, verdict) in [
            ("192.0.2.1", Verdict::Allow),
            ("::ffff:192.0.2.1", Verdict::Allow),
            ("192.0.3.1", Verdict::Observe),
            ("2001:db8::1", Verdict::Observe),
        ] {
            let answer = about_address(&tables(), text.parse().unwrap(), 443, Protocol::Tcp);
            assert_eq!(answer.verdict, verdict, "{text}");
        }
    }
}
