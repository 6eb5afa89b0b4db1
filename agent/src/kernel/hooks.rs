//! The hooks that ringfence attaches, and what each is for.

use aya::programs::{CgroupSkbAttachType as Way, CgroupSockAddrAttachType as On};

use super::set::Part;

/// How a program is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attachment {
    /// To a hook of the Linux security module framework, for the whole machine.
    SecurityModule,
    /// To a socket address hook of the scope's cgroup.
    SocketAddress(On),
    /// To the hook on packets of the scope's cgroup that go this way.
    Packet(Way),
    /// To a tracepoint, whose arguments the verifier knows the types of, for the whole machine.
    TracePoint,
    /// To the entry of this kernel function, for the whole machine.
    Entry(&'static str),
    /// An iterator over all tasks: it runs when its pin is read.
    EveryTask,
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    /// Name of the program, which is the hook's for security module hooks.
    pub(crate) name: &'static str,
    /// How it is attached.
    pub(crate) attachment: Attachment,
    /// What it is loaded with.
    pub(crate) part: Part,
    /// What is not enforced where the kernel lacks it.
    pub(crate) purpose: &'static str,
    /// Why nothing is open where the kernel has no such hook; without it the hook is required.
    pub(crate) otherwise: Option<&'static str>,
}

/// Hooks without which nobody is governed, what was remembered would be wrong, or the agent cannot
/// say which files are its own.
const ESSENTIAL: [&str; 7] = [
    "task_alloc",
    "bpf",
    "d_instantiate",
    "file_open",
    "bprm_check_security",
    "bprm_committed_creds",
    "inode_listxattr",
];

impl Hook {
    /// What is not enforced where the kernel lacks the hook.
    pub(crate) fn lack(&self) -> String {
        format!("this kernel cannot enforce {} (hook `{}`)", self.purpose, self.name)
    }

    /// Whether a scope may do without it, if its user accepts that.
    pub(crate) fn is_dispensable(&self) -> bool {
        matches!(self.attachment, Attachment::SecurityModule) && !ESSENTIAL.contains(&self.name)
    }
}

const fn lsm(name: &'static str, purpose: &'static str) -> Hook {
    let attachment = Attachment::SecurityModule;
    Hook { name, attachment, part: Part::Machine, purpose, otherwise: None }
}

/// A hook that not every kernel has, and needs.
const fn lsm_or(name: &'static str, purpose: &'static str, otherwise: &'static str) -> Hook {
    Hook { otherwise: Some(otherwise), ..lsm(name, purpose) }
}

const fn address(name: &'static str, on: On, purpose: &'static str) -> Hook {
    let attachment = Attachment::SocketAddress(on);
    Hook { attachment, part: Part::Network, ..lsm(name, purpose) }
}

const fn packet(name: &'static str, way: Way, purpose: &'static str) -> Hook {
    Hook { attachment: Attachment::Packet(way), part: Part::Network, ..lsm(name, purpose) }
}

const fn point(part: Part, name: &'static str, purpose: &'static str) -> Hook {
    Hook { attachment: Attachment::TracePoint, part, ..lsm(name, purpose) }
}

const fn entry(name: &'static str, function: &'static str, purpose: &'static str) -> Hook {
    Hook { attachment: Attachment::Entry(function), ..of(Part::Output, lsm(name, purpose)) }
}

const fn of(part: Part, hook: Hook) -> Hook {
    Hook { part, ..hook }
}

/// Every hook, those that bring tasks under the policy first.
pub(crate) const HOOKS: &[Hook] = &[
    lsm("task_alloc", "children stay governed"),
    lsm("bpf", "the bpf system call"),
    lsm("d_instantiate", "forgetting verdicts of folders that are gone"),
    lsm("file_open", "reading and writing files"),
    lsm("file_receive", "descriptors from other processes"),
    lsm("path_mknod", "creating files"),
    lsm("path_mkdir", "creating folders"),
    lsm("path_symlink", "creating symbolic links"),
    lsm("path_unlink", "deleting files"),
    lsm("path_rmdir", "deleting folders"),
    lsm("path_rename", "renaming"),
    lsm("path_link", "hard links"),
    lsm("path_truncate", "truncating"),
    lsm("path_chmod", "changing modes"),
    lsm("path_chown", "changing owners"),
    lsm("inode_setattr", "changing times"),
    lsm("inode_setxattr", "setting extended attributes"),
    lsm("inode_removexattr", "removing extended attributes"),
    lsm_or("inode_set_acl", "setting access control lists", "judged by inode_setxattr"),
    lsm_or("inode_remove_acl", "removing access control lists", "judged by inode_removexattr"),
    lsm_or("inode_file_setattr", "changing file flags", "judged by file_ioctl"),
    lsm("path_notify", "watching files and folders"),
    lsm("bprm_check_security", "executing programs"),
    lsm("bprm_committed_creds", "which program a process runs"),
    lsm("mmap_file", "mapping files executable"),
    lsm("file_mprotect", "making mappings executable"),
    lsm("socket_create", "kinds of socket"),
    lsm("socket_listen", "loopback within the scope, serving others"),
    lsm("socket_accept", "serving with sockets from outside"),
    lsm("unix_stream_connect", "connecting to Unix sockets"),
    lsm("unix_may_send", "sending to Unix sockets"),
    lsm("socket_connect", "connecting"),
    lsm("socket_sendmsg", "sending"),
    lsm("sb_mount", "mounting"),
    lsm("move_mount", "moving mounts"),
    lsm("sb_pivotroot", "changing the root"),
    lsm("sb_umount", "unmounting"),
    lsm("sb_remount", "remounting"),
    lsm("path_chroot", "changing the root"),
    lsm("userns_create", "user namespaces"),
    lsm("perf_event_open", "performance events"),
    lsm("capable", "mounts and namespaces by calls without a hook"),
    lsm("task_kill", "signals"),
    lsm("ptrace_access_check", "tracing"),
    lsm("ptrace_traceme", "being traced from outside"),
    lsm("task_setrlimit", "limits of other processes"),
    lsm("task_setnice", "priorities of other processes"),
    lsm("task_setscheduler", "scheduling of other processes"),
    lsm("task_setioprio", "I/O priorities of other processes"),
    lsm("file_ioctl", "typing into terminals, changing file flags"),
    lsm_or("file_ioctl_compat", "the same by the 32-bit call", "judged by file_ioctl"),
    lsm("file_fcntl", "signals by descriptors"),
    lsm("kernel_read_file", "modules and kexec by descriptor"),
    lsm("kernel_load_data", "modules and kexec from memory"),
    lsm("syslog", "the kernel's log"),
    lsm("key_alloc", "making keys"),
    lsm("key_permission", "keyrings"),
    lsm_or("uring_allowed", "making io_urings", "judged by inode_init_security_anon"),
    lsm("inode_init_security_anon", "making io_urings"),
    lsm("uring_sqpoll", "threads that work for an io_uring"),
    lsm("uring_override_creds", "io_uring requests with other credentials"),
    lsm("uring_cmd", "io_uring requests to drivers"),
    address("connect4", On::Connect4, "connecting over IPv4"),
    address("connect6", On::Connect6, "connecting over IPv6"),
    address("sendmsg4", On::UDPSendMsg4, "sending over IPv4"),
    address("sendmsg6", On::UDPSendMsg6, "sending over IPv6"),
    address("recvmsg4", On::UDPRecvMsg4, "answers of name servers over IPv4"),
    address("recvmsg6", On::UDPRecvMsg6, "answers of name servers over IPv6"),
    address("getpeername4", On::GetPeerName4, "names of name servers over IPv4"),
    address("getpeername6", On::GetPeerName6, "names of name servers over IPv6"),
    packet("egress", Way::Egress, "packets"),
    packet("ingress", Way::Ingress, "packets that come in"),
    point(Part::Membership, "cgroup_attach_task", "processes that are moved into a control group"),
    point(Part::Membership, "task_newtask", "processes that are born into a control group"),
    point(Part::Membership, "cgroup_mkdir", "new control groups"),
    point(Part::Membership, "cgroup_rmdir", "control groups that go"),
    of(Part::Membership, lsm("inode_listxattr", "keeping the agent's own files")),
    Hook {
        attachment: Attachment::EveryTask,
        ..of(Part::Membership, lsm("every_task", "processes that run already"))
    },
    of(Part::Processes, lsm("task_free", "the budget of processes, where a fork fails")),
    point(Part::Processes, "sched_process_exit", "the budget of processes"),
    point(Part::Processes, "sched_process_free", "the budget of processes, as a second chance"),
    entry("rw_verify_area", "rw_verify_area", "the budget of bytes written"),
    entry("rw_verify_area_again", "rw_verify_area", "the budget of bytes written, twice"),
    of(Part::Output, lsm("file_permission", "the budget of bytes written")),
];

#[cfg(test)]
mod tests {
    use ringfence_policy::coverage::Part;

    use ringfence_tests::catalogue::{BESIDES_HOOKS, FAMILIES};

    use super::HOOKS;

    #[test]
    fn every_hook_that_the_evasion_catalogue_names_is_attached() {
        for row in FAMILIES.iter().flat_map(|family| family.rows) {
            for name in row.closed_by {
                let is_known = HOOKS.iter().any(|hook| hook.name == *name)
                    || BESIDES_HOOKS.iter().any(|(other, _)| other == name);
                assert!(is_known, "{}: {name}", row.way);
            }
        }
    }

    #[test]
    fn every_hook_that_an_explanation_names_is_attached() {
        for part in Part::ALL {
            assert!(!part.hooks().is_empty(), "{part:?}");
            for name in part.hooks() {
                assert!(HOOKS.iter().any(|hook| hook.name == name), "{part:?}: {name}");
            }
        }
    }
}
