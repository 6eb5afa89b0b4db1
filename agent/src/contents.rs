//! Files whose content a policy names: measured before the programs are attached, so that the
//! kernel knows which inodes have it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use ringfence_common::{
    Cell, Verdict,
    content::{ANY_RULE, Key, Pin},
    files::{self, Walker},
};
use ringfence_policy::{boundary::hexadecimal, compile, compile::Tables, diagnostic::visible};
use sha2::{Digest as _, Sha256};

use crate::kernel::inode;

/// How long a file must have been left alone before it is read: a write in the same tick of the
/// kernel's clock would not show in its time of change.
const SETTLED: Duration = Duration::from_secs(1);
/// How often a file that keeps changing is looked at again.
const ROUNDS: u32 = 4;
/// Overlays: what is executed has other numbers than the file that holds the content.
const OVERLAY: i64 = 0x794c_7630;

/// What becomes of a file that has another content than the policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nothing is put in force.
    Refused,
    /// It is not executed, like one that is not there: whoever may replace it could else keep any
    /// other policy from coming into force.
    Left,
}

/// What the kernel is to know of the files that have the content which the policy names.
///
/// # Errors
///
/// When a file has another content, or its content cannot be told, and that is to be refused. What is
/// wrong is told first, each with its rule's place. Where a rule only observes, that is a warning.
pub(crate) fn measure(
    tables: &Tables,
    mismatch: Mismatch,
    tell: &mut dyn FnMut(String),
) -> Result<Vec<(Key, Pin)>> {
    let mut entries: Vec<(Key, Pin)> = Vec::new();
    let mut is_refused = false;
    for pin in &tables.pins {
        let path = visible(&pin.path);
        let place = tables.rule(pin.rule).map(|rule| rule.place.to_string()).unwrap_or_default();
        match measure_one(pin) {
            Ok(Some((key, mut found))) => {
                found.refusal = Cell::new(pin.refusal, pin.rule).0;
                let rule = deciding_rule(tables, pin);
                entries.extend([rule, ANY_RULE].map(|rule| (Key { rule, ..key }, found)));
            }
            Ok(None) => {
                tell(format!(
                    "ringfence: warning: {place}: {path} is not there, and will not be executed"
                ));
            }
            Err(error) => {
                let is_refusal = pin.refusal == Verdict::Deny;
                let severity = if is_refusal { "error" } else { "warning" };
                let outcome = match mismatch {
                    Mismatch::Left if is_refusal => ", and will not be executed",
                    _ => "",
                };
                tell(format!("ringfence: {severity}: {place}: {path}: {error:#}{outcome}"));
                is_refused |= is_refusal && mismatch == Mismatch::Refused;
            }
        }
    }
    if is_refused {
        bail!("the command was not started: a program is not the one that the policy names");
    }
    // Of several rules about one file, the strictest guards it.
    entries.sort_by_key(|(_, pin)| pin.refusal);
    Ok(entries)
}

/// The rule that the tables ask by for the path: of several documents that name its content, one.
fn deciding_rule(tables: &Tables, pin: &compile::Pin) -> u32 {
    let image = &*tables.image;
    let state = Walker::new(image).map(|walker| walker.walk(image, pin.path.as_bytes()));
    state.and_then(|state| files::content_rule(image, state)).unwrap_or(pin.rule)
}

/// What the kernel is to know of a file; `None` when there is none.
fn measure_one(pin: &compile::Pin) -> Result<Option<(Key, Pin)>> {
    let path = Path::new(&pin.path);
    let open =
        File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        open => open?,
    };
    let real = path.canonicalize()?;
    if real != path {
        bail!("is a symbolic link, or reached by one: name the file, {}", real.display());
    }
    if !file.metadata()?.is_file() {
        bail!("is no file");
    }
    if rustix::fs::fstatfs(&file)?.f_type == OVERLAY {
        bail!("is on an overlay, where the content of a program cannot be held to");
    }
    let sealed = inode::verity_digest(&file);
    if let Some(expected) = pin.content.fsverity {
        let found = sealed.as_ref().ok().context("has no fs-verity digest by SHA-256")?;
        compare("the fs-verity digest", &expected, found)?;
    }
    let is_sealed = sealed.is_ok();
    let read = || match pin.content.sha256 {
        Some(expected) => compare("the SHA-256", &expected, &sha256(&file)?),
        None => Ok(()),
    };
    let metadata = if is_sealed {
        read()?;
        file.metadata()?
    } else {
        left_alone(&file, read)?
    };
    let (device, number) = inode::kernel_numbers(&file).context("asking for its kernel numbers")?;
    let found = Pin {
        changed_seconds: metadata.ctime().cast_unsigned(),
        size: metadata.size(),
        changed_nanoseconds: u32::try_from(metadata.ctime_nsec()).context("its time of change")?,
        generation: if is_sealed { inode::generation(&file)? } else { 0 },
        is_sealed: is_sealed.into(),
        refusal: 0,
    };
    Ok(Some((Key { device, rule: ANY_RULE, inode: number, scope: 0, generation: 0 }, found)))
}

fn compare(what: &str, expected: &[u8; 32], found: &[u8; 32]) -> Result<()> {
    if expected != found {
        bail!("has {what} {}, and not {}", hexadecimal(found), hexadecimal(expected));
    }
    Ok(())
}

/// Reads a file that nobody changes meanwhile, nor can have changed unseen.
fn left_alone(file: &File, read: impl Fn() -> Result<()>) -> Result<fs::Metadata> {
    for _ in 0..ROUNDS {
        let before = file.metadata()?;
        if !is_settled(&before)? {
            thread::sleep(SETTLED);
            continue;
        }
        // Who holds it open for writing may write by a mapping, at no time.
        inode::check_no_writers(file)?;
        read()?;
        let after = file.metadata()?;
        let change = |one: &fs::Metadata| (one.ctime(), one.ctime_nsec(), one.size());
        if change(&before) == change(&after) {
            return Ok(after);
        }
    }
    bail!("is being changed")
}

/// Whether the last change is longer ago than [`SETTLED`].
fn is_settled(metadata: &fs::Metadata) -> Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seconds = u64::try_from(metadata.ctime()).context("was changed before 1970")?;
    let changed = Duration::from_secs(seconds);
    Ok(changed + SETTLED + Duration::from_secs(1) <= now)
}

fn sha256(mut file: &File) -> io::Result<[u8; 32]> {
    io::Seek::rewind(&mut file)?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(bytes.get(..length).unwrap_or_default()),
        }
    }
}
