//! What the kernel knows of an open file beyond what `stat` tells.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    ptr,
};

/// `FS_IOC_MEASURE_VERITY` (`linux/fsverity.h`).
const MEASURE_VERITY: libc::Ioctl = 0xc004_6686;
/// `FS_VERITY_HASH_ALG_SHA256`.
const SHA256: u16 = 1;
/// `FS_IOC_GETVERSION` (`linux/fs.h`).
const GET_VERSION: libc::Ioctl = 0x8008_7601;
/// Bytes that are mapped to see where the kernel says they come from.
const PAGE: usize = 4096;

/// `struct fsverity_digest`, with room for the digest.
#[repr(C)]
struct VerityDigest {
    algorithm: u16,
    size: u16,
    digest: [u8; 64],
}

/// The digest by which fs-verity keeps a file from being changed, if that is by SHA-256.
///
/// # Errors
///
/// When the file has none, or its file system has no fs-verity.
pub(crate) fn verity_digest(file: &File) -> io::Result<[u8; 32]> {
    let mut digest = VerityDigest { algorithm: 0, size: 64, digest: [0; 64] };
    // SAFETY: the structure is live, and `size` is the room that it has for the digest.
    check(unsafe { libc::ioctl(file.as_raw_fd(), MEASURE_VERITY, &raw mut digest) })?;
    match (digest.algorithm, digest.digest.first_chunk::<32>()) {
        (SHA256, Some(bytes)) => Ok(*bytes),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The generation of the file's inode: another file that gets its number has another one.
///
/// # Errors
///
/// The system call's.
pub(crate) fn generation(file: &File) -> io::Result<u32> {
    let mut generation: libc::c_long = 0;
    // SAFETY: the kernel writes at most a long.
    check(unsafe { libc::ioctl(file.as_raw_fd(), GET_VERSION, &raw mut generation) })?;
    Ok(generation as u32)
}

/// Device and inode number as the kernel has them, which `stat` may tell otherwise.
///
/// # Errors
///
/// When the file cannot be mapped, or what the kernel says of the mapping not be read.
pub(crate) fn kernel_numbers(file: &File) -> io::Result<(u32, u64)> {
    let (null, fd) = (ptr::null_mut(), file.as_raw_fd());
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let page = unsafe { libc::mmap(null, PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let maps = fs::read_to_string("/proc/self/maps");
    // SAFETY: the mapping is ours, and nothing refers to it.
    unsafe { libc::munmap(page, PAGE) };
    numbers_at(&maps?, page as u64).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Device and inode of the mapping that begins at an address (proc_pid_maps(5)).
fn numbers_at(maps: &str, address: u64) -> Option<(u32, u64)> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, _) = fields.next()?.split_once('-')?;
        if u64::from_str_radix(start, 16).ok()? != address {
            return None;
        }
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let [major, minor] = [major, minor].map(|part| u32::from_str_radix(part, 16).ok());
        // `MKDEV` (`linux/kdev_t.h`).
        Some((major? << 20 | minor?, fields.next()?.parse().ok()?))
    })
}

/// Fails when anybody holds the file open for writing.
///
/// # Errors
///
/// Also when the file system cannot tell.
pub(crate) fn check_no_writers(file: &File) -> io::Result<()> {
    // The kernel grants a read lease only on a file that nobody can write, and tells its holder
    // by SIGIO of those who want to: nobody is to die of that in the short time.
    // SAFETY: the handler is one of the two that are no functions, and the lease is our own.
    let granted = unsafe {
        let before = libc::signal(libc::SIGIO, libc::SIG_IGN);
        let granted = check(libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK));
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
        libc::signal(libc::SIGIO, before);
        granted
    };
    granted.map_err(|error| match error.raw_os_error() {
        Some(libc::EAGAIN) => io::Error::other("is open for writing"),
        _ => error,
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_mapping_are_read_from_its_line() {
        let maps = "7f00-8000 r--p 00000000 08:01 12 /a\n\
                    8000-9000 r--p 00000000 fd:10 4711                       /b c\n";
        assert_eq!(numbers_at(maps, 0x8000), Some((0xfd << 20 | 0x10, 4711)));
        assert_eq!(numbers_at(maps, 0x9000), None);
        assert_eq!(numbers_at("8000-9000 r--p", 0x8000), None, "cut");
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_told_from_others() {
        let path = std::env::temp_dir().join(format!("ringfence-lease-{}", std::process::id()));
        fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        check_no_writers(&file).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        assert_eq!(check_no_writers(&file).unwrap_err().to_string(), "is open for writing");
        drop(writer);
        check_no_writers(&file).unwrap();
        let (_, inode) = kernel_numbers(&file).unwrap();
        assert_ne!(inode, 0);
        fs::remove_file(&path).unwrap();
    }
}
