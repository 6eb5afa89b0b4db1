//! Where the events of all scopes go.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context as _, Result};
use ringfence_policy::configuration::Events;

use crate::{audit::Sink, clock};

/// Opens the place that a configuration names.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn open(events: &Events) -> Result<Sink> {
    Ok(match events {
        Events::StandardOutput => Rc::new(RefCell::new(io::stdout())),
        Events::Folder(folder) => Rc::new(RefCell::new(Daily::open(folder)?)),
    })
}

/// A file a day in a folder, which only its owner reads.
struct Daily {
    folder: PathBuf,
    day: String,
    file: BufWriter<File>,
}

impl Daily {
    fn open(folder: &Path) -> Result<Self> {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.with_context(|| folder.display().to_string())?;
        let day = clock::today();
        let file = file(folder, &day)
            .with_context(|| format!("events cannot be written to {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), day, file })
    }
}

fn file(folder: &Path, day: &str) -> io::Result<BufWriter<File>> {
    let path = folder.join(format!("audit-{day}.ndjson"));
    let mut file = File::options().create(true).read(true).append(true).mode(0o600).open(path)?;
    super::log::mend(&mut file)?;
    Ok(BufWriter::new(file))
}

impl Write for Daily {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        // A line is never parted: what is written between two flushes is in one file.
        let today = clock::today();
        if today != self.day {
            self.file = file(&self.folder, &today)?;
            self.day = today;
        }
        Ok(())
    }
}
