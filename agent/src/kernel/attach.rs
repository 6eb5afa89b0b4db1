//! Loads one program, and attaches it to its hook.

use std::{collections::HashSet, fs, io, os::fd::AsFd, path::Path};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSockAddr, FEntry, Iter, Lsm,
        links::FdLink,
    },
};

use super::hooks::{Attachment, Hook};

/// The kernel does not have a hook.
#[derive(Debug, thiserror::Error)]
#[error("this kernel has no such hook")]
pub(super) struct Lack;

/// The object, ready to be loaded.
pub(super) struct Object {
    pub(super) programs: Ebpf,
    /// Hooks that this kernel does not have.
    pub(super) lacks: HashSet<&'static str>,
}

/// Loads the program of a hook, and pins it: attached, where it is for the whole machine.
pub(super) fn load(
    object: &mut Object,
    hook: &Hook,
    kernel: &aya::Btf,
    folder: &Path,
) -> Result<&'static str> {
    let pin = folder.join(hook.name);
    // Left by one that was killed meanwhile.
    match fs::remove_file(&pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| pin.display().to_string());
        }
        _ => {}
    }
    if let Some(otherwise) = hook.otherwise.filter(|_| object.lacks.contains(hook.name)) {
        return Ok(otherwise);
    }
    if object.lacks.contains(hook.name) {
        return Err(Lack.into());
    }
    let program = object.programs.program_mut(hook.name).context("the object lacks the program")?;
    match hook.attachment {
        Attachment::SecurityModule => {
            let program: &mut Lsm = program.try_into()?;
            program.load(hook.name, kernel)?;
            let link = program.attach()?;
            let link: FdLink = program.take_link(link)?.into();
            link.pin(&pin)?;
        }
        Attachment::Entry(function) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, kernel)?;
            let link = program.attach()?;
            let link: FdLink = program.take_link(link)?.into();
            link.pin(&pin)?;
        }
        Attachment::SocketAddress(_) => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            program.pin(&pin)?;
        }
        Attachment::TracePoint => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook.name, kernel)?;
            let link = program.attach()?;
            let link: FdLink = program.take_link(link)?.into();
            link.pin(&pin)?;
        }
        Attachment::EveryTask => {
            let program: &mut Iter = program.try_into()?;
            program.load("task", kernel)?;
            let link = program.attach()?;
            let link: FdLink = program.take_link(link)?.try_into()?;
            link.pin(&pin)?;
        }
        Attachment::Packet(_) => {
            let program: &mut CgroupSkb = program.try_into()?;
            program.load()?;
            program.pin(&pin)?;
        }
    }
    Ok("enforced")
}

/// Attaches the program that is pinned there to a hook of a control group.
pub(super) fn to_cgroup(pin: &Path, hook: &Hook, cgroup: &impl AsFd) -> Result<FdLink> {
    Ok(match hook.attachment {
        Attachment::SecurityModule
        | Attachment::TracePoint
        | Attachment::Entry(_)
        | Attachment::EveryTask => {
            bail!("it is no hook of a control group")
        }
        Attachment::SocketAddress(on) => {
            let mut program = CgroupSockAddr::from_pin(pin, on)?;
            let link = program.attach(cgroup, CgroupAttachMode::Single)?;
            program.take_link(link)?.try_into()?
        }
        Attachment::Packet(way) => {
            let mut program = CgroupSkb::from_pin(pin, way)?;
            let link = program.attach(cgroup, way, CgroupAttachMode::Single)?;
            program.take_link(link)?.try_into()?
        }
    })
}
