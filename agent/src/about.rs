//! What people ask of a scope and no kernel program does: kept in the kernel beside the scope, where
//! it outlives the process that brought the scope into force.

use std::path::{Path, PathBuf};

use ringfence_common::scope::{About, ENFORCES, OBSERVES};
use ringfence_policy::{Boundary, Mode};
use zerocopy::FromZeros as _;

/// Marks where a text was cut.
const CUT: &str = "…";

/// What is to be known of a policy: the files it was read from, what these say, what of that is not
/// enforced, and the hash of the image.
pub(crate) fn of(
    files: &[PathBuf],
    boundaries: &[Boundary],
    missing: &[String],
    policy: [u8; 32],
) -> About {
    let mut about = About {
        policy,
        process: std::process::id(),
        modes: modes(boundaries),
        documents: count(boundaries.len()),
        missing: count(missing.len()),
        ..About::new_zeroed()
    };
    let first =
        files.first().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    let first = first.as_deref().unwrap_or(Path::new("built-in")).to_string_lossy();
    write_end(&mut about.document, &first);
    write_lines(&mut about.pieces, missing.iter().cloned());
    about
}

/// A text as it was written into one of the rooms of [`About`].
pub(crate) fn text(room: &[u8]) -> String {
    let bytes = room.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn modes(boundaries: &[Boundary]) -> u32 {
    let bit = |mode| match mode {
        Mode::Enforce => ENFORCES,
        Mode::Observe => OBSERVES,
    };
    match boundaries.iter().flat_map(Boundary::modes).fold(0, |all, mode| all | bit(mode)) {
        // What holds for every scope is refused in one that has no group.
        0 => ENFORCES,
        modes => modes,
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Writes a text; of one that is too long its end, since a file is known by that.
fn write_end(room: &mut [u8], text: &str) {
    let mut text = text.to_owned();
    if text.len() > room.len() {
        let from = text.ceil_char_boundary(text.len() + CUT.len() - room.len());
        text = format!("{CUT}{}", text.get(from..).unwrap_or_default());
    }
    write(room, &text);
}

/// Writes as many lines as there is room for; of the first, if it is too long, the beginning.
fn write_lines(room: &mut [u8], lines: impl Iterator<Item = String>) {
    let mut all = String::new();
    for line in lines {
        let line = line.replace(['\n', '\0'], " ");
        if all.is_empty() && line.len() > room.len() {
            let end = line.floor_char_boundary(room.len() - CUT.len());
            all = format!("{}{CUT}", line.get(..end).unwrap_or_default());
            break;
        }
        let break_before = if all.is_empty() { "" } else { "\n" };
        if all.len() + break_before.len() + line.len() > room.len() {
            break;
        }
        all.push_str(break_before);
        all.push_str(&line);
    }
    write(room, &all);
}

fn write(room: &mut [u8], text: &str) {
    for (place, byte) in room.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_by_its_end() {
        for (file, kept) in [
            ("/a/b.yaml", "/a/b.yaml"),
            ("/twelve.yaml", "/twelve.yaml"),
            ("/more/than/twelve.yaml", "…elve.yaml"),
            // Cut between characters only.
            ("/more/than/äöüß.yaml", "…üß.yaml"),
            ("", ""),
        ] {
            let mut room = [0; 12];
            write_end(&mut room, file);
            assert_eq!(text(&room), kept, "{file}");
        }
    }

    #[test]
    fn lines_are_kept_as_long_as_there_is_room() {
        for (lines, kept) in [
            (&[][..], ""),
            (&["one", "two"], "one\ntwo"),
            (&["one", "two", "three"], "one\ntwo"),
            (&["a\nb"], "a b"),
            (&["much too long", "two"], "much to…"),
            (&["much täo long"], "much t…"),
        ] {
            let mut room = [0; 10];
            write_lines(&mut room, lines.iter().map(|line| (*line).to_owned()));
            assert_eq!(text(&room), kept, "{lines:?}");
        }
    }

    #[test]
    fn a_scope_has_the_modes_of_its_groups() {
        let modes_of = |text: &str| {
            let source = ringfence_policy::Source::new("test", text);
            modes(&ringfence_policy::PolicySet::read([source], None).boundaries)
        };
        for (text, expected) in [
            ("boundary: 1\n", ENFORCES),
            ("boundary: 1\nfiles: []\n", ENFORCES),
            ("boundary: 1\nmode: observe\nfiles: []\negress: []\n", OBSERVES),
            ("boundary: 1\nfiles: []\negress: { mode: observe, rules: [] }\n", ENFORCES | OBSERVES),
        ] {
            assert_eq!(modes_of(text), expected, "{text}");
        }
    }
}
