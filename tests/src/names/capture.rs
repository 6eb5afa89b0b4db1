//! Listening at the outside end of the cable: every packet that leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::sys;

/// A packet of TCP or UDP.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) to: IpAddr,
    pub(super) port: u16,
    /// Behind the header of IP, in lower case: name servers are asked in any letters.
    bytes: Vec<u8>,
}

/// What was captured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Mutex<Vec<Packet>>>);

const ETHERNET: usize = 14;
/// Every protocol, as a packet socket has it.
const EVERYTHING: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(20);

impl Capture {
    /// Begins, on the network that the thread is in.
    pub(super) fn begin() -> io::Result<Self> {
        let protocol = i32::from(EVERYTHING.to_be());
        // SAFETY: no memory is involved.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol) };
        let socket = sys::check(socket).map(sys::owned)?;
        let capture = Self::default();
        let packets = capture.clone();
        thread::spawn(move || {
            let mut frame = vec![0_u8; 1 << 16];
            loop {
                let (room, size) = (frame.as_mut_ptr().cast(), frame.len());
                // SAFETY: the buffer is of the length given.
                let length = unsafe { libc::recv(socket.as_raw_fd(), room, size, 0) };
                let Ok(length) = usize::try_from(length) else { continue };
                packets.lock().extend(frame.get(..length).and_then(read));
            }
        });
        Ok(capture)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Packet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was captured so far.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// The packets in which there was a text, in whatever letters: where they went.
    pub(super) fn showing(&self, text: &str) -> Vec<String> {
        let text = text.to_ascii_lowercase();
        let holds = |packet: &&Packet| {
            packet.bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
        let place = |packet: &Packet| format!("{} port {}", packet.to, packet.port);
        self.lock().iter().filter(holds).map(place).collect()
    }

    /// Whether there was a text in any packet, which may be on its way.
    pub(crate) fn gets(&self, text: &str) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !self.showing(text).is_empty() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The packets to an address and port, or to any port.
    pub(super) fn count(&self, to: IpAddr, port: Option<u16>) -> usize {
        let fits =
            |packet: &&Packet| packet.to == to && port.is_none_or(|port| packet.port == port);
        self.lock().iter().filter(fits).count()
    }
}

/// Reads a frame that holds IP.
fn read(frame: &[u8]) -> Option<Packet> {
    let kind = u16::from_be_bytes(frame.get(12..ETHERNET)?.try_into().ok()?);
    let packet = &frame[ETHERNET..];
    let (to, header): (IpAddr, usize) = match kind {
        0x0800 => {
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (Ipv4Addr::from(to).into(), usize::from(packet[0] & 0xf) * 4)
        }
        0x86dd => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (Ipv6Addr::from(to).into(), 40)
        }
        _ => return None,
    };
    let bytes = packet.get(header..)?;
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    Some(Packet { to, port, bytes: bytes.to_ascii_lowercase() })
}
