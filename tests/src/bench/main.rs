//! `ringfence-bench`: what an act costs, alone and under whatever the caller has put around it.
//!
//! ```text
//! ringfence-bench fs FOLDER DEPTH…          opens and closes files at these depths
//! ringfence-bench landlock RULES FOLDER -- CMD…
//!                                           runs a command under Landlock rules
//! ringfence-bench tree FOLDER FOLDERS       makes the files that the others speak of
//! ```
//!
//! It is run in an emulator whose clock counts instructions: what it prints as nanoseconds are
//! instructions, the same on every machine.

mod landlock;

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
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
        ["fs", folder, depths @ ..] => measure(Path::new(folder), depths, Act::Open),
        ["refused", folder, depths @ ..] => measure(Path::new(folder), depths, Act::Refused),
        ["tree", folder, folders] => tree(Path::new(folder), folders),
        ["landlock", rules, folder, "--", command @ ..] => confined(rules, folder, command),
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Opening for reading, and closing.
    Open,
    /// Opening what is refused.
    Refused,
}

/// The file at a depth: `DEPTH` counts the components below the root.
fn file(folder: &Path, depth: usize) -> PathBuf {
    let mut path = folder.to_owned();
    for level in 1..depth {
        path.push(format!("folder{level:02}"));
    }
    path.join("content.txt")
}

/// Makes the files, and folders for rules that match none of them.
fn tree(folder: &Path, folders: &str) -> io::Result<()> {
    for depth in DEPTHS {
        let file = file(folder, depth);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, "something")?;
    }
    for number in 0..folders.parse().map_err(io::Error::other)? {
        fs::create_dir_all(format!("/srv/project-{number}"))?;
    }
    Ok(())
}

/// Prints for each depth the instructions of one act: middle, smallest, largest.
fn measure(folder: &Path, depths: &[&str], act: Act) -> io::Result<()> {
    for depth in depths {
        let path = file(folder, depth.parse().map_err(io::Error::other)?);
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut times = Vec::new();
        for round in 0..=MEASUREMENTS {
            let start = Instant::now();
            for _ in 0..OPENS {
                once(&path, act)?;
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

fn once(path: &CString, act: Act) -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated string, and the descriptor closed is the one opened.
    let opened = unsafe {
        match libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) {
            -1 => false,
            descriptor => libc::close(descriptor) == 0,
        }
    };
    match opened == (act == Act::Open) {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// Runs a command under Landlock: the folder may be read, and many others.
fn confined(rules: &str, folder: &str, command: &[&str]) -> io::Result<()> {
    let rules: usize = rules.parse().map_err(io::Error::other)?;
    let folders = (1..rules).map(|number| PathBuf::from(format!("/srv/project-{number}")));
    let folders: Vec<PathBuf> = [PathBuf::from(folder)].into_iter().chain(folders).collect();
    landlock::confine(&folders)?;
    let [program, arguments @ ..] = command else { return Err(io::Error::other("no command")) };
    Err(Command::new(program).args(arguments).exec())
}
