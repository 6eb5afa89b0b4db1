//! What the kernel programs are told before they are loaded: where the running kernel keeps the
//! members that they read.
//!
//! The agent fills this from the kernel's BTF. It is read-only data to the programs, so that the
//! verifier treats every field as a constant and removes what it disables.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "This kernel has no such member."
pub const ABSENT: u32 = u32::MAX;

/// Declares [`Layout`] together with the BTF name of each member. Names that kernels had at
/// different times are parted by `|`; with `|` at the end the member may be [`ABSENT`].
macro_rules! layout {
    ($($(#[$meta:meta])* $field:ident = $structure:literal $member:literal,)*) => {
        /// Byte offsets of kernel structure members.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Layout { $($(#[$meta])* #[doc = concat!("`struct ", $structure, "`, `", $member, "`.")] pub $field: u32,)* }

        impl Layout {
            /// A layout in which nothing is known.
            pub const EMPTY: Self = Self { $($field: ABSENT,)* };

            /// Fills every member through `offset(structure, member path)`.
            ///
            /// # Errors
            ///
            /// The first error that `offset` gives.
            pub fn try_from_fn<E>(mut offset: impl FnMut(&str, &str) -> Result<u32, E>) -> Result<Self, E> {
                Ok(Self { $($field: offset($structure, $member)?,)* })
            }
        }
    };
}

layout! {
    file_path = "file" "f_path",
    file_inode = "file" "f_inode",
    file_flags = "file" "f_flags",
    file_mode = "file" "f_mode",
    file_private = "file" "private_data",
    path_mount = "path" "mnt",
    path_dentry = "path" "dentry",
    dentry_parent = "dentry" "d_parent",
    dentry_name = "dentry" "d_name.name",
    dentry_name_length = "dentry" "d_name.len",
    qstr_name = "qstr" "name",
    dentry_inode = "dentry" "d_inode",
    dentry_flags = "dentry" "d_flags",
    dentry_superblock = "dentry" "d_sb",
    vfsmount_root = "vfsmount" "mnt_root",
    vfsmount_superblock = "vfsmount" "mnt_sb",
    mount_vfsmount = "mount" "mnt",
    mount_parent = "mount" "mnt_parent",
    mount_mountpoint = "mount" "mnt_mountpoint",
    mount_namespace = "mount" "mnt_ns",
    superblock_info = "super_block" "s_fs_info",
    procfs_namespace = "proc_fs_info" "pid_ns",
    namespace_level = "pid_namespace" "level",
    task_leader = "task_struct" "group_leader",
    task_pid = "task_struct" "thread_pid",
    pid_numbers = "pid" "numbers",
    number_value = "upid" "nr",
    superblock_magic = "super_block" "s_magic",
    superblock_flags = "super_block" "s_flags",
    superblock_mounts = "super_block" "s_mounts",
    iattr_valid = "iattr" "ia_valid",
    inode_mode = "inode" "i_mode",
    inode_links = "inode" "i_nlink",
    inode_superblock = "inode" "i_sb",
    inode_number = "inode" "i_ino",
    inode_generation = "inode" "i_generation",
    inode_flags = "inode" "i_flags",
    inode_size = "inode" "i_size",
    inode_writers = "inode" "i_writecount",
    inode_changed_seconds = "inode" "i_ctime_sec|__i_ctime.tv_sec|i_ctime.tv_sec",
    inode_changed_nanoseconds = "inode" "i_ctime_nsec|__i_ctime.tv_nsec|i_ctime.tv_nsec",
    superblock_device = "super_block" "s_dev",
    inode_device = "inode" "i_rdev",
    task_nsproxy = "task_struct" "nsproxy",
    task_fs = "task_struct" "fs",
    fs_root = "fs_struct" "root",
    task_storage = "task_struct" "bpf_storage",
    task_cgroups = "task_struct" "cgroups",
    set_cgroup = "css_set" "dfl_cgrp",
    task_real_cred = "task_struct" "real_cred",
    task_cred = "task_struct" "cred",
    cred_capabilities = "cred" "cap_effective",
    cred_namespace = "cred" "user_ns",
    user_namespace_level = "user_namespace" "level",
    task_flags = "task_struct" "flags",
    task_parent = "task_struct" "real_parent",
    task_process = "task_struct" "tgid",
    task_written = "task_struct" "ioac.wchar|",
    nsproxy_mount = "nsproxy" "mnt_ns",
    binprm_file = "linux_binprm" "file",
    vma_file = "vm_area_struct" "vm_file",
    vma_flags = "vm_area_struct" "vm_flags",
    vma_anonymous = "vm_area_struct" "anon_vma",
    backing_path = "backing_file" "user_path|",
    task_mm = "task_struct" "mm",
    mm_program = "mm_struct" "exe_file",
    task_name = "task_struct" "comm",
    task_signal = "task_struct" "signal",
    signal_threads = "signal_struct" "nr_threads",
    cgroup_root = "cgroup" "root",
    root_hierarchy = "cgroup_root" "hierarchy_id",
    socket_sock = "socket" "sk",
    sock_cgroup = "sock" "sk_cgrp_data.cgroup",
    cgroup_level = "cgroup" "level",
    cgroup_ancestors = "cgroup" "ancestors",
    cgroup_node = "cgroup" "kn",
    node_id = "kernfs_node" "id",
    sock_family = "sock_common" "skc_family",
    sock_type = "sock" "sk_type",
    sock_protocol = "sock" "sk_protocol",
    sock_port = "sock_common" "skc_num",
    sock_address_v4 = "sock_common" "skc_rcv_saddr",
    sock_address_v6 = "sock_common" "skc_v6_rcv_saddr|",
    unix_name = "unix_sock" "addr",
    unix_path = "unix_sock" "path",
    unix_peer = "unix_sock" "peer",
    name_length = "unix_address" "len",
    name_bytes = "unix_address" "name",
    msghdr_name = "msghdr" "msg_name",
    msghdr_name_length = "msghdr" "msg_namelen",
    packet_head = "sk_buff" "head",
    packet_end = "sk_buff" "end",
    shared_flags = "skb_shared_info" "flags",
    tcp_written = "tcp_sock" "write_seq",
}

/// Everything the programs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Address of `rename_lock` (`fs/dcache.c`), whose first four bytes count what is renamed.
    pub rename_lock: u64,
    /// Address of `mount_lock` (`fs/namespace.c`), whose first four bytes count what is mounted.
    pub mount_lock: u64,
    /// Bytes that there are for each policy image; what an image does not fill is zero.
    pub image_bytes: u32,
    /// BTF identifier of `struct timespec64`, 16 readable bytes of two 64-bit members; 0 where
    /// the kernel has no `bpf_rdonly_cast` and memory is read by `bpf_probe_read_kernel`.
    pub readable_type: u32,
    /// Where members are.
    pub layout: Layout,
    /// `FMODE_BACKING` (`linux/fs.h`): the file below a file of an overlay; 0 where there is none.
    pub backing_mode: u32,
    /// Offset in `struct mount` of the link to the next mount of the same file system.
    pub next_mount: u32,
    /// What such a link points to, as an offset in that mount: its own link up to Linux 6.17
    /// (`mnt_instance`), the mount itself since (`mnt_next_for_sb`).
    pub next_mount_target: u32,
    /// Which argument of `security_inode_setattr` is the `struct dentry *`: 0 before Linux 6.2.
    pub setattr_dentry: u32,
    /// Fills the structure to a multiple of 8 bytes.
    pub spare: [u32; SPARE],
}

/// Words that [`Settings`] lack to a multiple of 8 bytes: its other words of four
/// bytes are six.
const SPARE: usize = (size_of::<Layout>() / 4 + 6) % 2;

impl Settings {
    /// Words of four bytes in [`Self::spare`].
    pub const SPARE: usize = SPARE;

    /// What the compiled object holds until the agent has filled it in.
    pub const EMPTY: Self = Self {
        rename_lock: 0,
        mount_lock: 0,
        image_bytes: 0,
        readable_type: 0,
        layout: Layout::EMPTY,
        backing_mode: 0,
        next_mount: ABSENT,
        next_mount_target: ABSENT,
        setattr_dentry: 0,
        spare: [0; SPARE],
    };
}

/// Numbers of no kernel helper, which the programs call where they want a kernel function
/// (kfunc); the agent rewrites the call instructions when it knows the function's BTF identifier.
pub mod kfunc {
    /// Stands for `void *bpf_rdonly_cast(const void *, u32)`, since Linux 6.2.
    pub const RDONLY_CAST: u32 = 0x7266_0001;
}
