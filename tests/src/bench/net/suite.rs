//! Every case of the acts on the network, one after the other, some times over.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use ringfence_tests::loaded::{self, Runs};

use super::{ACTS, LISTED, MEASUREMENTS, server::ADDRESSES};
use crate::{
    landlock,
    suite::{BENCH, Beside, CGROUP, RINGFENCE, wait_until_detached},
};

/// All acts, in the order in which they are done.
const WORDS: [&str; 10] = [
    "connect",
    "connect-name",
    "call",
    "call-name",
    "datagram",
    "datagram-name",
    "connected",
    "connected-name",
    "message",
    "refused",
];
/// Numbers of rules.
const FEW: usize = 10;
const NETWORKS: usize = 100_000;
const HOSTS: usize = 10_000;
/// Names whose addresses are installed: the resolver looks up 1,000 in a minute.
const NAMES: u32 = 990;
/// How long closed connections are remembered (`TCP_TIMEWAIT_LEN`), and a little: waiting costs
/// nothing here, since the clock goes on at once when nothing is to be done.
const FORGOTTEN: Duration = Duration::from_secs(65);

/// Runs the cases as often as is said; prints the case's name, the act, and the instructions:
/// middle, smallest, largest.
///
/// # Errors
///
/// When a case cannot be run, or comes out otherwise than it should.
pub(crate) fn run(rounds: &str) -> io::Result<()> {
    fs::create_dir_all(CGROUP)?;
    set_up_network()?;
    let policies = [
        ("10 rules", policy("few", 0, FEW)?, 0),
        ("100,000 networks", policy("networks", NETWORKS, 0)?, 0),
        ("10,000 host patterns", policy("hosts", 0, HOSTS)?, 0),
        ("all of these", policy("all", NETWORKS, HOSTS)?, NAMES),
    ];
    let mut server = serve()?;
    // What this left the kernel to do is done before anything counts.
    thread::sleep(Duration::from_secs(5));
    for _ in 0..rounds.parse().map_err(io::Error::other)? {
        alone("nothing", libc::ECONNREFUSED, "")?;
        if landlock::knows_ports() {
            alone("Landlock, 10 rules", libc::EACCES, "10")?;
        }
        let beside = Beside::start(&policies[0].1)?;
        let measured = alone("ringfence, not governed", libc::ECONNREFUSED, "");
        beside.end()?;
        measured?;
        for (name, policy, names) in &policies {
            let mut client = Client::governed(policy)?;
            let mut case = format!("ringfence, {name}");
            if *names > 0 {
                client.ask(*names)?;
                write!(case, ", {} addresses", names * ADDRESSES).map_err(io::Error::other)?;
            }
            client.measure_all(&case)?;
            client.end()?;
            wait_until_detached()?;
        }
    }
    // Rules about names take nothing of a connection, and networks what they take in every hook.
    for (name, policy, _) in &policies[..2] {
        let mut client = Client::governed(policy)?;
        client.count_hooks(name)?;
        client.end()?;
        wait_until_detached()?;
    }
    server.kill()?;
    server.wait().map(drop)
}

/// Addresses of this machine's own, and its name server.
fn set_up_network() -> io::Result<()> {
    for network in ["10.88.0.0/24", "93.184.216.0/24", "10.99.0.0/24"] {
        let mut ip = Command::new("ip");
        ip.args(["route", "add", "local", network, "dev", "lo"]);
        if !ip.status()?.success() {
            return Err(io::Error::other(format!("no route to {network}")));
        }
    }
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
}

/// Writes a boundary document with rules that have nothing to do with the acts, and two that have:
/// its path.
fn policy(name: &str, networks: usize, hosts: usize) -> io::Result<PathBuf> {
    let mut text = format!(
        "boundary: 1\negress:\n  - {{ cidr: \"{LISTED}/32\" }}\n  - {{ host: \"*.example.net\" }}\n"
    );
    for number in 2..networks {
        // Every other network of 256 addresses, so that none joins its neighbour.
        let [_, high, middle, low] = (number as u32 * 2).to_be_bytes();
        text += &format!("  - {{ cidr: \"{}.{middle}.{low}.0/24\" }}\n", 20 + high);
    }
    for number in 2..hosts {
        text += &format!("  - {{ host: \"*.host-{number}.example.org\" }}\n");
    }
    let path = PathBuf::from(format!("/net-{name}.yaml"));
    fs::write(&path, text)?;
    Ok(path)
}

fn serve() -> io::Result<Child> {
    let mut child = Command::new(BENCH).args(["net", "serve"]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        BufReader::new(output).read_line(&mut line)?;
    }
    match line.as_str() {
        "ready\n" => Ok(child),
        _ => Err(io::Error::other("the server did not start")),
    }
}

/// Measures outside of every scope.
fn alone(case: &str, refusal: i32, landlock_rules: &str) -> io::Result<()> {
    let mut command = Command::new(BENCH);
    command.args(["net", "acts", &refusal.to_string()]);
    command.args(landlock_rules.split_terminator(' '));
    // SAFETY: the closure runs between fork and exec of a process with one thread.
    unsafe {
        command.pre_exec(|| fs::write(format!("{CGROUP}/cgroup.procs"), "0"));
    }
    let mut client = Client::start(command)?;
    client.measure_all(case)?;
    client.end()
}

/// A process that does acts, a line at a time.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command) -> io::Result<Self> {
        thread::sleep(FORGOTTEN);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn governed(policy: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(RINGFENCE);
        command.args(["run", "--policy"]).arg(policy).arg("--");
        command.args([BENCH, "net", "acts", &libc::EPERM.to_string()]);
        Self::start(command)
    }

    /// Has it do what a line says; what it answers.
    fn say(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        match self.output.read_line(&mut answer)? {
            0 => Err(io::Error::other(format!("`{line}` came out otherwise"))),
            _ => Ok(answer),
        }
    }

    fn measure_all(&mut self, case: &str) -> io::Result<()> {
        for word in WORDS {
            print!("{case}: {}", self.say(word)?);
        }
        Ok(())
    }

    /// Has it look up names, which opens all of their addresses.
    fn ask(&mut self, names: u32) -> io::Result<()> {
        self.say(&format!("ask {names}")).map(drop)
    }

    /// Prints how often each program runs in an act, times 1000, and what a run takes.
    fn count_hooks(&mut self, case: &str) -> io::Result<()> {
        // Every program runs, and the name is known, before anything counts.
        for word in WORDS {
            self.say(word)?;
        }
        for word in WORDS {
            let before = counted()?;
            fs::write(COUNTING, "1")?;
            let said = self.say(word);
            fs::write(COUNTING, "0")?;
            said?;
            let acts = u64::from(ACTS) * (MEASUREMENTS as u64 + 1);
            for (name, runs) in counted()? {
                let old = before.get(&name).copied().unwrap_or_default();
                let (count, time) = (runs.count - old.count, runs.time - old.time);
                if count >= acts / 10 {
                    println!(
                        "hook {case}, {name}: {word} {} {} 0",
                        count * 1000 / acts,
                        time / count
                    );
                }
            }
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        let Self { mut child, input, output } = self;
        drop((input, output));
        match child.wait()? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(format!("a client ended: {status}"))),
        }
    }
}

/// Where the kernel is told to count what programs do.
const COUNTING: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What every program has done while it was counted.
fn counted() -> io::Result<BTreeMap<String, Runs>> {
    loaded::programs()?.into_iter().map(loaded::runs).collect()
}
