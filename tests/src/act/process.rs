//! Acts of processes: executing, and being elsewhere when a file is opened.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use libc::c_int;

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them.
pub(super) const ACTS: &[Act] = &[
    ("run", run),
    ("run-when-told", run_when_told),
    ("run-after-replacing", run_after_replacing),
    ("run-memfd", run_memfd),
    ("run-descriptor", |a| run_descriptor(a, false)),
    ("run-unlinked", |a| run_descriptor(a, true)),
    ("map-executable", map_executable),
    ("make-executable", make_executable),
    ("read-after-fork", |a| read_in_child(a, || Ok(()))),
    ("read-as-daemon", read_as_daemon),
    ("read-in-thread", read_in_thread),
    ("read-after-exec", read_after_exec),
    ("read-after-moving", read_after_moving),
    ("read-in-new-cgroup", read_in_new_cgroup),
    ("read-when-told", read_when_told),
    ("read-born-elsewhere", read_born_elsewhere),
    ("leave-hammer", leave_hammer),
];

fn text(a: Arguments, index: usize) -> Result<String, Trouble> {
    Ok(String::from_utf8_lossy(argument(a, index)?).into_owned())
}

/// Runs a program, which must exit with 0.
fn run(a: Arguments) -> Done {
    let mut command = Command::new(text(a, 0)?);
    for index in 1..a.len() {
        command.arg(text(a, index)?);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Trouble::Other(format!("{}: {}", output.status, said.trim_end())))
}

/// Runs the first argument once the third is there; makes the second to say that it waits.
fn run_when_told(a: Arguments) -> Done {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(400) };
    fs::write(text(a, 1)?, "")?;
    let told = text(a, 2)?;
    while fs::symlink_metadata(&told).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    run(&a[..1])
}

/// Runs the first argument once the second has taken its place.
fn run_after_replacing(a: Arguments) -> Done {
    fs::rename(text(a, 1)?, text(a, 0)?)?;
    run(&a[..1])
}

/// Executes what a descriptor stands for, in a child.
fn execute(fd: c_int) -> Done {
    let (argument, none) = (c"true".as_ptr(), std::ptr::null());
    let status = sys::in_child(|| {
        let arguments = [argument, none];
        // SAFETY: both lists end with a null pointer, and the path is a NUL-terminated string.
        unsafe {
            libc::execveat(
                fd,
                c"".as_ptr(),
                arguments.as_ptr().cast(),
                [none].as_ptr().cast(),
                libc::AT_EMPTY_PATH,
            )
        };
        io::Error::last_os_error().raw_os_error().unwrap_or(200)
    })?;
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(String::new()),
        number => Err(Trouble::Errno(number)),
    }
}

/// Executes a copy of a program in a file that was never anywhere.
fn run_memfd(a: Arguments) -> Done {
    let mut program = Vec::new();
    File::from(sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?).read_to_end(&mut program)?;
    // SAFETY: the name is a NUL-terminated string.
    let file = sys::check(unsafe { libc::memfd_create(c"test".as_ptr(), 0) }).map(sys::owned)?;
    let mut file = File::from(file);
    file.write_all(&program)?;
    execute(file.as_raw_fd())
}

fn run_descriptor(a: Arguments, unlinked: bool) -> Done {
    let program = sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?;
    if unlinked {
        fs::remove_file(text(a, 0)?)?;
    }
    execute(program.as_raw_fd())
}

/// Maps a page of a file.
fn map(file: &File, protection: c_int) -> io::Result<*mut libc::c_void> {
    let (null, flags) = (std::ptr::null_mut(), libc::MAP_PRIVATE);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let address = unsafe { libc::mmap(null, 4096, protection, flags, file.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address) }
}

fn map_executable(a: Arguments) -> Done {
    let file = File::from(sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?);
    map(&file, libc::PROT_READ | libc::PROT_EXEC)?;
    Ok(String::new())
}

/// Maps a file to be read, and then makes the mapping executable.
fn make_executable(a: Arguments) -> Done {
    let file = File::from(sys::open(argument(a, 0)?, libc::O_RDONLY, 0)?);
    let address = map(&file, libc::PROT_READ)?;
    // SAFETY: the mapping is ours, and nothing in it is used.
    sys::check(unsafe { libc::mprotect(address, 4096, libc::PROT_READ | libc::PROT_EXEC) })?;
    Ok(String::new())
}

fn open(path: &[u8]) -> io::Result<()> {
    sys::open(path, libc::O_RDONLY, 0).map(drop)
}

/// What an error is to a process that can only tell a number.
fn number(result: io::Result<()>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(200), |()| 0)
}

fn told(status: c_int) -> Done {
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(String::new()),
        200 => Err(Trouble::Other("what the child had to do first did not work".into())),
        number => Err(Trouble::Errno(number)),
    }
}

/// Reads the first argument in a child that does something else before.
fn read_in_child(a: Arguments, before: impl FnOnce() -> Result<(), Trouble>) -> Done {
    let path = argument(a, 0)?;
    told(sys::in_child(|| match before() {
        Ok(()) => number(open(path)),
        Err(_) => 200,
    })?)
}

/// Reads as a daemon does: a grandchild in a session of its own, whose parent is gone.
fn read_as_daemon(a: Arguments) -> Done {
    let path = argument(a, 0)?;
    let (mut reader, writer) = io::pipe()?;
    sys::in_child(|| {
        // SAFETY: no memory is involved.
        unsafe { libc::setsid() };
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } != 0 {
            return 0;
        }
        // The parent is gone by then.
        thread::sleep(Duration::from_millis(50));
        let number = number(open(path));
        let mut writer = &writer;
        let _ = writer.write_all(&[u8::try_from(number).unwrap_or(200)]);
        0
    })?;
    drop(writer);
    let mut byte = [200];
    reader.read_exact(&mut byte)?;
    if byte[0] == 0 { Ok(String::new()) } else { Err(Trouble::Errno(byte[0].into())) }
}

fn read_in_thread(a: Arguments) -> Done {
    let path = argument(a, 0)?.to_vec();
    let thread = thread::spawn(move || open(&path));
    let result = thread.join().map_err(|_| Trouble::Other("the thread panicked".into()))?;
    Ok(result.map(|()| String::new())?)
}

/// Reads after executing this program anew.
fn read_after_exec(a: Arguments) -> Done {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    let status = command.args(["act-one", "open-read", &text(a, 0)?]).output()?.status;
    match status.code() {
        Some(0) => Ok(String::new()),
        Some(number) if number != 200 => Err(Trouble::Errno(number)),
        _ => Err(Trouble::Other(status.to_string())),
    }
}

fn enter(cgroup: &[u8]) -> io::Result<()> {
    let procs = [cgroup, b"/cgroup.procs"].concat();
    File::from(sys::open(&procs, libc::O_WRONLY, 0)?).write_all(b"0")
}

/// Tries to move to a cgroup, and reads, wherever the process is then.
fn read_after_moving(a: Arguments) -> Done {
    let cgroup = argument(a, 1)?;
    read_in_child(a, || {
        let _ = enter(cgroup);
        Ok(())
    })
}

/// Tries to make a cgroup and to move there, and reads, wherever the process is then.
fn read_in_new_cgroup(a: Arguments) -> Done {
    let cgroup = text(a, 1)?;
    read_in_child(a, || {
        let _ = fs::create_dir(&cgroup);
        let _ = enter(cgroup.as_bytes());
        Ok(())
    })
}

/// Says in a file which process it is, waits until another file is there, and reads.
fn read_when_told(a: Arguments) -> Done {
    // Others have to start meanwhile.
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(400) };
    fs::write(text(a, 1)?, std::process::id().to_string())?;
    let told = text(a, 2)?;
    while fs::symlink_metadata(&told).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    open(argument(a, 0)?)?;
    Ok(String::new())
}

/// `struct clone_args` (`linux/sched.h`).
#[derive(Default)]
#[repr(C)]
struct CloneArguments {
    flags: u64,
    unused: [u64; 3],
    exit_signal: u64,
    also_unused: [u64; 5],
    cgroup: u64,
}

/// Makes a child in another cgroup, of which only a name is held; gives 0 in the child.
fn clone_into(cgroup: &[u8]) -> io::Result<i64> {
    /// `CLONE_INTO_CGROUP`.
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let cgroup = sys::open(cgroup, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let mut arguments = CloneArguments {
        flags: INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArguments::default()
    };
    let size = size_of::<CloneArguments>() as i64;
    let pointer = (&raw mut arguments) as i64;
    // SAFETY: without CLONE_VM this is a fork; the arguments are ours and of the length given.
    unsafe { sys::call(libc::SYS_clone3, [pointer, size, 0, 0, 0, 0]) }
}

/// Reads in a child that is born in another cgroup.
fn read_born_elsewhere(a: Arguments) -> Done {
    let path = argument(a, 0)?;
    let child = clone_into(argument(a, 1)?)?;
    if child == 0 {
        sys::exit(number(open(path)));
    }
    told(sys::wait(child as libc::pid_t)?)
}

/// Leaves a daemon behind that opens a file again and again: see `hammer`.
fn leave_hammer(a: Arguments) -> Done {
    let mut hammer = Command::new(std::env::current_exe()?);
    hammer.args(["hammer", &text(a, 0)?, &text(a, 1)?]);
    hammer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: this process has one thread.
    if sys::check(unsafe { libc::fork() })? == 0 {
        // SAFETY: no memory is involved.
        unsafe { libc::setsid() };
        // It returns only when it fails.
        let _ = hammer.exec();
        sys::exit(1);
    }
    Ok(String::new())
}
