//! A virtual machine in QEMU that runs one command.
//!
//! The processor is emulated (TCG): slower than KVM, and the same on every machine. Both emulated
//! processors share one thread: with a thread each, QEMU 7.2 (Debian 12's) runs stale translations
//! of instructions that the kernel patches, and about one boot in thirty ends in `Oops: int3`.
//! Attaching a BPF program patches too. A boot takes as long either way.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    console::{self, Severity},
    guest::Programs,
    image, kernel_modules,
    kernels::{self, Kernel},
    run, system,
};

/// How long a machine may take from its verdict to its end.
const POWER_OFF: Duration = Duration::from_secs(30);

/// A virtual machine, and what to run in it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The kernel series, one of [`kernels::SERIES`].
    pub(crate) series: &'static str,
    /// The kernel's lockdown mode.
    pub(crate) lockdown: Option<&'static str>,
    /// Memory, in QEMU's notation.
    pub(crate) memory: String,
    /// How long it may be silent.
    pub(crate) silence: Duration,
    /// How long it may take altogether.
    pub(crate) limit: Duration,
    /// The programs that it has.
    pub(crate) programs: Programs,
    /// Files of the host, and where they go.
    pub(crate) additions: Vec<(PathBuf, PathBuf)>,
    /// Kernel modules to load.
    pub(crate) modules: Vec<String>,
    /// One processor, whose clock counts instructions: for measurements that repeat.
    pub(crate) counts_instructions: bool,
    /// The kernel's security modules, in order, before `bpf`.
    pub(crate) security_modules: &'static str,
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
}

impl Machine {
    /// A machine with the usual settings.
    pub(crate) fn new(series: &'static str, command: Vec<OsString>) -> Self {
        Self {
            series,
            lockdown: None,
            memory: "1G".into(),
            silence: Duration::from_secs(120),
            limit: Duration::from_secs(3600),
            programs: Programs::Basic,
            additions: Vec::new(),
            modules: Vec::new(),
            counts_instructions: false,
            security_modules: "lockdown,capability,landlock,yama",
            command,
        }
    }

    /// Its kernel, and its lockdown mode if it has one. Machines that run at a time differ in it.
    pub(crate) fn name(&self) -> String {
        match (self.lockdown, self.programs) {
            (Some(mode), _) => format!("{}-{mode}", self.series),
            (None, Programs::Full) => format!("{}-programs", self.series),
            (None, Programs::System) => format!("{}-system", self.series),
            (None, _) => self.series.to_owned(),
        }
    }

    /// Boots, runs the command and gives its exit code; `output` gets what it prints, as it does.
    ///
    /// # Errors
    /// When there is no verdict that can be relied on: the kernel complained, the machine was
    /// silent for too long, or it ended before the command did.
    pub(crate) fn boot(&self, output: &mut dyn FnMut(&[u8])) -> Result<u8> {
        let Some(kernel) = kernels::fetch(&[self.series])?.pop() else {
            bail!("there is no kernel {}", self.series);
        };
        let files = Files::new(&self.name())?;
        let nonce = nonce()?;
        let is_system = self.programs == Programs::System;
        let disk = if is_system { Some(system::disk()?) } else { None };
        let mut modules: Vec<String> = Vec::new();
        if is_system {
            modules.extend(system::MODULES.iter().map(|&module| module.to_owned()));
        }
        modules.extend(self.modules.iter().cloned());
        let modules = kernel_modules::resolve(&kernel.modules, &modules)?;
        let contents = image::Contents {
            programs: self.programs,
            additions: &self.additions,
            modules: &modules,
            command: &self.command,
            nonce: &nonce,
        };
        image::write(&files.initramfs, &contents)?;
        let child = self.qemu(&kernel, &files, disk.as_deref())?;
        let ended = self.watch(child, &files, output)?;

        let console = read(&files.console);
        judge(&ended, &console, &read(&files.verdict), &nonce).map_err(|reason| {
            anyhow!(
                "the virtual machine {}: {reason}\n  from its kernel's messages, {}:\n{}",
                self.name(),
                files.finished_console.display(),
                console::excerpt(&console, 30)
            )
        })
    }

    fn qemu(&self, kernel: &Kernel, files: &Files, disk: Option<&Path>) -> Result<Child> {
        let qemu = run::find_program("qemu-system-x86_64").context(
            "qemu-system-x86_64 is not installed; `cargo xtask setup` installs qemu-system-x86",
        )?;
        // An oops stops the machine at once. Warnings are shown: they count.
        let mut parameters = format!(
            "console=ttyS0 8250.nr_uarts=4 loglevel=5 panic=-1 oops=panic no_timer_check lsm={},bpf",
            self.security_modules
        );
        if let Some(mode) = self.lockdown {
            parameters.push_str(" lockdown=");
            parameters.push_str(mode);
        }
        let processors: &[&str] = match self.counts_instructions {
            true => &["-accel", "tcg", "-icount", "shift=0,sleep=off", "-smp", "1"],
            false => &["-accel", "tcg,thread=single", "-smp", "2"],
        };
        // setpriv: should this program be killed, QEMU dies with it.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(qemu)
            .args(processors)
            // Without the strings of bytes that kernels copy and clear memory by where they are fast:
            // the emulator goes byte by byte.
            .args(["-cpu", "max,-erms,-fsrm"])
            .args(["-m", &self.memory, "-no-reboot", "-nodefaults", "-display", "none"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&files.initramfs)
            .args(["-append", &parameters])
            .arg("-serial")
            .arg(format!("file:{}", files.console.display()))
            .args(["-serial", "stdio"])
            .arg("-serial")
            .arg(format!("file:{}", files.verdict.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(disk) = disk {
            // What the guest writes goes to a file without a name, which is gone with QEMU.
            command
                .arg("-drive")
                .arg(format!("if=virtio,format=raw,snapshot=on,file={}", disk.display()))
                .env("TMPDIR", run::store("vm"));
        }
        command.spawn().with_context(|| format!("cannot start `{}`", run::line(&command)))
    }

    /// Passes on what the machine prints, until it ends or has to be ended.
    fn watch(&self, child: Child, files: &Files, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        let mut child = Killed(child);
        let mut stdout = child.0.stdout.take().context("QEMU has no output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });

        let start = Instant::now();
        let (mut heard, mut console_size) = (start, 0);
        let mut verdict: Option<Instant> = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(200)) {
                Ok(bytes) => {
                    heard = Instant::now();
                    output(&bytes);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // QEMU closed its output: it has ended.
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.0.wait()?;
                    return Ok(if status.success() {
                        Ended::Itself
                    } else {
                        Ended::Qemu(status.to_string())
                    });
                }
            }
            let size = fs::metadata(&files.console).map_or(0, |metadata| metadata.len());
            if size != console_size {
                (heard, console_size) = (Instant::now(), size);
            }
            if verdict.is_none() && read(&files.verdict).ends_with('\n') {
                verdict = Some(Instant::now());
            }
            if let Some(since) = verdict {
                if since.elapsed() > POWER_OFF {
                    return Ok(Ended::StillOn);
                }
            } else if heard.elapsed() > self.silence {
                return Ok(Ended::Silent(self.silence));
            } else if start.elapsed() > self.limit {
                return Ok(Ended::TooLong(self.limit));
            }
        }
    }
}

/// How a machine came to its end.
#[derive(Debug)]
enum Ended {
    Itself,
    Qemu(String),
    Silent(Duration),
    TooLong(Duration),
    StillOn,
}

fn judge(ended: &Ended, console: &str, verdict: &str, nonce: &str) -> Result<u8> {
    let complaint = console::complaint(console);
    if let Some(found) = &complaint
        && found.severity == Severity::Crash
    {
        bail!("the kernel crashed: {}", found.line);
    }
    match ended {
        Ended::Itself => {}
        Ended::Qemu(status) => bail!("QEMU failed ({status})"),
        Ended::Silent(time) => bail!("it was silent for {} s and was ended", time.as_secs()),
        Ended::TooLong(time) => bail!("it was not done after {} s and was ended", time.as_secs()),
        Ended::StillOn => bail!("it gave its verdict and did not power off"),
    }
    let code = console::verdict(verdict, nonce).map_err(anyhow::Error::msg)?;
    if let Some(found) = complaint {
        bail!("the command exited with {code}, but the kernel warned: {}", found.line);
    }
    Ok(code)
}

/// Kills the child when it goes out of scope, and waits for it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It fails when the child has ended: nothing to do then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The files of one boot. Their names hold our process id: several may run at a time.
struct Files {
    initramfs: PathBuf,
    console: PathBuf,
    verdict: PathBuf,
    /// Where the messages are found afterwards.
    finished_console: PathBuf,
}

impl Files {
    fn new(machine: &str) -> Result<Self> {
        let directory = run::store("vm").join(machine);
        fs::create_dir_all(&directory)?;
        remove_leftovers(&directory);
        let file = |name: &str| directory.join(format!("{}.{name}", std::process::id()));
        let files = Self {
            initramfs: file("initramfs"),
            console: file("console"),
            verdict: file("verdict"),
            finished_console: directory.join("console.log"),
        };
        // QEMU appends to what is there.
        for path in [&files.console, &files.verdict] {
            fs::write(path, "")?;
        }
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.initramfs);
        let _ = fs::remove_file(&self.verdict);
        let _ = fs::rename(&self.console, &self.finished_console);
    }
}

/// Removes what an xtask left here that was killed.
fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_string_lossy().split('.').next().and_then(|id| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
