//! Who acts on each field of a policy language.

mod page;

pub use page::markdown;

/// Who acts on a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The field says what the document is; nobody acts on it.
    Language,
    /// The fields below it say.
    Fields,
    /// The kernel refuses by it.
    Kernel(Part),
    /// The kernel refuses by one half of it; the text says what is left to the decision service.
    Shared(Part, &'static str),
    /// The decision service of the policy's own product: the kernel does not see what it is about.
    Service,
    /// Nothing is refused by it: it says what is recorded, and how long and where it is kept.
    Record,
    /// Read and checked, and not enforced by this version.
    Unenforced(&'static str),
}

/// A part of the kernel's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reading, writing, creating, deleting and moving files.
    Files,
    /// Which programs may be executed.
    Programs,
    /// Files and programs alike.
    Paths,
    /// Whether a program may be executed after the first.
    LaterPrograms,
    /// Whether anonymous memory may become executable.
    AnonymousCode,
    /// Whether an io_uring may be made.
    Rings,
    /// Which destinations may be reached.
    Destinations,
    /// On which ports others may be served.
    Serving,
    /// Which Unix sockets may be connected to.
    Sockets,
    /// What may be used up.
    Budgets,
    /// Everything that is governed.
    All,
}

/// Hooks that judge files.
const FILES: &[&str] = &[
    "file_open",
    "file_receive",
    "path_mknod",
    "path_mkdir",
    "path_symlink",
    "path_unlink",
    "path_rmdir",
    "path_rename",
    "path_link",
    "path_truncate",
    "path_chmod",
    "path_chown",
    "inode_setattr",
    "inode_setxattr",
    "inode_removexattr",
    "inode_set_acl",
    "inode_remove_acl",
    "inode_file_setattr",
];

/// Hooks that judge programs.
const PROGRAMS: &[&str] = &["bprm_check_security", "mmap_file", "file_mprotect"];

/// Hooks that judge whether an io_uring is made.
const RINGS: &[&str] = &["uring_allowed", "inode_init_security_anon"];

/// Hooks that judge destinations.
const DESTINATIONS: &[&str] = &[
    "socket_create",
    "socket_connect",
    "socket_sendmsg",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "egress",
];

/// Hooks that judge whom a scope serves.
const SERVING: &[&str] = &["socket_listen", "socket_accept", "ingress"];

/// Hooks that judge Unix sockets.
const SOCKETS: &[&str] = &["unix_stream_connect", "unix_may_send", "file_receive"];

/// Hooks that count what is used up, each for a scope with such a budget.
const BUDGETS: &[&str] = &[
    "file_open",
    "file_receive",
    "path_truncate",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "egress",
    "task_alloc",
    "task_free",
    "sched_process_exit",
    "sched_process_free",
    "rw_verify_area",
    "file_permission",
];

impl Part {
    /// Every part.
    pub const ALL: [Self; 11] = [
        Self::Files,
        Self::Programs,
        Self::Paths,
        Self::LaterPrograms,
        Self::AnonymousCode,
        Self::Rings,
        Self::Destinations,
        Self::Serving,
        Self::Sockets,
        Self::Budgets,
        Self::All,
    ];

    /// The parts that it is made of, each with a mode of its own.
    pub const fn parts(self) -> &'static [Self] {
        match self {
            Self::Files => &[Self::Files],
            Self::Programs => &[Self::Programs],
            Self::Paths => &[Self::Files, Self::Programs],
            Self::LaterPrograms => &[Self::LaterPrograms],
            Self::AnonymousCode => &[Self::AnonymousCode],
            Self::Rings => &[Self::Rings],
            Self::Destinations => &[Self::Destinations],
            Self::Serving => &[Self::Serving],
            Self::Sockets => &[Self::Sockets],
            Self::Budgets => &[Self::Budgets],
            Self::All => &[
                Self::Files,
                Self::Programs,
                Self::LaterPrograms,
                Self::AnonymousCode,
                Self::Rings,
                Self::Destinations,
                Self::Serving,
                Self::Sockets,
                Self::Budgets,
            ],
        }
    }

    /// The kernel hooks whose programs judge by it, as `ringfence doctor` names them.
    pub fn hooks(self) -> Vec<&'static str> {
        match self {
            Self::Files => FILES.to_vec(),
            Self::Programs => PROGRAMS.to_vec(),
            Self::Paths => [FILES, PROGRAMS].concat(),
            Self::LaterPrograms => vec!["bprm_check_security"],
            Self::AnonymousCode => vec!["mmap_file", "file_mprotect"],
            Self::Rings => RINGS.to_vec(),
            Self::Destinations => DESTINATIONS.to_vec(),
            Self::Serving => SERVING.to_vec(),
            Self::Sockets => SOCKETS.to_vec(),
            Self::Budgets => BUDGETS.to_vec(),
            Self::All => [FILES, PROGRAMS, RINGS, DESTINATIONS, SERVING, SOCKETS, BUDGETS].concat(),
        }
    }

    /// Whether it is a list of rules, and not one rule by itself.
    pub(crate) const fn has_rules(self) -> bool {
        !matches!(self, Self::LaterPrograms | Self::AnonymousCode | Self::Rings | Self::Budgets)
    }

    /// The word for the part in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Programs => "programs",
            Self::Paths => "paths",
            Self::LaterPrograms => "later_programs",
            Self::AnonymousCode => "anonymous_code",
            Self::Rings => "io_uring",
            Self::Destinations => "destinations",
            Self::Serving => "serving",
            Self::Sockets => "unix_sockets",
            Self::Budgets => "budgets",
            Self::All => "all",
        }
    }

    /// The part in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Programs => "programs",
            Self::Paths => "files and programs",
            Self::LaterPrograms => "programs after the first",
            Self::AnonymousCode => "anonymous executable memory",
            Self::Rings => "io_urings",
            Self::Destinations => "destinations",
            Self::Serving => "serving others",
            Self::Sockets => "Unix sockets",
            Self::Budgets => "budgets",
            Self::All => "everything that is governed",
        }
    }
}

impl Coverage {
    /// Who acts, in a few words.
    pub const fn who(self) -> &'static str {
        match self {
            Self::Language => "the document itself",
            Self::Fields => "see its fields",
            Self::Kernel(_) => "kernel",
            Self::Shared(..) => "kernel and decision service",
            Self::Service => "decision service",
            Self::Record => "recorded only",
            Self::Unenforced(_) => "not enforced by this version",
        }
    }
}

/// The first sentence of a field's documentation, without its full stop.
pub(crate) fn meaning(doc: &str) -> String {
    let text = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.split("Source: ").next().unwrap_or_default().trim_end();
    let first = text.split(". ").next().unwrap_or_default();
    first.trim_end_matches('.').to_owned()
}

/// What a field's documentation names as its source; `None` in our own language.
pub(crate) fn source(doc: &str) -> Option<String> {
    let text = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, source) = text.split_once("Source: ")?;
    Some(source.trim_end_matches('.').to_owned())
}
