//! What `ringfence policy test` can be asked, read from the command line.

mod values;

use clap::{Args, ValueEnum, error::ErrorKind};
use ringfence_common::{Action, Right, egress::Protocol};

pub(super) use values::{AskedPath, Capability, Endpoint, Host, SocketKind, UnixSocket};
use values::{capability, endpoint, path_parser, socket_kind, unix_socket_parser};

/// The question: one, or several of one kind.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Question {
    /// May this file be opened for reading, or this folder listed?
    #[arg(long, visible_alias = "list", value_name = "PATH", value_parser = path_parser())]
    #[arg(help_heading = FILES)]
    read: Vec<AskedPath>,
    /// May the content of this file be changed?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = FILES)]
    write: Vec<AskedPath>,
    /// May this file, folder, device or link be made?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = FILES)]
    create: Vec<AskedPath>,
    /// May this name be removed?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = FILES)]
    delete: Vec<AskedPath>,
    /// May mode, owner, times or attributes of this file be changed?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = FILES)]
    metadata: Vec<AskedPath>,
    /// May this be opened if it is a device node, as far as that alone goes?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = FILES)]
    device: Vec<AskedPath>,
    /// May this name become that name?
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], value_parser = path_parser())]
    #[arg(help_heading = FILES)]
    rename: Vec<AskedPath>,
    /// May this file get a second name, by a hard link?
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], value_parser = path_parser())]
    #[arg(help_heading = FILES)]
    link: Vec<AskedPath>,
    /// May this program be executed, by a program that is governed already?
    #[arg(long, value_name = "PATH", value_parser = path_parser(), help_heading = PROGRAMS)]
    exec: Vec<AskedPath>,
    /// May memory that no file stands behind become executable?
    #[arg(long, help_heading = PROGRAMS)]
    anonymous_code: bool,
    /// May an io_uring be made?
    #[arg(long, help_heading = PROGRAMS)]
    io_uring: bool,
    /// May this host or address be connected to?
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint, help_heading = NETWORK)]
    connect: Vec<Endpoint>,
    /// May this Unix socket of a process outside the scope be connected or sent to?
    #[arg(long, value_name = "PATH|@NAME", value_parser = unix_socket_parser())]
    #[arg(help_heading = NETWORK)]
    connect_unix: Vec<UnixSocket>,
    /// May the addresses of this name be asked for?
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    resolve: Vec<String>,
    /// May others than the scope itself be served on this port?
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(help_heading = NETWORK)]
    listen: Vec<u16>,
    /// May a socket of this kind be made: tcp, udp, unix, raw, packet, netlink-route, vsock, …?
    #[arg(long, value_name = "KIND", value_parser = socket_kind(), help_heading = NETWORK)]
    socket: Vec<SocketKind>,
    /// May this capability be used, as `net_admin` or `CAP_NET_ADMIN`?
    #[arg(long, value_name = "NAME", value_parser = capability, help_heading = BOUNDARY)]
    capability: Vec<Capability>,
    /// May something be mounted or unmounted, or the root changed?
    #[arg(long, help_heading = BOUNDARY)]
    mount: bool,
    /// May a user namespace be made?
    #[arg(long, help_heading = BOUNDARY)]
    namespace: bool,
    /// May the `bpf` system call be used?
    #[arg(long, help_heading = BOUNDARY)]
    bpf: bool,
    /// May input be typed into a terminal for others to read?
    #[arg(long, help_heading = BOUNDARY)]
    terminal: bool,
    /// May a key be made, or a keyring be read or changed?
    #[arg(long, help_heading = BOUNDARY)]
    key: bool,
    /// May a module be loaded, another kernel be prepared, or the kernel's log be read?
    #[arg(long, help_heading = BOUNDARY)]
    kernel: bool,
    /// May a process inside or outside the scope be signalled, limited or rescheduled?
    #[arg(long, value_name = "WHERE", value_enum, help_heading = BOUNDARY)]
    signal: Vec<Whereabouts>,
    /// May a process inside or outside the scope be traced, or its memory read?
    #[arg(long, value_name = "WHERE", value_enum, help_heading = BOUNDARY)]
    ptrace: Vec<Whereabouts>,
}

const FILES: &str = "About files and names";
const PROGRAMS: &str = "About programs";
const NETWORK: &str = "About the network";
const BOUNDARY: &str = "About the boundary itself, and other processes";

/// What the answer depends on besides.
#[derive(Debug, Default, Args)]
pub(crate) struct Circumstances {
    /// What is renamed, or what it trades places with, is a folder.
    #[arg(long, help_heading = FILES)]
    folder: bool,
    /// Something stands at the new name already, and is replaced.
    #[arg(long, help_heading = FILES)]
    replaces: bool,
    /// The two names trade places.
    #[arg(long, help_heading = FILES)]
    exchange: bool,
    /// The program is the first of the scope, which `ringfence run` was given.
    #[arg(long, help_heading = PROGRAMS)]
    first: bool,
    /// Ask about UDP instead of TCP.
    #[arg(long, help_heading = NETWORK)]
    udp: bool,
}

/// Where a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Whereabouts {
    /// In the same scope.
    Inside,
    /// Anywhere else.
    Outside,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A right over a path.
    Path(Action, Right, AskedPath),
    /// Executing a program that is the first of the scope.
    FirstProgram(AskedPath),
    /// Making anonymous memory executable.
    AnonymousCode,
    /// Making an io_uring.
    Ring,
    /// Moving a name.
    Rename { old: AskedPath, new: AskedPath, is_folder: bool, replaces: bool, exchanges: bool },
    /// A second name.
    Link { old: AskedPath, new: AskedPath },
    /// Connecting, or sending.
    Connect(Endpoint, Protocol),
    /// Connecting or sending to a Unix socket.
    ConnectUnix(UnixSocket),
    /// Looking a name up.
    Resolve(String),
    /// Serving others on a port.
    Listen(u16, Protocol),
    /// Making a socket.
    Socket(SocketKind),
    /// Using a capability.
    Capability(Capability),
    /// What is refused to every governed process.
    Boundary(Action),
    /// An act upon a process.
    Process(Action, Whereabouts),
}

impl Question {
    /// The questions, in the order in which they were asked.
    ///
    /// # Errors
    ///
    /// When the circumstances belong to another question.
    pub(super) fn asks(&self, how: &Circumstances) -> Result<Vec<Ask>, clap::Error> {
        self.check(how)?;
        let mut asks = Vec::new();
        for (paths, action, right) in [
            (&self.read, Action::Read, Right::Read),
            (&self.write, Action::Write, Right::Write),
            (&self.create, Action::Create, Right::Create),
            (&self.delete, Action::Delete, Right::Delete),
            (&self.metadata, Action::Metadata, Right::Metadata),
            (&self.device, Action::Read, Right::Device),
            (&self.exec, Action::Exec, Right::Exec),
        ] {
            asks.extend(paths.iter().map(|path| match action {
                Action::Exec if how.first => Ask::FirstProgram(path.clone()),
                action => Ask::Path(action, right, path.clone()),
            }));
        }
        asks.extend(self.anonymous_code.then_some(Ask::AnonymousCode));
        asks.extend(self.io_uring.then_some(Ask::Ring));
        asks.extend(pairs(&self.rename).map(|(old, new)| Ask::Rename {
            old,
            new,
            is_folder: how.folder,
            replaces: how.replaces,
            exchanges: how.exchange,
        }));
        asks.extend(pairs(&self.link).map(|(old, new)| Ask::Link { old, new }));
        let protocol = if how.udp { Protocol::Udp } else { Protocol::Tcp };
        asks.extend(self.connect.iter().map(|to| Ask::Connect(to.clone(), protocol)));
        asks.extend(self.connect_unix.iter().cloned().map(Ask::ConnectUnix));
        asks.extend(self.resolve.iter().cloned().map(Ask::Resolve));
        asks.extend(self.listen.iter().map(|port| Ask::Listen(*port, protocol)));
        asks.extend(self.socket.iter().copied().map(Ask::Socket));
        asks.extend(self.capability.iter().copied().map(Ask::Capability));
        for (is_asked, action) in [
            (self.mount, Action::Mount),
            (self.namespace, Action::Namespace),
            (self.bpf, Action::Bpf),
            (self.terminal, Action::Terminal),
            (self.key, Action::Key),
            (self.kernel, Action::Kernel),
        ] {
            asks.extend(is_asked.then_some(Ask::Boundary(action)));
        }
        for (whom, action) in [(&self.signal, Action::Signal), (&self.ptrace, Action::Ptrace)] {
            asks.extend(whom.iter().map(|whom| Ask::Process(action, *whom)));
        }
        Ok(asks)
    }

    /// clap's own `requires` is silent when what is required conflicts with what was asked.
    fn check(&self, how: &Circumstances) -> Result<(), clap::Error> {
        for (is_given, option, fits, question) in [
            (how.folder, "--folder", !self.rename.is_empty(), "--rename"),
            (how.replaces, "--replaces", !self.rename.is_empty(), "--rename"),
            (how.exchange, "--exchange", !self.rename.is_empty(), "--rename"),
            (how.first, "--first", !self.exec.is_empty(), "--exec"),
            (
                how.udp,
                "--udp",
                !(self.connect.is_empty() && self.listen.is_empty()),
                "--connect and --listen",
            ),
        ] {
            if is_given && !fits {
                let message = format!("{option} belongs to {question}\n");
                return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
            }
        }
        Ok(())
    }
}

/// Old and new names, by twos as the command line has them.
fn pairs(paths: &[AskedPath]) -> impl Iterator<Item = (AskedPath, AskedPath)> {
    let (pairs, _) = paths.as_chunks();
    pairs.iter().map(|[old, new]| (old.clone(), new.clone()))
}

#[cfg(test)]
mod tests;
