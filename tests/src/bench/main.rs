//! `ringfence-bench`: what an act costs, alone and under whatever the caller has put around it.
//!
//! ```text
//! ringfence-bench suite ROUNDS [PROFILE]   everything below, a line for each case and depth;
//!                                          with a profile, only under AppArmor
//! ringfence-bench fs open|refused          opens and closes files, at each depth
//! ringfence-bench landlock RULES open|refused
//!                                          the same under as many Landlock rules
//! ringfence-bench net suite ROUNDS         the same for acts on the network
//! ringfence-bench net serve                the other side of these
//! ringfence-bench net acts ERRNO [RULES]   does acts that it is told, under Landlock rules or not
//! ```
//!
//! It is run in an emulator whose clock counts instructions: what it prints as nanoseconds are
//! instructions, the same on every machine.

mod landlock;
mod net;
mod suite;

use std::{
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Opens in one measurement.
const OPENS: u32 = 1000;
/// Measurements of which the middle one counts.
const MEASUREMENTS: usize = 9;
/// Depths for which there are files: components of the path below the folder, the file included.
const DEPTHS: [usize; 5] = [1, 2, 4, 12, 32];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["suite", rounds, profile @ ..] => suite::run(rounds, profile.first().map(Path::new)),
        ["fs", act] => measure(act),
        ["landlock", rules, act] => confine(rules, act).and_then(|()| measure(act)),
        ["net", "suite", rounds] => net::suite::run(rounds),
        ["net", "serve"] => net::server::serve(),
        ["net", "acts", refusal] => net::client(refusal),
        ["net", "acts", refusal, rules] => net::confine(rules).and_then(|()| net::client(refusal)),
        _ => Err(io::Error::other("see the source for its commands")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The file at a depth, which counts the components below the root.
fn file(depth: usize) -> PathBuf {
    let mut path = PathBuf::from("/");
    for level in 1..depth {
        path.push(format!("folder{level:02}"));
    }
    path.join("content.txt")
}

/// Prints for each depth the instructions of one act: middle, smallest, largest.
fn measure(act: &str) -> io::Result<()> {
    let succeeds = act == "open";
    for depth in DEPTHS {
        let path = CString::new(file(depth).as_os_str().as_bytes())?;
        let mut times = Vec::new();
        for round in 0..=MEASUREMENTS {
            let start = Instant::now();
            for _ in 0..OPENS {
                once(&path, succeeds)?;
            }
            // The first only warms the caches.
            if round > 0 {
                times.push(start.elapsed().as_nanos() as u64 / u64::from(OPENS));
            }
        }
        times.sort_unstable();
        println!("{depth} {} {} {}", times[MEASUREMENTS / 2], times[0], times[MEASUREMENTS - 1]);
    }
    Ok(())
}

fn once(path: &CString, succeeds: bool) -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated string, and the descriptor closed is the one opened.
    let opened = unsafe {
        match libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) {
            -1 => false,
            descriptor => libc::close(descriptor) == 0,
        }
    };
    match opened == succeeds {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// Confines this process to Landlock rules: for the files if they are to be opened, and others.
fn confine(rules: &str, act: &str) -> io::Result<()> {
    let rules: usize = rules.parse().map_err(io::Error::other)?;
    let files = [PathBuf::from("/content.txt"), PathBuf::from("/folder01")];
    let files = files.into_iter().filter(|_| act == "open");
    landlock::confine(files.chain((2..rules).map(suite::project)))
}
