//! The resolver's sockets, in whatever network namespace the processes that ask are in.

use std::{
    fs::{self, File},
    io,
    mem::size_of_val,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence_common::scope::Resolver;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Ports that are tried until one is free for both protocols.
const TRIES: usize = 64;

/// A network namespace, by the file that stands for it: no other has the same while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    device: u64,
    inode: u64,
}

impl Network {
    /// That of the caller.
    ///
    /// # Errors
    ///
    /// When it cannot be seen.
    pub(crate) fn own() -> io::Result<Self> {
        Ok(Self::of_file(&fs::metadata("/proc/thread-self/ns/net")?))
    }

    /// That of a process; `None` for one that has ended.
    pub(crate) fn of(process: u32) -> Option<Self> {
        fs::metadata(path(process)).ok().map(|file| Self::of_file(&file))
    }

    fn of_file(file: &fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}

fn path(process: u32) -> String {
    format!("/proc/{process}/ns/net")
}

/// Where a resolver takes questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The network namespace, by its cookie.
    pub(crate) network: u64,
    /// The port of 127.0.0.1; 0 where there is no resolver.
    pub(crate) v4: u16,
    /// The port of ::1; 0 for none.
    pub(crate) v6: u16,
}

impl Ports {
    /// As the kernel programs have them.
    pub(crate) fn resolver(self) -> Resolver {
        Resolver { v4: self.v4.into(), v6: self.v6.into() }
    }
}

/// The resolver's sockets in a network namespace, bound and not yet served.
pub(crate) struct Sockets {
    /// The namespace, by its cookie.
    pub(super) network: u64,
    pub(super) v4: (UdpSocket, TcpListener),
    /// `None` where loopback has no IPv6.
    pub(super) v6: Option<(UdpSocket, TcpListener)>,
}

impl Sockets {
    /// Binds them in the network namespace of the caller.
    ///
    /// # Errors
    ///
    /// When loopback cannot be used.
    pub(crate) fn bind() -> Result<Self> {
        let v4 = pair(Ipv4Addr::LOCALHOST.into()).context(
            "the resolver needs 127.0.0.1: is the loopback interface up? `ip link set lo up` \
             does it",
        )?;
        let network = cookie(&v4.0).context("which network namespace it is")?;
        Ok(Self { network, v4, v6: pair(Ipv6Addr::LOCALHOST.into()).ok() })
    }

    /// Binds them in a network namespace that a process is in.
    ///
    /// # Errors
    ///
    /// When the process is in another by now, or loopback cannot be used there.
    pub(crate) fn bind_in(network: Network, process: u32) -> Result<Self> {
        let file = File::open(path(process)).with_context(|| path(process))?;
        ensure!(Network::of_file(&file.metadata()?) == network, "it is in another by now");
        // A thread of its own, which ends in that namespace.
        let bind = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(file.as_fd(), kind).context("entering it")?;
            Self::bind()
        };
        let bound = thread::Builder::new().name("sockets".into()).spawn(bind)?.join();
        bound.unwrap_or_else(|_| bail!("binding sockets failed"))
    }

    /// Where they are.
    pub(crate) fn ports(&self) -> Ports {
        let port = |pair: &(UdpSocket, TcpListener)| {
            pair.0.local_addr().map_or(0, |address| address.port())
        };
        let (v4, v6) = (port(&self.v4), self.v6.as_ref().map_or(0, port));
        Ports { network: self.network, v4, v6 }
    }
}

/// The cookie of a socket's network namespace.
fn cookie(socket: &UdpSocket) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).unwrap_or_default();
    // SAFETY: the number is as long as is said, and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// A socket for datagrams and one for streams, at the same port.
fn pair(address: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let datagrams = UdpSocket::bind(SocketAddr::new(address, 0))?;
        match TcpListener::bind(datagrams.local_addr()?) {
            Ok(streams) => return Ok((datagrams, streams)),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sockets_of_a_pair_have_one_port_and_one_namespace() {
        let sockets = Sockets::bind().unwrap();
        let Ports { network, v4, v6 } = sockets.ports();
        assert_ne!(v4, 0);
        assert_eq!(sockets.v4.1.local_addr().unwrap().port(), v4);
        assert_eq!(sockets.v6.is_some(), v6 != 0);
        assert_eq!(cookie(&UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap(), network);
    }

    #[test]
    fn the_network_of_a_process_is_told_from_others() {
        let own = Network::own().unwrap();
        assert_eq!(Network::of(std::process::id()), Some(own));
        assert_eq!(Network::of(u32::MAX), None);
        let other = Network { inode: own.inode + 1, ..own };
        assert!(Sockets::bind_in(other, std::process::id()).is_err());
    }
}
