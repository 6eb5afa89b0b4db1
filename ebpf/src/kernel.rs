//! Reading the kernel's memory, at the offsets that the agent found in its BTF.

use core::arch::asm;

use aya_ebpf::helpers::{generated::bpf_get_current_task, generated::bpf_probe_read_kernel};
use ringfence_common::layout::{Settings, kfunc};

/// Filled in by the agent before the programs are loaded, and frozen.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings::EMPTY;

/// One field of the settings, as a constant that the verifier sees.
macro_rules! setting {
    ($($field:ident).+) => {
        $crate::kernel::fixed(&$crate::kernel::settings().$($field).+)
    };
}
pub(crate) use setting;

/// The offset of a kernel structure's member.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::setting!(layout.$field) as u64
    };
}
pub(crate) use offset;

#[inline(always)]
pub(crate) const fn settings() -> &'static Settings {
    &SETTINGS
}

/// Reads a setting, which the compiler must not take for what is compiled in.
#[inline(always)]
pub(crate) fn fixed<T: Copy>(setting: &'static T) -> T {
    // SAFETY: the pointer comes from a reference.
    unsafe { core::ptr::read_volatile(setting) }
}

/// Lets memory at `address` be read as `struct timespec64`: two 64-bit numbers. The kernel turns
/// the reads into loads that yield 0 where there is no memory.
#[inline(always)]
fn readable(address: u64) -> *const u64 {
    // SAFETY: the agent replaces this call by one of bpf_rdonly_cast, or the branch is dead and
    // the verifier removes it.
    let rdonly_cast: unsafe extern "C" fn(u64, u32) -> *const u64 =
        unsafe { core::mem::transmute(kfunc::RDONLY_CAST as usize) };
    // SAFETY: as above; the second argument must be a constant for the verifier, and is.
    unsafe { rdonly_cast(address, setting!(readable_type)) }
}

/// Whether memory is read through `bpf_rdonly_cast`, which lockdown allows, rather than through
/// `bpf_probe_read_kernel`, which `lockdown=confidentiality` refuses.
#[inline(always)]
pub(crate) fn reads_by_cast() -> bool {
    setting!(readable_type) != 0
}

/// The eight bytes at a kernel address; 0 where nothing can be read.
#[inline(always)]
pub(crate) fn read_u64(address: u64) -> u64 {
    if reads_by_cast() {
        // SAFETY: the verifier allows this load only because the kernel handles its fault.
        return unsafe { readable(address).read_volatile() };
    }
    let mut value = 0_u64;
    // SAFETY: the destination is eight bytes of our stack; the helper checks the source.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, address as *const _) };
    value
}

/// The four bytes at a kernel address; 0 where nothing can be read.
#[inline(always)]
pub(crate) fn read_u32(address: u64) -> u32 {
    if reads_by_cast() {
        // SAFETY: as in `read_u64`.
        return unsafe { readable(address).cast::<u32>().read_volatile() };
    }
    let mut value = 0_u32;
    // SAFETY: as in `read_u64`, four bytes.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 4, address as *const _) };
    value
}

/// The two bytes at a kernel address; 0 where nothing can be read.
#[inline(always)]
pub(crate) fn read_u16(address: u64) -> u16 {
    if reads_by_cast() {
        // SAFETY: as in `read_u64`.
        return unsafe { readable(address).cast::<u16>().read_volatile() };
    }
    let mut value = 0_u16;
    // SAFETY: as in `read_u64`, two bytes.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 2, address as *const _) };
    value
}

/// Reads a pointer or eight bytes from a structure that the verifier knows to be one: cheaper than
/// [`read_u64`] everywhere, and what it yields is known too.
///
/// # Safety
///
/// `from` is a structure that the kernel gave, or a pointer read from one, and `offset` that of a
/// member of eight bytes: the verifier checks both, and the kernel handles a fault.
#[inline(always)]
pub(crate) unsafe fn typed(from: *const u8, offset: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { from.add(offset as usize).cast::<u64>().read_volatile() }
}

/// The same for four bytes.
///
/// # Safety
///
/// As for [`typed`].
#[inline(always)]
pub(crate) unsafe fn typed_u32(from: *const u8, offset: u64) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { from.add(offset as usize).cast::<u32>().read_volatile() }
}

/// The same for two bytes.
///
/// # Safety
///
/// As for [`typed`].
#[inline(always)]
pub(crate) unsafe fn typed_u16(from: *const u8, offset: u64) -> u16 {
    // SAFETY: the caller's promise.
    unsafe { from.add(offset as usize).cast::<u16>().read_volatile() }
}

/// A pointer as a number, by way of a place in a map: the verifier lets nobody calculate with what
/// it knows to be a pointer.
#[inline(always)]
pub(crate) fn number(place: &mut u64, pointer: u64) -> u64 {
    // SAFETY: the pointers come from a reference.
    unsafe {
        core::ptr::write_volatile(place, pointer);
        core::ptr::read_volatile(place)
    }
}

/// Address of the current task.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_get_current_task() }
}

/// `PF_IO_WORKER` (`linux/sched.h`): the task is a worker of an io_uring.
const IO_WORKER: u32 = 0x10;

/// Whether the current task acts with other credentials than its own for the moment
/// (`override_creds`): the kernel does something that the task did not ask for, as who mounted an
/// overlay looks at its layers.
///
/// A task has no say in it, but through io_uring. There a request carries the credentials of when
/// it was made, which may not be those of now. Changes of metadata are left to workers always,
/// and workers are never taken for the kernel; requests with credentials that were registered
/// before are refused (`uring_override_creds`).
#[inline(always)]
pub(crate) fn in_borrowed_credentials() -> bool {
    let task = current();
    read_u64(task + offset!(task_cred)) != read_u64(task + offset!(task_real_cred))
        && read_u32(task + offset!(task_flags)) & IO_WORKER == 0
}

/// Hides from the compiler what it knows about a number, so that it keeps the checks that the
/// verifier needs to see.
#[inline(always)]
pub(crate) fn opaque(mut number: u64) -> u64 {
    // A real instruction: with none, the line information of two would name the same place,
    // which the kernel refuses.
    // SAFETY: a move of a register to itself.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(pure, nomem)) };
    number
}

/// Writes eight bytes, wherever they stand. The compiler would write them one by one.
///
/// # Safety
///
/// `to` is followed by eight writable bytes.
#[inline(always)]
pub(crate) unsafe fn write_u64(to: *mut u8, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("*(u64 *)({0} + 0) = {1}", in(reg) to, in(reg) value) };
}

/// Reads eight bytes of a map or of the stack, wherever they stand.
///
/// # Safety
///
/// `from` is followed by eight readable bytes.
#[inline(always)]
pub(crate) unsafe fn load_u64(from: *const u8) -> u64 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("{0} = *(u64 *)({1} + 0)", out(reg) value, in(reg) from) };
    value
}

/// Reads four bytes of a map or of the stack, wherever they stand.
///
/// # Safety
///
/// `from` is followed by four readable bytes.
#[inline(always)]
pub(crate) unsafe fn load_u32(from: *const u8) -> u32 {
    let value: u64;
    // SAFETY: the caller's promise.
    unsafe { asm!("{0} = *(u32 *)({1} + 0)", out(reg) value, in(reg) from) };
    value as u32
}

/// Reads two bytes of a map or of the stack, wherever they stand.
///
/// # Safety
///
/// `from` is followed by two readable bytes.
#[inline(always)]
pub(crate) unsafe fn load_u16(from: *const u8) -> u16 {
    let value: u64;
    // SAFETY: the caller's promise.
    unsafe { asm!("{0} = *(u16 *)({1} + 0)", out(reg) value, in(reg) from) };
    value as u16
}
