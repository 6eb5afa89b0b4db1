//! Prepares the compiled kernel object for the kernel and policy at hand, where the loader has no
//! way to: calls of kernel functions.

use anyhow::{Context as _, Result};
use object::{Endianness, Object as _, ObjectSection as _, read::elf::ElfFile64};

/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, the source register of a call of a kernel function.
const KERNEL_FUNCTION: u8 = 2;
/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// Turns calls of the helper number `marker`, which no kernel has, into calls of the kernel
/// function with this BTF identifier, and returns how many there were.
///
/// # Errors
///
/// When the object is not ELF.
pub(crate) fn call_kernel_function(object: &mut [u8], marker: u32, function: u32) -> Result<usize> {
    let sections: Vec<(u64, u64)> = parse(object)?
        .sections()
        .filter(|section| section.kind() == object::SectionKind::Text)
        .filter_map(|section| section.file_range())
        .collect();
    let mut calls = 0;
    for (start, length) in sections {
        let end = start.saturating_add(length) as usize;
        let code = object.get_mut(start as usize..end).context("a section is cut")?;
        for instruction in code.chunks_exact_mut(INSTRUCTION) {
            if instruction[..2] == [CALL, 0] && instruction[4..] == marker.to_le_bytes() {
                instruction[1] = KERNEL_FUNCTION << 4;
                instruction[4..].copy_from_slice(&function.to_le_bytes());
                calls += 1;
            }
        }
    }
    Ok(calls)
}

fn parse(object: &[u8]) -> Result<ElfFile64<'_, Endianness>> {
    ElfFile64::parse(object).context("the kernel object is not ELF")
}
