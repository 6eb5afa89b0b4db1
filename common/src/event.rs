//! The record that a kernel program writes for a decision, and the agent reads.
//!
//! A record is a [`Event`], then [`Event::path_room`] bytes whose last [`Event::path_length`] are
//! the path, then the same for the second path of a rename or link. Paths are built from the leaf
//! to the root, so they stand at the end of their room.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes kept of the path of a process's program; of a longer one, the end.
pub const EXE_BYTES: usize = 256;
/// Longest path that is judged, in bytes (`PATH_MAX`).
pub const PATH_BYTES: usize = 4096;

/// What an event is about, beside its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Destination {
    /// IPv6 address, or IPv4 address IPv4-mapped, in network order.
    pub address: [u8; 16],
    /// Port in host order. For [`Action::Socket`](crate::Action::Socket): the protocol asked for.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Address family, 0 when the event has no destination.
    pub family: u8,
    /// For [`Action::Socket`](crate::Action::Socket): the socket's type. For
    /// [`Action::Capability`](crate::Action::Capability): the capability. For
    /// [`Action::Signal`](crate::Action::Signal): the target's process. For a connection that is
    /// refused by what server it names: the port that it comes from.
    pub detail: u32,
}

/// The fixed part of a record. Numbers are in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds on `CLOCK_BOOTTIME`.
    pub time: u64,
    /// Number among the scope's events: 1 is the first. One without room for it has a number too.
    pub sequence: u64,
    /// Identifier of the process's cgroup.
    pub cgroup: u64,
    /// Process (thread group) in the initial PID namespace.
    pub pid: u32,
    /// Thread in the initial PID namespace.
    pub tid: u32,
    /// Parent process in the initial PID namespace.
    pub ppid: u32,
    /// User in the initial user namespace.
    pub uid: u32,
    /// Number of the scope that the process belongs to.
    pub scope: u32,
    /// The generation of the scope's policy that decided, whose rule [`Self::rule`] is.
    pub generation: u32,
    /// Fills the structure.
    pub spare: u32,
    /// Number of the rule that decided, 0 for none.
    pub rule: u32,
    /// [`Action`](crate::Action) as a number.
    pub action: u8,
    /// [`Verdict`](crate::Verdict) as a number.
    pub verdict: u8,
    /// [`Reason`](crate::Reason) as a number.
    pub reason: u8,
    /// The error that the caller gets, as a positive number; 0 when the act goes on.
    pub errno: u8,
    /// Where it was going.
    pub destination: Destination,
    /// Bytes that follow for the path: a multiple of 256, at most [`PATH_BYTES`].
    pub path_room: u16,
    /// Bytes of the path, at the end of its room.
    pub path_length: u16,
    /// The same for a second path.
    pub new_path_room: u16,
    /// The same for a second path.
    pub new_path_length: u16,
    /// Bytes of the program's path, at the end of `exe`.
    pub exe_length: u32,
    /// Name of the thread (`TASK_COMM_LEN`), NUL-terminated.
    pub comm: [u8; 16],
    /// Path of the process's program.
    pub exe: [u8; EXE_BYTES],
}

/// A record taken apart. Byte strings, since paths need not be UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The fixed part.
    pub event: &'a Event,
    /// The path, empty when the act has none.
    pub path: &'a [u8],
    /// The second path of a rename or link.
    pub new_path: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes a record apart; `None` when its lengths contradict each other.
    ///
    /// `bytes` must be aligned to 8, as ring buffer records are; bytes after the record are
    /// ignored.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (event, rest) = Event::ref_from_prefix(bytes).ok()?;
        let (path, rest) = text(rest, event.path_room, event.path_length)?;
        let (new_path, _) = text(rest, event.new_path_room, event.new_path_length)?;
        Some(Self { event, path, new_path })
    }

    /// Path of the process's program.
    pub fn exe(&self) -> &'a [u8] {
        let exe = &self.event.exe;
        exe.get(EXE_BYTES.saturating_sub(self.event.exe_length as usize)..).unwrap_or(exe)
    }

    /// Name of the thread.
    pub fn comm(&self) -> &'a [u8] {
        let comm = &self.event.comm;
        comm.split(|byte| *byte == 0).next().unwrap_or(comm)
    }
}

fn text(bytes: &[u8], room: u16, length: u16) -> Option<(&[u8], &[u8])> {
    let (room, rest) = bytes.split_at_checked(room as usize)?;
    let start = room.len().checked_sub(length as usize)?;
    Some((room.get(start..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(event: Event, tail: &[u8]) -> ([u64; 128], usize) {
        let mut words = [0; 128];
        let bytes = words.as_mut_bytes();
        let fixed = size_of::<Event>();
        bytes[..fixed].copy_from_slice(event.as_bytes());
        bytes[fixed..fixed + tail.len()].copy_from_slice(tail);
        (words, fixed + tail.len())
    }

    fn event() -> Event {
        Event::read_from_bytes(&[0; size_of::<Event>()]).unwrap()
    }

    #[test]
    fn paths_are_read_from_the_end_of_their_room() {
        let mut tail = [b'x'; 512];
        tail[252..256].copy_from_slice(b"/etc");
        tail[509..].copy_from_slice(b"/a\xff");
        let event = Event {
            path_room: 256,
            path_length: 4,
            new_path_room: 256,
            new_path_length: 3,
            ..event()
        };
        let (words, length) = aligned(event, &tail);
        let record = Record::parse(&words.as_bytes()[..length]).unwrap();
        assert_eq!((record.path, record.new_path), (&b"/etc"[..], &b"/a\xff"[..]));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let cases = [
            (256, 4, 0, 0, 255),   // the room is cut
            (256, 257, 0, 0, 256), // longer than its room
            (0, 0, 256, 1, 0),     // no second room
        ];
        for (path_room, path_length, new_path_room, new_path_length, tail) in cases {
            let event = Event { path_room, path_length, new_path_room, new_path_length, ..event() };
            let (words, length) = aligned(event, &[0; 512][..tail]);
            assert_eq!(Record::parse(&words.as_bytes()[..length]), None);
        }
        assert_eq!(Record::parse(&[0; 8]), None);
    }
}
