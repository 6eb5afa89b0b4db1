//! What spends a budget: the same act by many threads at once, as often as it is let.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    path::Path,
    process::ExitCode,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{act::uring_write, sys};

/// Threads at once: more than the machine has CPUs.
pub(crate) const THREADS: usize = 4;

/// Does what its arguments say, and prints how many acts succeeded.
pub(crate) fn main(arguments: &[Vec<u8>]) -> ExitCode {
    let words: Vec<String> =
        arguments.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().unwrap_or(0);
    let done = match words[..] {
        ["connect", port, times] => by_threads(number(times), |_, _| connect(port)),
        ["datagrams", port, times] => datagrams(port, number(times)),
        ["destinations", port, times] => destinations(number(port), number(times)),
        ["open", folder, files] => open(folder, number(files)),
        ["write", folder, times] => write(folder, number(times)),
        ["fork", times] => fork(number(times)),
        ["fork-again", times, rounds, tries] => {
            fork_again(number(times), number(rounds), number(tries))
        }
        ["fail-forks", times] => {
            let refused = (0..200).filter(|_| fail_fork()).count();
            if refused == 200 { fork(number(times)) } else { 0 }
        }
        ["write-by-each", folder] => {
            let calls = CALLS.iter();
            calls.filter(|call| write_by(call, Path::new(folder)).is_ok()).count() as u64
        }
        ["in-two-steps", port, folder, first, second] => {
            return in_two_steps(port, Path::new(folder), [number(first), number(second)]);
        }
        _ => return ExitCode::from(2),
    };
    println!("{done}");
    ExitCode::SUCCESS
}

/// Forks as often in each round, and says what came of the last: as much as of the first, unless
/// places are lost or made. A round may need several tries where one is given back a moment late.
fn fork_again(times: usize, rounds: usize, tries: usize) -> u64 {
    let first = fork(times);
    for _ in 1..rounds {
        let mut all = (0..tries).map(|_| {
            let again = fork(times);
            if again < first {
                thread::sleep(Duration::from_millis(50));
            }
            again
        });
        let again = all.find(|again| *again >= first).unwrap_or(0);
        if again != first {
            return again;
        }
    }
    first
}

/// Has each thread do an act some times; all begin together. `act` has the numbers of the thread
/// and of the turn, and says whether it succeeded.
fn by_threads(times: usize, act: impl Fn(usize, usize) -> bool + Sync) -> u64 {
    let (barrier, done) = (Barrier::new(THREADS), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, done, act) = (&barrier, &done, &act);
            scope.spawn(move || {
                barrier.wait();
                for turn in 0..times {
                    if act(thread, turn) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    done.into_inner()
}

fn connect(port: &str) -> bool {
    TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
}

/// Datagrams of 100 bytes, which make packets of 128.
fn datagrams(port: &str, times: usize) -> u64 {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        socket.connect(format!("127.0.0.1:{port}")).ok()?;
        Some(socket)
    };
    let Some(sockets) = (0..THREADS).map(|_| socket()).collect::<Option<Vec<_>>>() else {
        return 0;
    };
    by_threads(times, |thread, _| sockets[thread].send(&[0; 100]).is_ok())
}

/// One socket without a peer: each destination twice in a row.
fn destinations(port: usize, times: usize) -> u64 {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return 0 };
    let sends =
        |turn: usize| socket.send_to(b"x", format!("127.0.0.1:{}", port + turn / 2)).is_ok();
    (0..times).filter(|turn| sends(*turn)).count() as u64
}

/// Every thread opens every file: how many could be opened at least once.
fn open(folder: &str, files: usize) -> u64 {
    let opened: Vec<AtomicU64> = (0..files).map(|_| AtomicU64::new(0)).collect();
    by_threads(files, |thread, turn| {
        let file = (turn + thread * files / THREADS) % files;
        let is_opened = File::open(format!("{folder}/{file}")).is_ok();
        opened[file].fetch_add(u64::from(is_opened), Ordering::Relaxed);
        is_opened
    });
    opened.iter().filter(|count| count.load(Ordering::Relaxed) > 0).count() as u64
}

/// Every thread writes a byte at a time to a file of its own.
fn write(folder: &str, times: usize) -> u64 {
    let file = |thread| OpenOptions::new().append(true).open(format!("{folder}/{thread}")).ok();
    let Some(files) = (0..THREADS).map(file).collect::<Option<Vec<_>>>() else { return 0 };
    by_threads(times, |thread, _| (&files[thread]).write(b"x").is_ok_and(|length| length == 1))
}

/// Every thread makes children that wait, and ends them when all have made theirs: how many there
/// were at a time.
fn fork(times: usize) -> u64 {
    let (barrier, done) = (Barrier::new(THREADS), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (barrier, done) = (&barrier, &done);
            scope.spawn(move || {
                let mut children = Vec::new();
                barrier.wait();
                for _ in 0..times {
                    // SAFETY: the child only waits, which is safe whatever other threads hold.
                    let child = unsafe { libc::fork() };
                    if child == 0 {
                        loop {
                            // SAFETY: no memory is involved.
                            unsafe { libc::pause() };
                        }
                    }
                    children.extend((child > 0).then_some(child));
                }
                done.fetch_add(children.len() as u64, Ordering::Relaxed);
                barrier.wait();
                for child in children {
                    let _ = sys::kill(child as u32, libc::SIGKILL);
                    let _ = sys::wait(child);
                }
            });
        }
    });
    done.into_inner()
}

/// Begins to make a child that the kernel then has no place for: whether it failed so.
fn fail_fork() -> bool {
    let flags = i64::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    // An address at which nothing is, for the descriptor: this is tried last.
    // SAFETY: the kernel writes nothing but to that address, and fails.
    let child = unsafe { sys::call(libc::SYS_clone, [flags, 0, 8, 0, 0, 0]) };
    match child {
        Ok(0) => sys::exit(0),
        Ok(child) => {
            let _ = sys::wait(child as libc::pid_t);
            false
        }
        Err(error) => error.raw_os_error() == Some(libc::EFAULT),
    }
}

/// Calls that write.
pub(crate) const CALLS: [&str; 8] =
    ["write", "pwrite", "writev", "sendfile", "splice", "copy-file-range", "uring", "uring-worker"];

/// Writes 4096 bytes to the file in a folder that is called like the call.
fn write_by(call: &str, folder: &Path) -> io::Result<i64> {
    let bytes = [b'y'; 4096];
    let source = File::open(folder.join("source"))?;
    let target = OpenOptions::new().write(true).open(folder.join(call))?;
    let (from, to) = (source.as_raw_fd(), target.as_raw_fd());
    let parts = [
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: 2048 },
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: 2048 },
    ];
    let none = std::ptr::null_mut::<libc::loff_t>();
    // SAFETY: the descriptors are open, and the memory is as long as is said.
    let done = unsafe {
        match call {
            "write" => libc::write(to, bytes.as_ptr().cast(), 4096),
            "pwrite" => libc::pwrite(to, bytes.as_ptr().cast(), 4096, 0),
            "writev" => libc::writev(to, parts.as_ptr(), 2),
            "sendfile" => libc::sendfile(to, from, none, 4096),
            "copy-file-range" => libc::copy_file_range(from, none, to, none, 4096, 0),
            "splice" => {
                let mut ends = [0; 2];
                sys::check(libc::pipe(ends.as_mut_ptr()))?;
                // Into the pipe, which is no file that is written to, and out of it.
                sys::check(libc::splice(from, none, ends[1], none, 4096, 0) as i64)?;
                libc::splice(ends[0], none, to, none, 4096, 0)
            }
            "uring" => return uring_write(to, &bytes, false).map(|length| length as i64),
            "uring-worker" => return uring_write(to, &bytes, true).map(|length| length as i64),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    };
    sys::check(done as i64)
}

/// Connects some times, tells so, waits until it may go on, and connects again.
fn in_two_steps(port: &str, folder: &Path, times: [usize; 2]) -> ExitCode {
    let first = (0..times[0]).filter(|_| connect(port)).count();
    if fs::write(folder.join("first"), format!("{first}\n")).is_err() {
        return ExitCode::from(2);
    }
    while !folder.join("go-on").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let second = (0..times[1]).filter(|_| connect(port)).count();
    match fs::write(folder.join("second"), format!("{second}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}
