//! A process that tries what is forbidden again and again, and counts.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use super::tally::{Act, Tally};
use crate::sys;

/// What a worker was told.
struct Worker {
    tally: Tally,
    slot: usize,
    room: PathBuf,
    port: u16,
}

/// `faults KIND ROOM SLOT PORT PAUSE ROUNDS [PROCS]`: moves itself into the control group whose
/// list of processes is given, and then goes round so often, or without end for 0.
pub(crate) fn main(arguments: &[Vec<u8>]) -> ExitCode {
    let words: Vec<_> = arguments.iter().map(|word| String::from_utf8_lossy(word)).collect();
    let [kind, room, slot, port, pause, rounds, procs @ ..] = &words[..] else {
        return ExitCode::from(2);
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let room = PathBuf::from(room.as_ref());
    let Ok(tally) = Tally::open(&room.join("work/tally")) else { return ExitCode::from(3) };
    if kind == "tamper" {
        // SAFETY: no memory is involved.
        let apart = sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) });
        if apart.map_err(drop).and_then(|_| sys::private_mounts().map_err(drop)).is_err() {
            return ExitCode::from(5);
        }
    }
    if let Some(procs) = procs.first()
        && fs::write(procs.as_ref(), "0").is_err()
    {
        return ExitCode::from(4);
    }
    let (slot, port) = (number(slot) as usize, number(port) as u16);
    let worker = Worker { tally, slot, room, port };
    let mut round = 0;
    while number(rounds) == 0 || round < number(rounds) {
        match kind.as_ref() {
            "all" => worker.all(round),
            "open" => worker.count(Act::Open, |this| this.opens("out/secret")),
            "either" => worker.either(),
            "tamper" => {
                let list = worker.room.join("work/pins");
                worker.count(Act::Unmount, |_| super::pins::tampers(Act::Unmount, &list));
                worker.count(Act::Unpin, |_| super::pins::tampers(Act::Unpin, &list));
            }
            _ => return ExitCode::from(2),
        }
        round += 1;
        if number(pause) > 0 {
            thread::sleep(Duration::from_micros(number(pause)));
        }
    }
    ExitCode::SUCCESS
}

impl Worker {
    fn count(&self, act: Act, tried: impl FnOnce(&Self) -> bool) {
        self.tally.add(self.slot, act, tried(self));
    }

    fn opens(&self, name: &str) -> bool {
        let path = self.room.join(name).display().to_string();
        sys::open(path.as_bytes(), libc::O_RDONLY, 0).is_ok()
    }

    /// Everything that is forbidden, and something that is allowed.
    fn all(&self, round: u64) {
        self.count(Act::Open, |this| this.opens("out/secret"));
        self.count(Act::Create, Self::creates);
        self.count(Act::Connect, Self::connects);
        self.count(Act::Allowed, |this| this.opens("work/ok"));
        if round.is_multiple_of(8) {
            self.count(Act::Execute, Self::executes);
        }
    }

    fn creates(&self) -> bool {
        let path = self.room.join(format!("out/new-{}", self.slot));
        let made = fs::File::create_new(&path).is_ok();
        if made {
            let _ = fs::remove_file(&path);
        }
        made
    }

    fn connects(&self) -> bool {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        TcpStream::connect_timeout(&to.into(), Duration::from_secs(20)).is_ok()
    }

    fn executes(&self) -> bool {
        executes(&self.room.join("out/tool"))
    }

    /// What one of two policies allows, what both do and what none does, and a move that only a
    /// mixture of the two allows.
    fn either(&self) {
        self.count(Act::Open, |this| this.opens("out/secret"));
        self.count(Act::Allowed, |this| this.opens("both/deep/er/and/deeper/file"));
        self.settled(Act::First, "first/deep/er/and/deeper/file", 1);
        self.settled(Act::Second, "second/deep/er/and/deeper/file", 2);
        self.count(Act::Move, |this| {
            let place = |name: &str| this.room.join(name).join(format!("move-{}", this.slot));
            let (from, to) = (place("first"), place("second"));
            let moved = fs::rename(&from, &to).is_ok();
            if moved {
                let _ = fs::rename(&to, &from);
            }
            moved
        });
    }

    /// Opens a file, and says whether it was decided by a policy that was not in force at all.
    fn settled(&self, act: Act, name: &str, policy: u64) {
        let before = self.tally.phase().load(Ordering::SeqCst);
        let opened = self.opens(name);
        let after = self.tally.phase().load(Ordering::SeqCst);
        self.tally.add(self.slot, act, opened);
        if before == after && before != 0 {
            // Odd numbers are the first policy's.
            let is_allowed = before % 2 == policy % 2;
            self.tally.add(self.slot, Act::Stale, opened != is_allowed);
        }
    }
}

/// Whether a program can be executed.
fn executes(program: &Path) -> bool {
    let Ok(program) = sys::path(program) else { return false };
    let words = [program.as_ptr(), std::ptr::null()];
    let ended = sys::in_child(|| {
        // SAFETY: the path and the list of words end with NUL and a null pointer.
        unsafe { libc::execv(program.as_ptr(), words.as_ptr()) };
        REFUSED
    });
    ended.is_ok_and(|status| !(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == REFUSED))
}

/// The exit code of a process that could not execute the program.
const REFUSED: i32 = 111;
