//! Selectors to the table by which the kernel finds the scope of a control group or a program: an
//! image of the same form as a policy's, for the same walk.

use std::sync::Arc;

use ringfence_common::{
    Right, Verdict,
    files::{Walker, cell},
};

use super::Glob;
use crate::{
    Boundary, Diagnostic, Mode,
    boundary::{Baseline, Effect, GlobSyntax, PathGroup, PathRule, Rights},
    compile::{self, CompileError, Problem},
    configuration::Configuration,
    diagnostic::code,
    policy_set,
};

/// In [`Tables::scopes`], for a rule that selects no scope.
pub const NO_SCOPE: u32 = u32::MAX;
/// In [`Tables::scopes`], for the containers of pods: a path does not tell which scope they are of.
pub const OF_A_POD: u32 = u32::MAX - 1;

/// What the selectors of a configuration compile to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The bytes that [`ringfence_common::image`] describes. Reading is asked with the path of a
    /// control group, executing with that of a program. Where that is allowed, a scope is
    /// selected, and the rule says which.
    pub image: Vec<u8>,
    /// For each rule number, the index of the scope in [`Configuration::scopes`], [`OF_A_POD`], or
    /// [`NO_SCOPE`].
    pub scopes: Vec<u32>,
    /// The same without the containers of pods, where there are any.
    by_path: Option<Box<Tables>>,
}

impl Tables {
    /// The scope that the path of a control group selects, as far as the path tells. Those above it
    /// are not looked at.
    pub fn of_cgroup(&self, path: &[u8]) -> Option<u32> {
        self.by_path.as_deref().unwrap_or(self).find(path, Right::Read)
    }

    /// The scope that the path of a program selects.
    pub fn of_program(&self, path: &[u8]) -> Option<u32> {
        self.find(path, Right::Exec)
    }

    /// Whether the path of a control group is one that the containers of pods have, and no scope
    /// before the first that selects pods selects it.
    pub fn is_of_a_pod(&self, path: &[u8]) -> bool {
        self.find(path, Right::Read) == Some(OF_A_POD)
    }

    fn find(&self, path: &[u8], right: Right) -> Option<u32> {
        let image = self.image.as_slice();
        let cell = cell(image, Walker::new(image)?.walk(image, path), right)?;
        let scope = *self.scopes.get(cell.rule() as usize)?;
        (cell.verdict() == Verdict::Allow && scope != NO_SCOPE).then_some(scope)
    }
}

/// Control groups that no selector takes, whatever its text: see [`super::check`], which tells who
/// writes one.
const RESERVED: [&str; 6] =
    ["/", "/init.scope", "/ringfence", "/ringfence/**", "/system.slice", "/user.slice"];

/// The control groups of the containers of pods: those that the kubelet's driver for systemd makes,
/// and those of its driver `cgroupfs`. Some are none after all; whoever reads the path tells.
const CONTAINERS: [&str; 2] = ["/**/*kubepods*/**/*pod*.slice/*.scope", "/**/kubepods/**/pod*/*"];
/// CRI-O's monitors of containers, which are beside them and are not theirs.
const MONITORS: &str = "/**/crio-conmon-*";

/// Compiles the selectors of control groups, units and programs, and where containers of pods are
/// governed, what they are known by. The first in the file that matches a path is the rule that is
/// named.
///
/// # Errors
/// When the table becomes larger than the kernel programs can search, or a glob cannot be read
/// after all. The finding names the selector that crossed the line.
pub fn compile(configuration: &Configuration) -> Result<Tables, Box<Diagnostic>> {
    let by_path = compile_with(configuration, None)?;
    match configuration.first_of_pods() {
        None => Ok(by_path),
        Some(first) => {
            let tables = compile_with(configuration, Some(first))?;
            Ok(Tables { by_path: Some(Box::new(by_path)), ..tables })
        }
    }
}

/// The table, with containers of pods before the selectors of the scopes from `pods` on.
fn compile_with(
    configuration: &Configuration,
    pods: Option<u32>,
) -> Result<Tables, Box<Diagnostic>> {
    let start = configuration.source.place(1, 1);
    let of_paths = |text: &str, scope, effect| {
        let glob = Glob { text: text.to_owned(), scope, place: start.clone() };
        (scope, PathRule { effect, ..rule(glob, Rights::READ) })
    };
    let none = |text: &str| of_paths(text, NO_SCOPE, Effect::Deny);
    let numbered = |glob: Glob, rights| (glob.scope, rule(glob, rights));
    let programs = configuration.program_globs().into_iter();
    let globs = configuration.cgroup_globs();
    let (before, after): (Vec<Glob>, Vec<Glob>) =
        globs.into_iter().partition(|glob| pods.is_none_or(|first| glob.scope < first));
    let containers = pods.into_iter().flat_map(|_| {
        let containers = CONTAINERS.map(|text| of_paths(text, OF_A_POD, Effect::Allow));
        [none(MONITORS)].into_iter().chain(containers)
    });
    let rules = RESERVED.into_iter().map(none);
    let rules = rules.chain(before.into_iter().map(|glob| numbered(glob, Rights::READ)));
    let rules = rules.chain(containers);
    let rules = rules.chain(after.into_iter().map(|glob| numbered(glob, Rights::READ)));
    let rules = rules.chain(programs.map(|glob| numbered(glob, Rights::EXEC)));
    let (mut scopes, path_rules): (Vec<u32>, Vec<PathRule>) = rules.unzip();
    // Number 0 is no rule, and number 1 what is answered where no selector matches.
    scopes.splice(0..0, [NO_SCOPE; 2]);
    let rights = Rights::READ.and(Rights::EXEC);
    let group = PathGroup { rights, mode: Mode::Enforce, place: start, is_rule: false };
    let boundary = Boundary {
        path_groups: vec![group],
        path_rules,
        baseline: Baseline::None,
        ..Boundary::new(Arc::clone(&configuration.source.name))
    };
    let tables = compile::compile(&[boundary], &Default::default())
        .map_err(|error| Box::new(finding(configuration, error)))?;
    debug_assert_eq!(tables.rules.len() + 1, scopes.len(), "each selector is one rule");
    Ok(Tables { image: tables.image, scopes, by_path: None })
}

/// The rule that a glob becomes.
fn rule(glob: Glob, rights: Rights) -> PathRule {
    // Whoever may read all below a folder may list the folder, by a rule that is added to one that
    // ends in `/**`. Below a folder, `/**/*` matches the same and is no such rule.
    let pattern = if glob.text.ends_with("/**") { glob.text + "/*" } else { glob.text };
    let (syntax, effect) = (GlobSyntax::Component, Effect::Allow);
    PathRule { pattern, syntax, effect, rights, content: None, place: glob.place }
}

fn finding(configuration: &Configuration, error: CompileError) -> Diagnostic {
    let CompileError { place, problem, .. } = error;
    let (message, help) = match &problem {
        Problem::PathsTooComplex { .. } => (
            "with this selector the table of selectors becomes too complex for the kernel".into(),
            "use fewer `*`, `**` and `?` in the middle of selectors",
        ),
        problem => (problem.to_string(), problem.help()),
    };
    let column = place.column;
    let finding = Diagnostic::error(code::NOT_COMPILED, place, 1, message).with_help(help);
    let finding = finding.with_line_of(&configuration.source.text);
    let length = policy_set::extent(finding.line_text.as_deref().unwrap_or_default(), column);
    Diagnostic { length, ..finding }
}
