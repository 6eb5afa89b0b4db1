//! Acts on memory: what may become executable.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
};

use libc::{
    MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE, c_int, c_ulong,
};

use super::{Act, Trouble, argument};
use crate::sys;

type Arguments<'a> = &'a [Vec<u8>];
type Done = Result<String, Trouble>;

/// All of them. Those about files take the file's path.
pub(super) const ACTS: &[Act] = &[
    ("code-anonymous", |_| of(map(None, MAP_PRIVATE, RX))),
    ("code-anonymous-shared", |_| of(map(None, MAP_SHARED, RX))),
    ("code-from-data", |_| of(map(None, MAP_PRIVATE, RW)?.protect(RX))),
    ("code-from-shared-data", |_| of(map(None, MAP_SHARED, RW)?.protect(RX))),
    ("code-on-heap", |_| of(heap()?.protect(RX))),
    ("code-on-stack", |_| of(stack().protect(RWX))),
    ("code-by-personality", by_personality),
    ("code-on-heap-by-personality", on_heap_by_personality),
    ("code-in-shared-memory", in_shared_memory),
    ("code-in-memfd", |_| of(map(Some(&memfd()?), MAP_SHARED, RX))),
    ("code-in-memfd-later", |_| of(map(Some(&memfd()?), MAP_PRIVATE, PROT_READ)?.protect(RX))),
    ("code-of-zeroes", |_| of(map(Some(&open(b"/dev/zero", libc::O_RDONLY)?), MAP_PRIVATE, RWX))),
    ("code-in-copy", |a| of(map(Some(&file(a, libc::O_RDONLY)?), MAP_PRIVATE, RWX))),
    ("code-in-written-copy", in_written_copy),
    ("code-made-writable", |a| {
        of(map(Some(&file(a, libc::O_RDONLY)?), MAP_PRIVATE, RX)?.protect(RWX))
    }),
    ("code-in-shared-file", |a| of(map(Some(&file(a, libc::O_RDWR)?), MAP_SHARED, RWX))),
    ("code-in-written-file", in_written_file),
];

const RW: c_int = PROT_READ | PROT_WRITE;
const RX: c_int = PROT_READ | PROT_EXEC;
const RWX: c_int = RW | PROT_EXEC;
const PAGE: usize = 4096;
/// `READ_IMPLIES_EXEC` (`linux/personality.h`).
const READ_IMPLIES_EXEC: c_ulong = 0x0040_0000;

/// A page that is ours alone.
struct Page(*mut libc::c_void);

impl Page {
    fn protect(self, protection: c_int) -> io::Result<Self> {
        // SAFETY: the page is ours and nothing that the process needs is in it, or it stays as
        // accessible as it was.
        sys::check(unsafe { libc::mprotect(self.0, PAGE, protection) })?;
        Ok(self)
    }

    fn write(self) -> Self {
        // SAFETY: the page is mapped writable and ours.
        unsafe { self.0.cast::<u8>().write_volatile(0xc3) };
        self
    }
}

fn of(page: io::Result<Page>) -> Done {
    page?;
    Ok(String::new())
}

fn map(file: Option<&OwnedFd>, kind: c_int, protection: c_int) -> io::Result<Page> {
    let (kind, fd) = match file {
        Some(file) => (kind, file.as_raw_fd()),
        None => (kind | MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, kind, fd, 0) };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Page(page)) }
}

fn open(path: &[u8], how: c_int) -> io::Result<OwnedFd> {
    sys::open(path, how, 0)
}

fn file(a: Arguments, how: c_int) -> Result<OwnedFd, Trouble> {
    Ok(open(argument(a, 0)?, how)?)
}

fn memfd() -> io::Result<OwnedFd> {
    // SAFETY: the name is a NUL-terminated string.
    let file = sys::check(unsafe { libc::memfd_create(c"test".as_ptr(), 0) }).map(sys::owned)?;
    let file = File::from(file);
    file.set_len(PAGE as u64)?;
    Ok(file.into())
}

/// A new page at the end of the heap.
fn heap() -> io::Result<Page> {
    // SAFETY: this process has one thread, and malloc copes with a heap that grew.
    let end = unsafe { libc::sbrk(2 * PAGE as libc::intptr_t) };
    if end as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Page((end as usize).next_multiple_of(PAGE) as *mut _))
}

fn stack() -> Page {
    let local = 0_u8;
    Page((&raw const local as usize / PAGE * PAGE) as *mut _)
}

fn let_reading_imply_executing() -> io::Result<()> {
    // SAFETY: no memory is involved.
    sys::check(unsafe { libc::personality(READ_IMPLIES_EXEC) }).map(drop)
}

fn by_personality(_: Arguments) -> Done {
    let_reading_imply_executing()?;
    of(map(None, MAP_PRIVATE, PROT_READ))
}

/// A heap that is executable because the personality says so; fails with EACCES where it is not.
fn on_heap_by_personality(_: Arguments) -> Done {
    let_reading_imply_executing()?;
    let page = heap()?.0 as usize;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let is_executable = maps.lines().any(|line| {
        let range = line.split_once(' ').and_then(|(range, rest)| {
            let (start, end) = range.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            Some((number(start)?..number(end)?, rest.as_bytes().get(2) == Some(&b'x')))
        });
        range.is_some_and(|(range, executable)| executable && range.contains(&page))
    });
    if is_executable { Ok(String::new()) } else { Err(Trouble::Errno(libc::EACCES)) }
}

/// Attaches a System V segment executable.
fn in_shared_memory(_: Arguments) -> Done {
    // SAFETY: no memory is involved.
    let segment = sys::check(unsafe { libc::shmget(libc::IPC_PRIVATE, PAGE, 0o700) })? as c_int;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let page = unsafe { libc::shmat(segment, ptr::null(), libc::SHM_EXEC) };
    let error = io::Error::last_os_error();
    // SAFETY: the segment is ours; it stays for as long as it is attached.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, ptr::null_mut()) };
    if page as isize == -1 { Err(error.into()) } else { Ok(String::new()) }
}

/// Writes to a private copy of a file, and makes it executable.
fn in_written_copy(a: Arguments) -> Done {
    of(map(Some(&file(a, libc::O_RDONLY)?), MAP_PRIVATE, RW)?.write().protect(RX))
}

/// Writes to a file by a mapping, and makes that executable: the file holds what is executed.
fn in_written_file(a: Arguments) -> Done {
    of(map(Some(&file(a, libc::O_RDWR)?), MAP_SHARED, RW)?.write().protect(RX))
}
