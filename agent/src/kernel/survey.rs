//! What a set of kernel programs holds, read from what is pinned, whoever loaded it. Nothing is
//! changed, and no lock is taken: what begins or ends meanwhile may be told of in part.

use std::{
    collections::{HashMap, HashSet},
    fs,
    hash::Hash,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{self, MapData},
};
use ringfence_common::{
    budget::{Limits, Used},
    content::{self, MAX_PINS},
    installed::{self, MAX_ENTRIES},
    scope::{MAX_SCOPES, Scope},
};
use rustix::process::Pid;
use zerocopy::FromBytes as _;

use crate::budgets::{self, Budget};

use super::{
    maps::{Maps, inner},
    members,
    programs::counting,
    set::{MAPS, Part, Set, build_and_size},
};

pub(crate) use super::set::THIS_BUILD;

/// A set of kernel programs.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The name of its folder.
    pub(crate) name: String,
    /// What tells its build from others, if the folder's name has it.
    pub(crate) build: Option<String>,
    /// Whether that is the build of this program.
    pub(crate) is_of_this_build: bool,
    /// Bytes that there are for each policy image.
    pub(crate) image_bytes: Option<u64>,
    /// The parts that are loaded as a whole.
    pub(crate) parts: Vec<&'static str>,
    /// Bytes of the maps that its scopes share, where the kernel counts them.
    pub(crate) memory: Option<u64>,
    /// Its scopes, or why they cannot be read.
    pub(crate) places: Result<Vec<Place>>,
}

/// The place of a scope in a set.
#[derive(Debug)]
pub(crate) struct Place {
    /// The scope's number in the set.
    pub(crate) number: u32,
    /// What is written of it.
    pub(crate) scope: Scope,
    /// Its control groups, by identifier.
    pub(crate) groups: Vec<u64>,
    /// Policies that it had before the one in force.
    pub(crate) generation: u32,
    /// Events so far, told or not.
    pub(crate) events: u64,
    /// Events that the kernel had no room for.
    pub(crate) lost: u64,
    /// The processes that have its label.
    pub(crate) labelled: Vec<Pid>,
    /// Entries that it has in the table of opened addresses.
    pub(crate) addresses: usize,
    /// Entries that it has in the table of programs whose content is named.
    pub(crate) contents: usize,
    /// What it may use up, and what of that it has.
    pub(crate) budgets: Option<(Limits, Used)>,
    /// Bytes of the maps of its own, where the kernel counts them.
    pub(crate) memory: Option<u64>,
}

/// Looks at every set in the folder of all sets.
pub(crate) fn all(folder: &Path) -> Vec<Survey> {
    let mut found: Vec<Survey> = Set::all(folder)
        .iter()
        .map(survey)
        // One that was removed meanwhile.
        .filter(|survey| folder.join(&survey.name).exists())
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// What of a set is asked for often: much less than [`all`] tells.
#[derive(Debug)]
pub(crate) struct Glance {
    /// Whether all of its programs are loaded.
    pub(crate) is_loaded: bool,
    /// Its scopes: number and name.
    pub(crate) scopes: Vec<(u32, String)>,
    /// Its control groups: identifier and scope.
    pub(crate) groups: HashMap<u64, u32>,
    /// The budgets of each scope, by number.
    pub(crate) budgets: HashMap<u32, Vec<Budget>>,
}

/// Looks at a set of this build.
///
/// # Errors
///
/// When it is not in the kernel any more.
pub(crate) fn glance(set: &Set) -> Result<Glance> {
    let maps = set.open()?;
    let scopes = maps.scopes()?;
    let (mut shown, mut on) = (HashMap::new(), 0);
    for (number, _) in &scopes {
        if let Some((limits, used)) = budgets::get(&maps, *number) {
            // None of the agent's scopes has a budget of time.
            shown.insert(*number, budgets::listed(&limits, &used, 0));
            on |= limits.on;
        }
    }
    let mut needed = Part::OF_AGENT.into_iter().chain(counting(on));
    let scopes = scopes.into_iter();
    let groups = maps.members()?.into_iter();
    Ok(Glance {
        is_loaded: needed.all(|part| set.folder().join(part.mark()).exists()),
        scopes: scopes.map(|(number, scope)| (number, scope.name().to_owned())).collect(),
        groups: groups.map(|(id, member)| (id, member.scope)).collect(),
        budgets: shown,
    })
}

fn survey(set: &Set) -> Survey {
    let folder = set.folder();
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (build, image_bytes) = build_and_size(&name).unzip();
    let parts = Part::ALL.map(Part::mark).into_iter();
    let counts = counts_memory();
    Survey {
        is_of_this_build: build == Some(THIS_BUILD),
        build: build.map(str::to_owned),
        image_bytes,
        parts: parts.filter(|part| folder.join(part).exists()).collect(),
        // Whatever a map is called in another build, links and programs have other names.
        memory: counts.then(|| {
            let maps = MAPS.iter().filter_map(|map| MapData::from_pin(folder.join(map)).ok());
            maps.filter_map(|map| bytes_of(&map)).sum()
        }),
        places: if set.is_begun() { places(set, counts) } else { Ok(Vec::new()) },
        name,
    }
}

fn places(set: &Set, counts: bool) -> Result<Vec<Place>> {
    let maps = set.open()?;
    let scopes = maps.scopes()?;
    let labelled = members::labelled(&maps)?;
    let addresses = entries(&maps.addresses, MAX_ENTRIES, |key| {
        installed::Key::read_from_bytes(key).map_or(0, |key| key.scope)
    });
    let contents = entries(&maps.contents, MAX_PINS, |key| {
        content::Key::read_from_bytes(key).map_or(0, |key| key.scope)
    });
    let members = maps.members()?;
    let of = |counts: &[usize], number: u32| counts.get(number as usize).copied().unwrap_or(0);
    let place = |(number, scope)| {
        let own = labelled.iter().filter(|(_, other)| *other == number);
        Ok(Place {
            number,
            scope,
            groups: members
                .iter()
                .filter_map(|(id, member)| (member.scope == number).then_some(*id))
                .collect(),
            generation: maps.generation(number)?.unwrap_or(0),
            events: maps.events(number)?,
            lost: maps.lost.get(&number, 0).context("the map of lost events")?,
            labelled: own.map(|(process, _)| *process).collect(),
            addresses: of(&addresses, number),
            contents: of(&contents, number),
            budgets: budgets::get(&maps, number),
            memory: counts.then(|| own_memory(&maps, number)),
        })
    };
    scopes.into_iter().map(place).collect()
}

/// How many entries each scope has in a table, by number.
fn entries<K: Pod + Eq + Hash, V: Pod>(
    table: &maps::HashMap<MapData, K, V>,
    capacity: u32,
    scope_of: impl Fn(&K) -> u32,
) -> Vec<usize> {
    // Who asks for the next key after one that was just removed begins anew.
    let keys: HashSet<K> =
        table.keys().take(2 * capacity as usize).filter_map(Result::ok).collect();
    let mut counts = vec![0; MAX_SCOPES as usize];
    for key in &keys {
        if let Some(count) = counts.get_mut(scope_of(key) as usize) {
            *count += 1;
        }
    }
    counts
}

/// Bytes of the maps that only one scope has: its policy and its ring of events.
fn own_memory(maps: &Maps, number: u32) -> u64 {
    let bytes = |outer: &MapData| bytes_of(&inner(outer, number).ok()??);
    [&maps.images, &maps.rings].into_iter().filter_map(bytes).sum()
}

/// Bytes that the kernel counts for a map.
fn bytes_of(map: &MapData) -> Option<u64> {
    let number = map.fd().as_fd().as_raw_fd();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// Whether the kernel counts what a map takes. Linux before 6.4 tells what it would take when full,
/// which is much more for a table of addresses that is nearly empty.
fn counts_memory() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    is_at_least(&release, (6, 4))
}

fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_set_tells_its_build_and_the_size_of_its_images() {
        for (name, expected) in [
            ("3f0c9e-256k", Some(("3f0c9e", 262_144))),
            ("3f0c9e-1024k", Some(("3f0c9e", 1_048_576))),
            ("doctor-811", None),
            ("doctor-811k", None),
            ("3f0c9e", None),
        ] {
            assert_eq!(build_and_size(name), expected, "{name}");
        }
    }

    #[test]
    fn a_kernel_is_older_by_its_first_two_numbers() {
        for (release, expected) in [
            ("6.1.0-29-amd64", false),
            ("6.3", false),
            ("6.4.0", true),
            ("6.12.9+deb13-amd64", true),
            ("7.0-rc1", true),
            ("5.15.0", false),
            ("unknown", false),
        ] {
            assert_eq!(is_at_least(release, (6, 4)), expected, "{release}");
        }
    }
}
