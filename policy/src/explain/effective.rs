//! The boundary that documents make together.

use ringfence_common::{Right, egress::Protocol};
use serde::{Serialize, Serializer};

use super::{fields::mode_of, limits, mode_json, part_json, place_json};
use crate::{
    Boundary, Diagnostic, Document, Mode, baseline,
    boundary::{
        Baseline, Budget, Effect, EgressRule, GlobSyntax, ListenRule, PathGroup, PathRule, Place,
        Rights, Target,
    },
    coverage::Part,
    diagnostic::visible,
    lower::right_words,
    path_map,
};

/// Rules of a group of one document that are told; the others are counted.
const MAX_RULES: usize = 200;

/// What documents come to together: an act must be allowed by each that governs it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effective {
    /// Files, programs, programs after the first, anonymous executable memory, destinations,
    /// serving and Unix sockets, in this order.
    pub groups: Vec<Group>,
    /// What every program is given; `None` when no document has it.
    pub baseline: Option<Baselines>,
    /// What holds of [`Effective::always_refused`]: refused, or recorded when every group of every
    /// document is in observe mode.
    #[serde(serialize_with = "mode_json")]
    pub always_mode: Mode,
    /// What a governed process is refused whatever the documents say.
    pub always_refused: &'static [&'static str],
    /// What the documents ask for and this version does not enforce.
    pub unenforced: Vec<Rule>,
    /// What no boundary of this version holds.
    pub outside: &'static [&'static str],
    /// What `path_map` could not map.
    pub findings: Vec<Diagnostic>,
}

/// A part of the boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Which.
    #[serde(serialize_with = "part_json")]
    pub part: Part,
    /// The documents that govern it; when there are none, it is free.
    pub governed_by: Vec<Governed>,
    /// What it means that no document governs it; `None` when one does.
    pub free: Option<&'static str>,
}

/// What one document says about a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Governed {
    /// Where the group's key stands.
    #[serde(serialize_with = "place_json")]
    pub place: Place,
    /// Whether what is not allowed is refused.
    #[serde(serialize_with = "mode_json")]
    pub mode: Mode,
    /// The first 200 rules, with the paths mapped.
    pub rules: Vec<Rule>,
    /// How many rules there are besides.
    pub more: usize,
    /// Whether the baseline's rules are added.
    pub has_baseline: bool,
}

/// A rule in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Where it stands.
    #[serde(serialize_with = "place_json")]
    pub place: Place,
    /// The words; characters that act on a terminal are replaced.
    pub text: String,
}

/// The baseline of documents that govern files or programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Baselines {
    /// The groups of its rules, of the widest baseline that a document has.
    pub groups: Vec<BaselineGroup>,
    /// How much of it each document has.
    pub documents: Vec<BaselineOf>,
    /// Programs that do their work with it, a workspace and a home, and meet no refusal.
    pub measured_with: &'static [&'static str],
}

/// Rules of the baseline for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaselineGroup {
    /// What they are for.
    pub purpose: &'static str,
    /// What they give: `read, execute`.
    pub rights: String,
    /// Patterns in the syntax of `boundary` documents.
    pub patterns: &'static [&'static str],
}

/// How much of the baseline a document has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaselineOf {
    /// The document's file.
    #[serde(serialize_with = "file_json")]
    pub file: std::sync::Arc<str>,
    /// How much.
    pub extent: &'static str,
}

fn file_json<S: Serializer>(file: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file)
}

/// What documents come to together.
pub fn effective(documents: &[Document]) -> Effective {
    let (boundaries, findings) = path_map::boundaries(documents);
    let groups = [
        Part::Files,
        Part::Programs,
        Part::LaterPrograms,
        Part::AnonymousCode,
        Part::Destinations,
        Part::Serving,
        Part::Sockets,
        Part::Budgets,
    ];
    Effective {
        groups: groups.map(|part| group(part, &boundaries)).into(),
        baseline: baselines(&boundaries),
        always_mode: always_mode(&boundaries),
        always_refused: limits::ALWAYS_REFUSED,
        unenforced: documents.iter().flat_map(unenforced).collect(),
        outside: limits::OUTSIDE,
        findings,
    }
}

fn group(part: Part, boundaries: &[Boundary]) -> Group {
    let governed_by: Vec<Governed> =
        boundaries.iter().filter_map(|boundary| governed(part, boundary)).collect();
    let free = governed_by.is_empty().then_some(match part {
        Part::LaterPrograms => "a program may be executed after the first",
        Part::AnonymousCode => "anonymous memory may become executable",
        Part::Rings => "io_urings may be made",
        Part::Programs if boundaries.iter().any(|one| one.no_exec_after_start.is_some()) => {
            "the first program may be any"
        }
        Part::Programs => "every program may be executed",
        Part::Destinations => "every destination is free",
        Part::Serving => "everybody may be served",
        Part::Sockets => "every Unix socket with a path may be connected to",
        Part::Budgets => "nothing is limited",
        Part::Files | Part::Paths | Part::All => "every file is free",
    });
    Group { part, governed_by, free }
}

fn governed(part: Part, boundary: &Boundary) -> Option<Governed> {
    let mode = match part {
        Part::Serving => boundary.serving()?.0,
        Part::Sockets => sockets_group(boundary)?.mode,
        part => mode_of(part, boundary)?,
    };
    let (place, count, rules) = match part {
        Part::Destinations => {
            let egress = boundary.egress.as_ref()?;
            let rules = egress.rules.iter().take(MAX_RULES).map(destination_rule).collect();
            (&egress.place, egress.rules.len(), rules)
        }
        Part::Serving => {
            let listed = || boundary.listen.iter().flat_map(|listen| &listen.rules);
            let rules = listed().take(MAX_RULES).map(listen_rule).collect();
            (boundary.serving()?.1, listed().count(), rules)
        }
        Part::Sockets => {
            let is_of = |rule: &&PathRule| !rule.rights.common(Rights::SOCKET).is_empty();
            let rules = || boundary.path_rules.iter().filter(is_of);
            let files = boundary.path_groups.iter().find(|group| group.rights.has(Right::Write));
            let written = files.map(|group| Rule {
                place: group.place.clone(),
                text: "allow connect: every path whose content may be changed".to_owned(),
            });
            let all = written.into_iter().chain(rules().take(MAX_RULES).map(path_rule));
            (&sockets_group(boundary)?.place, rules().count(), all.collect())
        }
        Part::Budgets => {
            let limits = &boundary.budgets.limits;
            (&limits.first()?.place, limits.len(), limits.iter().map(budget_rule).collect())
        }
        Part::LaterPrograms => (&boundary.no_exec_after_start.as_ref()?.1, 0, Vec::new()),
        Part::AnonymousCode => (&boundary.no_anonymous_code.as_ref()?.1, 0, Vec::new()),
        Part::Rings => (&boundary.io_uring.as_ref()?.place, 0, Vec::new()),
        part => {
            let rights = if part == Part::Programs { Rights::EXEC } else { Rights::ABOUT_FILES };
            let is_of = |rule: &&PathRule| !rule.rights.common(rights).is_empty();
            let rules = || boundary.path_rules.iter().filter(is_of);
            let mut groups = boundary.path_groups.iter();
            let group = groups.find(|group| !group.rights.common(rights).is_empty())?;
            (&group.place, rules().count(), rules().take(MAX_RULES).map(path_rule).collect())
        }
    };
    let has_baseline =
        matches!(part, Part::Files | Part::Programs) && boundary.baseline != Baseline::None;
    let more = count.saturating_sub(MAX_RULES);
    Some(Governed { place: place.clone(), mode, rules, more, has_baseline })
}

/// The group that refuses Unix sockets: one of their own, or that of files.
fn sockets_group(boundary: &Boundary) -> Option<&PathGroup> {
    let groups = || boundary.path_groups.iter();
    let own = groups().find(|group| group.rights.has(Right::Socket));
    own.or_else(|| groups().find(|group| group.rights.has(Right::Write)))
}

/// A process that could leave its boundary makes every other answer worthless: one group in
/// enforce mode is enough.
fn always_mode(boundaries: &[Boundary]) -> Mode {
    let parts = [
        Part::Paths,
        Part::LaterPrograms,
        Part::AnonymousCode,
        Part::Rings,
        Part::Destinations,
        Part::Serving,
        Part::Sockets,
        Part::Budgets,
    ];
    let mut modes =
        boundaries.iter().flat_map(|boundary| parts.map(|part| mode_of(part, boundary))).flatten();
    match modes.next() {
        None | Some(Mode::Enforce) => Mode::Enforce,
        Some(Mode::Observe) if modes.any(|mode| mode == Mode::Enforce) => Mode::Enforce,
        Some(Mode::Observe) => Mode::Observe,
    }
}

fn path_rule(rule: &PathRule) -> Rule {
    let effect = effect_word(rule.effect);
    let rights = rights_in_words(rule.rights);
    let pattern = visible(&rule.pattern);
    let text = match (rule.syntax, rule.content) {
        (_, Some(content)) => format!("{effect} {rights}: {pattern} with {content}"),
        (GlobSyntax::Component, _) => format!("{effect} {rights}: {pattern}"),
        (GlobSyntax::Crossing, _) if rule.pattern.contains(['*', '?']) => {
            format!("{effect} {rights}: {pattern} (`*` and `?` stand for slashes too)")
        }
        (GlobSyntax::Crossing, _) => format!("{effect} {rights}: {pattern}"),
        (GlobSyntax::Prefix, _) => match pattern.strip_suffix("/**").unwrap_or(&pattern) {
            "" => format!("{effect} {rights}: every path"),
            folder => format!("{effect} {rights}: {folder} and all below it"),
        },
    };
    Rule { place: rule.place.clone(), text }
}

fn rights_in_words(rights: Rights) -> String {
    if rights == Rights::SOCKET {
        return "connect".to_owned();
    }
    let files = right_words(rights.common(Rights::ABOUT_FILES));
    match (rights.common(Rights::EXEC).is_empty(), files.as_str()) {
        (true, _) => files,
        (false, "") => "execute".to_owned(),
        (false, files) => format!("{files}, execute"),
    }
}

fn budget_rule(budget: &Budget) -> Rule {
    Rule { place: budget.place.clone(), text: budget.in_words() }
}

fn listen_rule(rule: &ListenRule) -> Rule {
    let protocol = protocol_words(rule.protocol);
    Rule { place: rule.place.clone(), text: format!("serve port {}, {protocol}", rule.port) }
}

const fn protocol_words(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        None => "TCP and UDP",
        Some(Protocol::Tcp) => "TCP",
        Some(Protocol::Udp) => "UDP",
    }
}

const fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

fn destination_rule(rule: &EgressRule) -> Rule {
    let effect = effect_word(rule.effect);
    let target = match &rule.target {
        Target::Host(host) if host.contains('*') => {
            format!("{} (matches no address)", visible(host))
        }
        Target::Host(host) => visible(host),
        Target::Network(network) if network.prefix() == 0 => format!("{network} (every address)"),
        Target::Network(network) => network.to_string(),
    };
    const MAX_PORTS: usize = 16;
    let range = |range: &std::ops::RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let mut ports: Vec<String> = rule.ports.iter().take(MAX_PORTS).map(range).collect();
    if let Some(more) = rule.ports.len().checked_sub(MAX_PORTS).filter(|more| *more > 0) {
        ports.push(format!("and {more} more"));
    }
    let ports = match ports.as_slice() {
        [] => "every port".to_owned(),
        [one] if !one.contains('-') => format!("port {one}"),
        several => format!("ports {}", several.join(", ")),
    };
    let protocol = protocol_words(rule.protocol);
    Rule { place: rule.place.clone(), text: format!("{effect} {target}, {ports}, {protocol}") }
}

/// What a document asks for and this version does not enforce.
fn unenforced(document: &Document) -> Vec<Rule> {
    let told = document.unenforced().iter();
    told.map(|(place, text)| Rule { place: place.clone(), text: visible(text) }).collect()
}

fn baselines(boundaries: &[Boundary]) -> Option<Baselines> {
    let governing: Vec<&Boundary> =
        boundaries.iter().filter(|boundary| !boundary.path_groups.is_empty()).collect();
    let widest = match governing.iter().map(|boundary| boundary.baseline) {
        mut all if all.clone().any(|one| one == Baseline::Programs) => {
            all.find(|one| *one == Baseline::Programs)?
        }
        mut all => all.find(|one| *one != Baseline::None)?,
    };
    let group = |group: baseline::Group| BaselineGroup {
        purpose: group.purpose,
        rights: rights_in_words(group.rights),
        patterns: group.patterns,
    };
    let of = |boundary: &&Boundary| BaselineOf {
        file: boundary.file.clone(),
        extent: extent(boundary, widest),
    };
    Some(Baselines {
        groups: baseline::groups(widest).into_iter().map(group).collect(),
        documents: governing.iter().map(of).collect(),
        measured_with: baseline::MEASURED_WITH,
    })
}

fn extent(boundary: &Boundary, widest: Baseline) -> &'static str {
    match (boundary.baseline, mode_of(Part::Programs, boundary)) {
        (Baseline::None, _) => "has none of it",
        (_, None) => "has all of it, and does not govern programs",
        (one, Some(_)) if one == widest => "has all of it",
        (_, Some(_)) => "has all of it, but executes libraries only",
    }
}
