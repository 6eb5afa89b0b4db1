//! The baseline named `system`: what every program needs to run at all.
//!
//! It is a list that can be read here from top to bottom, and printed. What it must never hold:
//! password hashes, private keys, host keys, homes, credentials, another process's `/proc`.
//! Not in it, because programs share them with others: `/dev/shm` (Python's `multiprocessing`
//! wants it), `/tmp`, `/run`, `/var`. A document that needs them says so.
//!
//! The paths are those that the kernel sees once symbolic links are followed, so that `/lib` on a
//! system with merged `/usr` is covered by `/usr`.

use crate::boundary::{Baseline, Effect, GlobSyntax, PathRule, Place, Rights};
use ringfence_common::Right;

/// Name that the rules of the baseline carry in place of a file.
pub const FILE: &str = "baseline";

/// What the list was measured with: each does its work under a policy that gives it a workspace, a
/// home and a folder for temporary files besides the baseline, and meets no refusal. The tests run
/// them in a virtual machine with Debian's packages, and compare this list with what they ran.
pub const MEASURED_WITH: &[&str] = &[
    "git",
    "python3",
    "sqlite3",
    "venv",
    "pip",
    "curl",
    "gcc",
    "make",
    "node",
    "tar",
    "gzip",
    "xz",
    "bzip2",
    "rsync",
    "ssh-keygen",
    "bash",
    "sort",
    "awk",
    "sed",
    "grep",
    "xargs",
    "find",
];

/// Programs, libraries and their data: read and executed.
const PROGRAMS: &[&str] = &["/usr/**", "/bin/**", "/sbin/**"];

/// Where shared libraries and the dynamic loader are: read and executed, whatever a document's
/// own list of programs says, since no program starts without them.
const LIBRARIES: &[&str] = &[
    "/lib/**",
    "/lib32/**",
    "/lib64/**",
    "/libx32/**",
    "/usr/lib/**",
    "/usr/lib32/**",
    "/usr/lib64/**",
    "/usr/libx32/**",
    "/usr/local/lib/**",
    "/usr/local/lib64/**",
];

/// Folders that may be listed; what they hold needs rules of its own.
const FOLDERS: &[&str] = &[
    "/",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/dev/pts",
    "/proc/self",
    "/proc/thread-self",
];

/// Configuration that the C library, shells and interpreters read, none of it secret.
const CONFIGURATION: &[&str] = &[
    // The dynamic loader.
    "/etc/ld.so.{cache,preload,conf}",
    "/etc/ld.so.conf.d/**",
    "/etc/alternatives/**",
    // Names of users, groups, hosts, services: getpwuid(3), getaddrinfo(3), getservbyname(3).
    "/etc/{passwd,group,nsswitch.conf,hosts,host.conf,resolv.conf,gai.conf}",
    "/etc/{services,protocols,networks,rpc,netconfig,shells,login.defs}",
    // What /etc/resolv.conf is a link to, where a local resolver keeps it.
    "/run/systemd/resolve/{resolv,stub-resolv}.conf",
    "/run/{resolvconf,NetworkManager}/resolv.conf",
    // Time and language.
    "/etc/{localtime,timezone,locale.conf,locale.alias,locale.gen,default/locale}",
    // Certificates of authorities; /etc/ssl/private is not here.
    "/etc/ssl/{openssl.cnf,cert.pem}",
    "/etc/ssl/certs/**",
    "/etc/ca-certificates/**",
    "/etc/ca-certificates.conf",
    "/etc/pki/{tls/certs,tls/cert.pem,tls/openssl.cnf,ca-trust/extracted}",
    "/etc/pki/{tls/certs,ca-trust/extracted}/**",
    "/etc/crypto-policies/**",
    // Shells and terminals.
    "/etc/{profile,inputrc,environment,bash.bashrc,bashrc,bash_completion}",
    "/etc/{profile.d,bash_completion.d,terminfo,zsh}/**",
    // Interpreters and tools.
    "/etc/{python3*,perl}/**",
    "/etc/{gitconfig,xattr.conf,mime.types,magic,magic.mime}",
    // What system this is.
    "/etc/{os-release,lsb-release,debian_version,alpine-release,redhat-release}",
];

/// Devices without memory: read and written, never made or removed.
///
/// Not `/dev/pts/*`: a user's other terminals are there too, with what is typed into them.
const DEVICES: &[&str] = &["/dev/{null,zero,full,random,urandom,tty,ptmx}"];

/// Terminals: devices like any other, except that a rule which has them read needs no `device`.
const TERMINALS: &[&str] = &["/dev/pts/*"];

/// A process's own entries; the kernel side names them so whatever its number is.
const OWN_PROCESS: &[&str] = &["/proc/self/**", "/proc/thread-self/**"];

/// What a process may set about itself.
const OWN_PROCESS_SETTINGS: &[&str] =
    &["/proc/{self,thread-self}/{comm,oom_score_adj}", "/proc/self/task/*/comm"];

/// Facts about the machine by which the C library and run times size themselves.
const MACHINE: &[&str] = &[
    "/proc/{cpuinfo,meminfo,stat,version,filesystems,loadavg,uptime,devices,mounts,cgroups}",
    "/proc/sys/kernel/{cap_last_cap,ngroups_max,osrelease,ostype,pid_max,threads-max,version}",
    "/proc/sys/kernel/random/*",
    "/proc/sys/vm/{overcommit_memory,mmap_min_addr,max_map_count}",
    "/proc/sys/fs/{pipe-max-size,file-max,nr_open}",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/crypto/fips_enabled",
    "/sys/devices/system/{cpu,node}",
    "/sys/devices/system/{cpu,node}/**",
    "/sys/kernel/mm/transparent_hugepage/**",
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/**",
];

/// Rules of the baseline that are for one purpose and give the same rights.
pub(crate) struct Group {
    /// What they are for.
    pub(crate) purpose: &'static str,
    /// What they give.
    pub(crate) rights: Rights,
    /// Patterns, in the syntax of `boundary` documents.
    pub(crate) patterns: &'static [&'static str],
}

/// The groups of a baseline, in the order of its rules; none for none.
pub(crate) fn groups(baseline: Baseline) -> Vec<Group> {
    let read_exec = Rights::READ.and(Rights::EXEC);
    let programs = match baseline {
        Baseline::None => return Vec::new(),
        Baseline::Libraries => Rights::READ,
        Baseline::Programs => read_exec,
    };
    // Content only: nobody makes, removes or re-owns devices and /proc entries.
    let write = Rights(Right::Write.bit());
    let group = |purpose, patterns, rights| Group { purpose, rights, patterns };
    vec![
        group("programs, libraries and their data", PROGRAMS, programs),
        group("shared libraries and the dynamic loader", LIBRARIES, read_exec),
        group("folders that may be listed", FOLDERS, Rights::READ),
        group("configuration, none of it secret", CONFIGURATION, Rights::READ),
        group("devices without memory", DEVICES, Rights::READ.and(write).and(Rights::DEVICE)),
        group("terminals, where a rule has them read or written", TERMINALS, Rights::DEVICE),
        group("a process's own entries", OWN_PROCESS, Rights::READ),
        group("what a process may set about itself", OWN_PROCESS_SETTINGS, write),
        group("facts about the machine", MACHINE, Rights::READ),
    ]
}

/// The rules of a baseline. A rule's place is its number in the list.
pub fn rules(baseline: Baseline) -> Vec<PathRule> {
    let groups = groups(baseline);
    let file: std::sync::Arc<str> = FILE.into();
    let patterns = groups
        .iter()
        .flat_map(|group| group.patterns.iter().map(move |pattern| (pattern, group.rights)));
    (1..)
        .zip(patterns)
        .map(|(line, (pattern, rights))| PathRule {
            pattern: (*pattern).to_owned(),
            syntax: GlobSyntax::Component,
            effect: Effect::Allow,
            rights,
            content: None,
            place: Place { file: file.clone(), line, column: 1 },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rights that the baseline gives for a path.
    fn given(path: &str, baseline: Baseline) -> Rights {
        rules(baseline)
            .iter()
            .filter(|rule| {
                globset::GlobBuilder::new(&rule.pattern)
                    .literal_separator(true)
                    .build()
                    .unwrap()
                    .compile_matcher()
                    .is_match(path)
            })
            .fold(Rights::NONE, |rights, rule| rights.and(rule.rights))
    }

    #[test]
    fn secrets_homes_and_shared_folders_are_not_in_the_baseline() {
        for path in [
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/passwd-",
            "/etc/sudoers",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssl/private/key.pem",
            "/etc/pki/tls/private/key.pem",
            "/etc/machine-id",
            "/etc",
            "/root",
            "/home",
            "/home/a/.ssh/id_ed25519",
            "/proc/1/environ",
            "/proc",
            "/proc/kcore",
            "/dev/sda",
            "/dev/mem",
            "/dev/shm/x",
            "/tmp/x",
            "/opt/x",
            "/var/lib/x",
            "/run/secrets/x",
            "/sys/kernel/security/lsm",
        ] {
            assert_eq!(given(path, Baseline::Programs), Rights::NONE, "{path}");
        }
    }

    #[test]
    fn what_every_program_needs_is_in_the_baseline() {
        let write = Rights(Right::Write.bit());
        let read_exec = Rights::READ.and(Rights::EXEC);
        for (path, rights) in [
            ("/", Rights::READ),
            ("/usr", Rights::READ),
            ("/usr/bin/python3.11", read_exec),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", read_exec),
            ("/lib64/ld-linux-x86-64.so.2", read_exec),
            ("/etc/ld.so.cache", Rights::READ),
            ("/etc/passwd", Rights::READ),
            ("/etc/ssl/certs/ca-certificates.crt", Rights::READ),
            ("/dev/null", Rights::READ.and(write).and(Rights::DEVICE)),
            ("/dev/pts/3", Rights::DEVICE),
            ("/proc/self/maps", Rights::READ),
            ("/proc/self/fd", Rights::READ),
            ("/proc/self/comm", Rights::READ.and(write)),
            ("/proc/self/task/77/comm", Rights::READ.and(write)),
            ("/proc/self/mem", Rights::READ),
            ("/sys/fs/cgroup/memory.max", Rights::READ),
        ] {
            assert_eq!(given(path, Baseline::Programs), rights, "{path}");
        }
    }

    #[test]
    fn with_a_list_of_programs_of_its_own_a_document_gets_only_libraries_executed() {
        let read_exec = Rights::READ.and(Rights::EXEC);
        for (path, rights) in [
            ("/usr/bin/curl", Rights::READ),
            ("/bin/sh", Rights::READ),
            ("/usr/sbin/ip", Rights::READ),
            ("/usr/libexec/sudo/sudo", Rights::READ),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", read_exec),
            ("/lib64/ld-linux-x86-64.so.2", read_exec),
        ] {
            assert_eq!(given(path, Baseline::Libraries), rights, "{path}");
        }
    }
}
