//! What the agent does: real programs, in a shell.

/// Where the agent works and what is around it.
pub(crate) const ROOM: &str = "/tmp/ringfence-demo";
/// The port that the policy lists.
pub(crate) const LISTED: u16 = 8080;
/// A port that it does not.
pub(crate) const UNLISTED: u16 = 8443;

/// One thing that the agent does.
#[derive(Debug)]
pub(crate) struct Act {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// A line for the shell, in the agent's folder. `CLIENT` stands for a small program that
    /// connects or sends.
    pub(crate) command: &'static str,
    /// Whether the policy means it to work.
    pub(crate) is_allowed: bool,
    /// What tells its event from others: an action, and a part of the object.
    pub(crate) event: (&'static str, &'static str),
    /// Skipped where this program is not installed.
    pub(crate) needs: Option<&'static str>,
}

const fn allowed(name: &'static str, command: &'static str) -> Act {
    Act { name, command, is_allowed: true, event: ("", ""), needs: None }
}

const fn refused(
    name: &'static str,
    command: &'static str,
    event: (&'static str, &'static str),
) -> Act {
    Act { name, command, is_allowed: false, event, needs: None }
}

const PYTHON: &str = "python3 -c 'print(sum(map(int, open(\"numbers\"))), file=open(\"sum\", \"w\"))' \
                      && grep -q 10 sum";

/// In the order in which they are done.
pub(crate) const ACTS: &[Act] = &[
    allowed("write a file and read it back", "printf '1\\n2\\n3\\n4\\n' > numbers && cat numbers"),
    Act { needs: Some("python3"), ..allowed("add its numbers up with Python", PYTHON) },
    allowed("copy it, rename it, make a folder", "cp numbers n && mkdir -p d && mv n d/n && ls d"),
    allowed("talk to the listed service (TCP)", "CLIENT tcp 127.0.0.1 8080"),
    refused("read /etc/shadow", "cat /etc/shadow", ("read", "/etc/shadow")),
    refused("read a private key", "cat ../home/.ssh/id_ed25519", ("read", "/id_ed25519")),
    refused("write outside of its folder", "echo x > ../outside/new", ("create", "/outside/new")),
    refused("change a file outside", "echo x >> ../outside/notes", ("write", "/outside/notes")),
    refused(
        "reach it through a symbolic link",
        "ln -sf ../outside/notes link && cat link",
        ("read", "/outside/notes"),
    ),
    refused("reach it through a hard link", "ln ../outside/notes hard", ("link", "/outside/notes")),
    refused("move a file out", "mv numbers ../outside/taken", ("rename", "/outside/taken")),
    refused("run a program that it downloaded", "./downloaded", ("exec", "/work/downloaded")),
    refused(
        "connect to an unlisted port, IPv4",
        "CLIENT tcp 127.0.0.1 8443",
        ("connect", "127.0.0.1"),
    ),
    refused("connect to an unlisted port, IPv6", "CLIENT tcp ::1 8443", ("connect", "::1")),
    refused(
        "the same, IPv4 in IPv6's clothes",
        "CLIENT tcp ::ffff:127.0.0.1 8443",
        ("connect", "127.0.0.1"),
    ),
    refused("send a datagram (UDP)", "CLIENT udp 127.0.0.1 8443", ("send", "127.0.0.1")),
];
