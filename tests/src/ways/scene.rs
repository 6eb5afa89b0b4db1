//! What is outside the boundary while the rows of a family are tried: mounts, processes, memory.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    ptr::null_mut,
    thread,
    time::Duration,
};

use ringfence_tests::catalogue::Stage;

use super::{server, stage};
use crate::{
    harness::{Context, Failure, ensure},
    sys,
    visitor::Visitors,
};

/// What is outside the boundary while a family is tried. It goes away with this.
pub(super) struct Scene {
    /// What words in braces stand for.
    words: Vec<(&'static str, String)>,
    victim: Child,
    /// The command inherits it.
    _inherited: File,
    /// Shared memory of root, and of another user.
    segments: [i32; 2],
    cgroup: PathBuf,
    /// Where something is mounted, in order.
    mounts: Vec<PathBuf>,
    /// Who comes to servers.
    visitors: Option<Visitors>,
}

impl Scene {
    /// Makes it.
    pub(super) fn set(context: &Context, stage: Stage) -> Result<Self, Failure> {
        let room = &context.room;
        let elsewhere = room.join("elsewhere");
        fs::create_dir_all(&elsewhere)?;
        fs::write(elsewhere.join("passed"), "something")?;
        server::start(room, &elsewhere)?;
        let inherited = File::open(elsewhere.join("passed"))?;
        // SAFETY: no memory is involved.
        sys::check(unsafe { libc::fcntl(inherited.as_raw_fd(), libc::F_SETFD, 0) })?;
        let segments = [segment_of(0)?, segment_of(1000)?];
        let cgroup = PathBuf::from("/sys/fs/cgroup/rf-test-other");
        fs::create_dir_all(&cgroup)?;
        let victim = Command::new("/bin/sleep").arg("300").spawn()?;
        let mut words = vec![
            ("{victim}", victim.id().to_string()),
            ("{inherited}", inherited.as_raw_fd().to_string()),
            ("{segment}", segments[0].to_string()),
            ("{foreign}", segments[1].to_string()),
            ("{cgroup}", cgroup.display().to_string()),
            ("{long}", "l".repeat(255)),
        ];
        let mut scene = Self {
            words: Vec::new(),
            victim,
            _inherited: inherited,
            segments,
            cgroup,
            mounts: Vec::new(),
            visitors: None,
        };
        words.push(("{stack}", stack_of(scene.victim.id())?.to_string()));
        match stage {
            Stage::Names => {
                words.extend(stage::deep(room)?);
                scene.mount_fat(room)?;
            }
            Stage::Mounts => scene.mount_trees(&room.join("mounts"))?,
            Stage::Control => scene.mount_control(room)?,
            Stage::Sockets => server::start_services(room)?,
            Stage::Network => {
                server::start_passing_listener(room)?;
                scene.visitors = Some(Visitors::invite(room)?);
            }
            Stage::Files | Stage::Programs => {}
        }
        scene.words = words;
        Ok(scene)
    }

    /// An act with its words filled in, but for those of its folder.
    pub(super) fn fill(&self, act: &str) -> String {
        self.words.iter().fold(act.to_owned(), |act, (word, text)| act.replace(word, text))
    }

    fn mount(&mut self, arguments: &[&str], at: PathBuf) -> Result<(), Failure> {
        fs::create_dir_all(&at)?;
        let status = Command::new("mount").args(arguments).arg(&at).status()?;
        ensure(status.success(), || format!("cannot mount {arguments:?} at {}", at.display()))?;
        self.mounts.push(at);
        Ok(())
    }

    /// Trees mounted across the boundary, and overlays whose layers are on its other side.
    fn mount_trees(&mut self, base: &Path) -> Result<(), Failure> {
        stage::files(base)?;
        let text = |name: &str| base.join(name).display().to_string();
        let layers = |others: &str| -> io::Result<String> {
            for name in ["lower", "upper", "workdir"] {
                fs::create_dir_all(base.join(others).join(name))?;
            }
            fs::write(base.join(others).join("lower/file"), "something")?;
            let at = |name| text(&format!("{others}/{name}"));
            Ok(format!(
                "lowerdir={},upperdir={},workdir={}",
                at("lower"),
                at("upper"),
                at("workdir")
            ))
        };
        let (inside, outside) = (layers("out")?, layers("work")?);
        self.mount(&["-t", "overlay", "none", "-o", &inside], base.join("work/merged"))?;
        self.mount(&["-t", "overlay", "none", "-o", &outside], base.join("out/merged"))?;
        self.mount(&["-o", "bind", &text("out/folder")], base.join("work/bound"))?;
        self.mount(&["-o", "bind", &text("work/sub")], base.join("out/bound"))?;
        self.mount(&["-t", "tmpfs", "none"], base.join("out/spare"))?;
        self.mount(&["-t", "tmpfs", "none"], base.join("out/tmpfs"))?;
        Ok(fs::write(base.join("out/tmpfs/secret"), "something")?)
    }

    /// A file system that does not tell upper from lower case, of whose names the kernel has
    /// forgotten how they were written.
    fn mount_fat(&mut self, room: &Path) -> Result<(), Failure> {
        let (image, at) = (room.join("fat.image"), room.join("fat"));
        File::create(&image)?.set_len(1 << 20)?;
        let made = Command::new("mkdosfs").arg(&image).output()?;
        ensure(made.status.success(), || String::from_utf8_lossy(&made.stderr).into_owned())?;
        fs::create_dir_all(&at)?;
        let image = image.display().to_string();
        let mount =
            || Command::new("mount").args(["-t", "vfat", "-o", "loop", &image]).arg(&at).status();
        ensure(mount()?.success(), || "cannot mount a FAT file system".into())?;
        fs::write(at.join("secret"), "something")?;
        ensure(Command::new("umount").arg(&at).status()?.success(), || "it is busy".into())?;
        self.mount(&["-t", "vfat", "-o", "loop", &image], at.clone())
    }

    /// The kernel's own file systems, where no name tells what they are.
    fn mount_control(&mut self, room: &Path) -> Result<(), Failure> {
        for (kind, name) in
            [("proc", "proc"), ("sysfs", "sys"), ("debugfs", "debug"), ("binfmt_misc", "binfmt")]
        {
            self.mount(&["-t", kind, "none"], room.join(name))?;
        }
        // The older kind of cgroups, whose roots have a `release_agent`.
        let options = ["-t", "cgroup", "-o", "none,name=ringfence-test", "none"];
        self.mount(&options, room.join("cgroup1"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.visitors.take());
        for at in self.mounts.iter().rev() {
            // What does not go shows when the folder is removed.
            let _ = Command::new("umount").arg(at).status();
        }
        for segment in self.segments {
            // SAFETY: null asks for no description.
            unsafe { libc::shmctl(segment, libc::IPC_RMID, null_mut()) };
        }
        // It may have ended, and there is nobody to be told.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        // Whoever is still in it is at its end.
        for _ in 0..100 {
            let _ = fs::remove_dir(self.cgroup.join("made"));
            if fs::remove_dir(&self.cgroup).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A segment of shared memory that a user makes, and keeps from others.
fn segment_of(user: i64) -> Result<i32, Failure> {
    // By number: the C library would change all threads.
    let become_user = |user| {
        // SAFETY: no memory is involved.
        unsafe { sys::call(libc::SYS_setresuid, [-1, user, -1, 0, 0, 0]) }
    };
    become_user(user)?;
    // SAFETY: as above.
    let segment = sys::check(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) });
    become_user(0)?;
    Ok(segment? as i32)
}

/// Where a process keeps its stack, which can be read, once it has executed its program.
fn stack_of(process: u32) -> Result<u64, Failure> {
    // A process that was only just started may be between its old memory and its new.
    for _ in 0..200 {
        let name = fs::read_to_string(format!("/proc/{process}/comm"))?;
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let stack = maps.lines().find(|line| line.ends_with("[stack]"));
        let end = stack.and_then(|line| line.split(['-', ' ']).nth(1));
        if let Some(end) = end.and_then(|text| u64::from_str_radix(text, 16).ok())
            && name.trim() == "sleep"
        {
            return Ok(end - 4096);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(Failure::new("a process without a stack"))
}
