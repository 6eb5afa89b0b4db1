//! Which Debian mirrors this machine is configured for.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};

/// One `deb` line's worth of a machine's apt configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where the mirror is.
    pub(crate) uri: String,
    /// The release, as in `bookworm` or `bookworm-security`.
    pub(crate) suite: String,
}

/// The mirrors that this machine is configured for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirrors {
    /// The mirror of Debian's releases.
    pub(crate) main: String,
    /// The mirror of the security updates, when one is configured.
    pub(crate) security: Option<String>,
}

/// Reads `/etc/apt`, or the mirror named by `RINGFENCE_DEBIAN_MIRROR` on a machine that is not
/// Debian's.
pub(crate) fn mirrors_of_this_machine() -> Result<Mirrors> {
    if let Ok(main) = std::env::var("RINGFENCE_DEBIAN_MIRROR") {
        return Ok(Mirrors { main, security: None });
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_list(&text)),
            Some("sources") => sources.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    match mirrors(&sources) {
        Some(mirrors) => Ok(mirrors),
        None => bail!(
            "/etc/apt names no Debian mirror to fetch kernels from; \
             set RINGFENCE_DEBIAN_MIRROR to the address of one"
        ),
    }
}

/// Picks Debian's own mirrors out of everything that a machine follows.
fn mirrors(sources: &[Source]) -> Option<Mirrors> {
    const RELEASES: &[&str] = &[
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "sid",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ];
    let uri_of = |wanted: &dyn Fn(&str, &str) -> bool| {
        let matching = sources.iter().find(|source| {
            let (release, part) = source.suite.split_once('-').unwrap_or((&source.suite, ""));
            RELEASES.contains(&release) && wanted(release, part)
        });
        matching.map(|source| source.uri.clone())
    };
    Some(Mirrors {
        main: uri_of(&|_, part| part.is_empty())
            .or_else(|| uri_of(&|_, part| part == "updates" || part == "backports"))?,
        security: uri_of(&|_, part| part == "security"),
    })
}

/// The old format: `deb [option=value …] URI SUITE COMPONENT…`, one source a line.
fn parse_list(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, after)| after),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            sources.push(Source { uri: uri.into(), suite: suite.into() });
        }
    }
    sources
}

/// The new format: stanzas of `Key: values`, where a line that starts with a blank continues.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    // The empty line at the end closes the last stanza.
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(sources_of_stanza(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            stanza.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn sources_of_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let words = |key: &str| {
        let field = stanza.iter().find(|(name, _)| name == key);
        field.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
    };
    if words("enabled") == ["no"] || !words("types").contains(&"deb") {
        return Vec::new();
    }
    let suites = words("suites");
    let pair = |uri: &&str| {
        let uri = (*uri).to_owned();
        suites
            .iter()
            .map(|suite| Source { uri: uri.clone(), suite: (*suite).into() })
            .collect::<Vec<_>>()
    };
    words("uris").iter().flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str) -> Source {
        Source { uri: uri.into(), suite: suite.into() }
    }

    #[test]
    fn the_old_format_is_read() {
        let d = "http://mirror.test/debian";
        for (text, expected) in [
            ("", vec![]),
            ("# deb http://mirror.test/debian bookworm main", vec![]),
            ("deb-src http://mirror.test/debian bookworm main", vec![]),
            ("deb http://mirror.test/debian bookworm main", vec![source(d, "bookworm")]),
            ("deb\thttp://mirror.test/debian\tsid main # why", vec![source(d, "sid")]),
            (
                "deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.test/debian trixie main",
                vec![source(d, "trixie")],
            ),
            ("deb [broken http://mirror.test/debian trixie main", vec![]),
            ("deb http://mirror.test/debian", vec![]),
        ] {
            assert_eq!(parse_list(text), expected, "{text}");
        }
    }

    #[test]
    fn the_new_format_is_read() {
        let text = "\
# a comment
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
# between two fields
uris: http://mirror.test/security
Suites: bookworm-security

Enabled: no
Types: deb
URIs: http://elsewhere.test
Suites: bookworm

Types: deb-src
URIs: http://source.test
Suites: bookworm";
        let expected = [
            source("http://mirror.test/debian", "bookworm"),
            source("http://mirror.test/debian", "bookworm-updates"),
            source("http://mirror.test/security", "bookworm-security"),
        ];
        assert_eq!(parse_deb822(text), expected);
    }

    #[test]
    fn debians_mirrors_are_told_from_other_peoples() {
        let sources = [
            source("http://other.test", "nodistro"),
            source("http://other.test", "cloud-sdk-bookworm"),
            source("http://d.test/security", "bookworm-security"),
            source("http://d.test/debian", "bookworm"),
        ];
        let both = Mirrors {
            main: "http://d.test/debian".into(),
            security: Some("http://d.test/security".into()),
        };
        assert_eq!(mirrors(&sources), Some(both));
        assert_eq!(mirrors(&sources[..3]), None);
        let main = mirrors(&sources[3..]).unwrap();
        assert_eq!(main.security, None);
    }
}
