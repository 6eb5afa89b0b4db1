//! What a process has open already when it comes under a scope: looked through, since the policy
//! judges what is opened from then on.
//!
//! An open file stays open, and is told. A connection that the policy does not let be made is
//! ended, where the policy refuses.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, Result};
use ringfence_common::{
    Address, Decision, Right, Verdict,
    egress::{self, Protocol},
    files::{self, Walker},
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::reset;

/// `O_ACCMODE` and its values, and `O_PATH` (open(2)).
const ACCESS: u32 = 0o3;
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;
const PATH_ONLY: u32 = 0o10_000_000;
/// `TCP_ESTABLISHED`, as `/proc/net/tcp` has it.
const ESTABLISHED: &str = "01";

/// Something that the policy would not let be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// An open file.
    File {
        /// Its path.
        path: PathBuf,
        /// What it is open for.
        right: Right,
        decision: Decision,
    },
    /// A connection, and whether it was ended.
    Connection {
        /// Where to.
        to: SocketAddr,
        /// Whether it is no more.
        ended: bool,
        decision: Decision,
    },
}

/// Looks through what a process has open.
///
/// # Errors
///
/// When that cannot be seen, unless the process has ended.
pub(super) fn look_through(process: u32, image: &[u8]) -> Result<Vec<Held>> {
    let folder = format!("/proc/{process}/fd");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let (mut held, mut sockets) = (Vec::new(), HashSet::new());
    for entry in entries.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let text = target.to_string_lossy();
        if let Some(inode) = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            sockets.insert(inode.to_owned());
        } else if text.starts_with('/') {
            let number = entry.file_name();
            let info = format!("/proc/{process}/fdinfo/{}", number.to_string_lossy());
            let flags = fs::read_to_string(info).unwrap_or_default();
            held.extend(file(target.clone(), &flags, image));
        }
    }
    if !sockets.is_empty() && egress::governs(image) {
        held.extend(connections(process, sockets, image.to_vec())?);
    }
    Ok(held)
}

fn file(path: PathBuf, info: &str, image: &[u8]) -> Option<Held> {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    if flags & PATH_ONLY != 0 {
        return None;
    }
    let rights: &[Right] = match flags & ACCESS {
        READ_ONLY => &[Right::Read],
        WRITE_ONLY => &[Right::Write],
        _ => &[Right::Write, Right::Read],
    };
    let state = Walker::new(image)?.walk(image, path.as_os_str().as_bytes());
    rights.iter().find_map(|right| {
        if !files::governs(image, right.bit()) {
            return None;
        }
        let decision = files::decide(image, state, right.bit());
        let is_refused = decision.verdict != Verdict::Allow;
        is_refused.then(|| Held::File { path: path.clone(), right: *right, decision })
    })
}

/// Looks through the connections of a process, in its own network namespace.
fn connections(process: u32, sockets: HashSet<String>, image: Vec<u8>) -> Result<Vec<Held>> {
    let look = move || -> Result<Vec<Held>> {
        let Ok(network) = fs::File::open(format!("/proc/{process}/ns/net")) else {
            return Ok(Vec::new());
        };
        use std::os::fd::AsFd as _;
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(network.as_fd(), kind).context("the network of a process")?;
        let mut held = Vec::new();
        for table in ["tcp", "tcp6"] {
            // Of this thread, and not of the process.
            let text = format!("/proc/thread-self/net/{table}");
            let text = fs::read_to_string(text).unwrap_or_default();
            for (local, to) in text.lines().skip(1).filter_map(|line| connection(line, &sockets)) {
                let address = Address::from(to.ip());
                let decision = egress::decide(&*image, address, Protocol::Tcp, to.port());
                let is_own = address.is_loopback();
                if decision.verdict == Verdict::Allow || is_own {
                    continue;
                }
                let ended =
                    decision.verdict == Verdict::Deny && reset::connection(local, to).is_ok();
                held.push(Held::Connection { to, ended, decision });
            }
        }
        Ok(held)
    };
    // A thread of its own, which ends in that namespace.
    let looked = thread::Builder::new().name("held".into()).spawn(look)?.join();
    looked.unwrap_or_else(|_| anyhow::bail!("looking through connections failed"))
}

/// Both ends of a connection that one of the sockets is (proc_net_tcp(5)).
fn connection(line: &str, sockets: &HashSet<String>) -> Option<(SocketAddr, SocketAddr)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, remote, state) = (fields.nth(1)?, fields.next()?, fields.next()?);
    let inode = fields.nth(5)?;
    (state == ESTABLISHED && sockets.contains(inode)).then_some(())?;
    Some((end(local)?, end(remote)?))
}

/// An address and port in hexadecimal: the address in words of the machine's byte order.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match *bytes.as_slice() {
        [a, b, c, d] => IpAddr::from(Ipv4Addr::new(a, b, c, d)),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_read() {
        let line = "   1: 0100007F:A2C4 0501A8C0:01BB 01 00000000:00000000 00:00000000 00000000  \
                    1000        0 31337 1 0000000000000000 20 4 30 10 -1";
        let sockets = HashSet::from(["31337".to_owned()]);
        let ends = connection(line, &sockets).unwrap();
        assert_eq!(ends.0, "127.0.0.1:41668".parse().unwrap());
        assert_eq!(ends.1, "192.168.1.5:443".parse().unwrap());
        assert_eq!(connection(line, &HashSet::new()), None);
        assert_eq!(connection(&line.replace(" 01 ", " 06 "), &sockets), None);
        let v6 = end("0000000000000000FFFF00000100007F:0050").unwrap();
        assert_eq!(v6, "127.0.0.1:80".parse().unwrap());
        assert_eq!(end("xyz:1"), None);
    }
}
