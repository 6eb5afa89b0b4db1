//! Ends connections that were refused by what server they name: the kernel programs let nothing of
//! them out, and TCP would try for many minutes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::OwnedFd,
};

use ringfence_common::{
    Reason, Verdict,
    event::{Destination, Record},
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` (`linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// `NLMSG_ERROR` (`linux/netlink.h`), which is an answer of success as well, by error 0.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `INET_DIAG_NOCOOKIE` (`linux/inet_diag.h`): whatever the socket's cookie.
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];
/// States of TCP (`net/tcp_states.h`) as bits: all but listening.
const CONNECTED: u32 = 0xfff & !(1 << 10);

/// `struct nlmsghdr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// `struct inet_diag_sockid`: ports and addresses in network order.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Id {
    local_port: [u8; 2],
    remote_port: [u8; 2],
    local: [u8; 16],
    remote: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// A request: a header and `struct inet_diag_req_v2`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    header: Header,
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: Id,
}

/// What a dump answers with: a header and the beginning of `struct inet_diag_msg`.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Found {
    header: Header,
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: Id,
}

/// Ends the connection that a record is about, if it was refused by what server it names. The
/// process gets `ECONNABORTED`, its peer a reset. What cannot be ended stays silent.
pub(crate) fn after(record: &Record<'_>) {
    let reasons = [Reason::UnlistedServerName.number(), Reason::NoServerName.number()];
    let event = record.event;
    let Ok(port) = u16::try_from(event.destination.detail) else { return };
    if event.verdict == Verdict::Deny as u8 && reasons.contains(&event.reason) && port != 0 {
        // It may have ended by itself, or be in another network namespace.
        let _ = reset(port, &event.destination);
    }
}

fn reset(port: u16, to: &Destination) -> io::Result<()> {
    let remote = Ipv6Addr::from(to.address).to_canonical();
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // By the local address that the system chooses, unless the process chose one.
    let id = Id {
        local_port: port.to_be_bytes(),
        remote_port: to.port.to_be_bytes(),
        local: words(local(SocketAddr::new(remote, to.port))?),
        remote: words(remote),
        interface: 0,
        cookie: NO_COOKIE,
    };
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    if destroy(&socket, family, id).is_ok() {
        return Ok(());
    }
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        for found in search(&socket, family, id)? {
            if is_at(&found.remote, remote) {
                destroy(&socket, family, found)?;
            }
        }
    }
    Ok(())
}

/// Ends a connection between these addresses, which are of one family.
///
/// # Errors
///
/// When there is none, or the kernel refuses.
pub(crate) fn connection(local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let id = Id {
        local_port: local.port().to_be_bytes(),
        remote_port: remote.port().to_be_bytes(),
        local: words(local.ip()),
        remote: words(remote.ip()),
        interface: 0,
        cookie: NO_COOKIE,
    };
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    destroy(&socket, family, id)
}

/// An address in as many words as it has, the rest 0.
fn words(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut words = [0; 16];
            let [a, b, c, d] = address.octets();
            words[..4].copy_from_slice(&[a, b, c, d]);
            words
        }
    }
}

/// Whether an address as a dump has it, of either family, is this one.
fn is_at(found: &[u8; 16], address: IpAddr) -> bool {
    *found == words(address) || Ipv6Addr::from(*found).to_canonical() == address
}

/// The address that the system sends from.
fn local(to: SocketAddr) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

fn ask(socket: &OwnedFd, kind: u16, flags: u16, family: AddressFamily, id: Id) -> io::Result<()> {
    let request = Request {
        header: Header {
            length: size_of::<Request>() as u32,
            kind,
            flags: REQUEST | flags,
            sequence: 1,
            port: 0,
        },
        family: family.as_raw() as u8,
        protocol: 6,
        extensions: 0,
        pad: 0,
        states: CONNECTED,
        id,
    };
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(socket, request.as_bytes(), SendFlags::empty(), &kernel)?;
    Ok(())
}

/// Destroys a socket.
fn destroy(socket: &OwnedFd, family: AddressFamily, id: Id) -> io::Result<()> {
    ask(socket, DESTROY, ACK, family, id)?;
    let mut answer = [0_u8; 256];
    let (length, _) = recv(socket, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    match Header::read_from_prefix(answer).ok().zip(answer.get(16..20)) {
        Some(((header, _), &[a, b, c, d])) if header.kind == ERROR => {
            match i32::from_ne_bytes([a, b, c, d]) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(-error)),
            }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The sockets of these two ports.
fn search(socket: &OwnedFd, family: AddressFamily, id: Id) -> io::Result<Vec<Id>> {
    ask(socket, BY_FAMILY, DUMP, family, id)?;
    let mut found = vec![];
    let mut buffer = vec![0_u8; 1 << 15];
    loop {
        let (length, _) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Ok(found);
        }
        while let Ok((header, _)) = Header::read_from_prefix(rest) {
            if header.kind != BY_FAMILY {
                // NLMSG_DONE or NLMSG_ERROR.
                return Ok(found);
            }
            found.extend(Found::read_from_prefix(rest).ok().map(|(found, _)| found.id));
            let length = (header.length as usize).max(size_of::<Header>()).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
