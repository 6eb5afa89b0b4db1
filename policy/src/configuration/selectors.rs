//! What selects the processes of a scope, and the table by which the kernel finds a scope.

mod check;
mod table;

use std::collections::{BTreeMap, HashMap};

use super::{
    Configuration,
    keys::{PodKeys, ScopeKeys, SelectorKeys},
};
use crate::{
    boundary::Place,
    diagnostic::{code, quoted},
    document::{Span, Spanned},
    lowering::Lowering,
    model::{Field, items, value},
};

pub use table::{NO_SCOPE, OF_A_POD, Tables, compile};

/// What selects processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// What it looks at, and what it looks for.
    pub subject: Subject,
    /// Where that stands.
    pub place: Place,
}

/// What a selector looks at, and what it looks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The path of the control group: a glob.
    Cgroup(String),
    /// The name of the systemd unit: a glob.
    Unit(String),
    /// The path of the program that is executed: a glob.
    Exe(String),
    /// The pod that the container belongs to.
    Pod(PodSelector),
}

/// Which pods are selected: all that is given must hold, and something is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodSelector {
    /// The pod's namespace: a glob without slashes.
    pub namespace: Option<String>,
    /// Labels that it must have, with these values.
    pub labels: BTreeMap<String, String>,
    /// The container's name in the pod: a glob without slashes.
    pub container: Option<String>,
}

/// A glob that selects a scope. `*` and `?` stay inside a component, `**` crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The glob, over absolute paths.
    pub text: String,
    /// Index of the scope in [`Configuration::scopes`].
    pub scope: u32,
    /// Where it stands.
    pub place: Place,
}

impl Subject {
    /// The glob over the paths of control groups that this is, where it is one. A unit may be in
    /// any slice, and in none.
    fn cgroups(&self) -> Option<String> {
        match self {
            Self::Cgroup(glob) => Some(glob.clone()),
            Self::Unit(glob) => Some(format!("/**/{glob}")),
            Self::Exe(_) | Self::Pod(_) => None,
        }
    }

    /// The glob over the paths of programs that this is, where it is one.
    fn programs(&self) -> Option<String> {
        if let Self::Exe(glob) = self { Some(glob.clone()) } else { None }
    }
}

impl Configuration {
    /// The globs over the paths of control groups, in the order of the file: the first that
    /// matches decides.
    pub fn cgroup_globs(&self) -> Vec<Glob> {
        self.globs(Subject::cgroups)
    }

    /// The globs over the paths of programs, likewise.
    pub fn program_globs(&self) -> Vec<Glob> {
        self.globs(Subject::programs)
    }

    /// Index of the first scope that selects pods; where none does and pods choose policies by
    /// themselves, the number of scopes.
    fn first_of_pods(&self) -> Option<u32> {
        let selects = |scope: &super::Scope| {
            scope.selectors.iter().any(|one| matches!(one.subject, Subject::Pod(_)))
        };
        let first = (0..).zip(&self.scopes).find(|(_, scope)| selects(scope));
        let chooses = self.pods.as_ref().is_some_and(|pods| pods.policies.is_some());
        let all = || u32::try_from(self.scopes.len()).ok().filter(|_| chooses);
        first.map(|(index, _)| index).or_else(all)
    }

    fn globs(&self, text: impl Fn(&Subject) -> Option<String>) -> Vec<Glob> {
        let of_scope = |(scope, selectors): (u32, &Vec<Selector>)| {
            let globs = selectors.iter().filter_map(|selector| {
                let text = text(&selector.subject)?;
                Some(Glob { text, scope, place: selector.place.clone() })
            });
            globs.collect::<Vec<_>>()
        };
        (0..).zip(self.scopes.iter().map(|scope| &scope.selectors)).flat_map(of_scope).collect()
    }
}

/// Selectors of one configuration: more than anybody writes, and few enough to be checked at once.
const MAX_SELECTORS: usize = 16 << 10;

/// The selectors of a configuration that have been read so far.
#[derive(Default)]
pub(super) struct Selectors {
    count: usize,
    /// The line on which each first stands, and its scope. Two texts that select the same are one.
    known: HashMap<Subject, (u32, String)>,
}

impl Selectors {
    /// Reads the selectors of the next scope, those without findings.
    pub(super) fn of_scope(
        &mut self,
        scope: &ScopeKeys,
        lowering: &mut Lowering<'_>,
    ) -> Vec<Selector> {
        let name = value(&scope.name).cloned().unwrap_or_default();
        let selectors = items(&scope.selectors).iter();
        let selectors = selectors.filter_map(|selector| self.add(selector, &name, lowering));
        selectors.collect()
    }

    fn add(
        &mut self,
        selector: &Spanned<SelectorKeys>,
        scope: &str,
        lowering: &mut Lowering<'_>,
    ) -> Option<Selector> {
        self.count += 1;
        if self.count > MAX_SELECTORS {
            if self.count == MAX_SELECTORS + 1 {
                let message = format!("more than {MAX_SELECTORS} selectors");
                let help = "select several processes by one glob";
                lowering.error(code::LIMIT, &selector.span, message, help);
            }
            return None;
        }
        let (subject, span) = subject(selector, lowering)?;
        self.warn_of_twin(&subject, span, scope, lowering);
        Some(Selector { subject, place: span.place.clone() })
    }

    /// Warns of a selector that selects what one before it does.
    fn warn_of_twin(
        &mut self,
        subject: &Subject,
        span: &Span,
        scope: &str,
        lowering: &mut Lowering<'_>,
    ) {
        let canonical = subject.cgroups().map_or_else(|| subject.clone(), Subject::Cgroup);
        let Some((line, first)) = self.known.get(&canonical) else {
            self.known.insert(canonical, (span.place.line, scope.to_owned()));
            return;
        };
        let message = match first == scope {
            true => format!("the scope selects this on line {line} already"),
            false => format!("the scope {} selects this already", quoted(first)),
        };
        let help = match first == scope {
            true => "remove one of the two".to_owned(),
            false => format!("the first scope has what several select: see line {line}"),
        };
        lowering.warning(code::SELECTED_ALREADY, span, message, &help);
    }
}

/// What one selector looks at, and where that is written; `None` with a finding.
fn subject<'a>(
    selector: &'a Spanned<SelectorKeys>,
    lowering: &mut Lowering<'_>,
) -> Option<(Subject, &'a Span)> {
    let SelectorKeys { cgroup, unit, exe, pod } = &selector.value;
    let keys = [cgroup.as_ref(), unit.as_ref(), exe.as_ref()].map(|it| it.map(|field| &field.key));
    let keys = keys.into_iter().chain([pod.as_ref().map(|field| &field.key)]).flatten();
    let mut keys = keys.collect::<Vec<_>>();
    keys.sort_by_key(|key| (key.place.line, key.place.column));
    match keys.as_slice() {
        // Where nothing is written, or nothing that is known, there is a finding.
        [] => return None,
        [_] => {}
        [_, second, ..] => {
            let message = "a selector has one of `cgroup`, `unit`, `exe` and `pod`".to_owned();
            let help = "write each as an item of its own, behind a `-`: processes that any of them \
                        selects are governed";
            lowering.error(code::CONFLICT, second, message, help);
            return None;
        }
    }
    let mut text =
        |field: &'a Option<Field<String>>, check: check::Check, make: fn(String) -> Subject| {
            let field = field.as_ref()?;
            let text = field.value.as_ref()?;
            check(&field.span, text, lowering).then(|| (make(text.clone()), &field.span))
        };
    text(cgroup, check::cgroup, Subject::Cgroup)
        .or_else(|| text(unit, check::unit, Subject::Unit))
        .or_else(|| text(exe, check::exe, Subject::Exe))
        .or_else(|| {
            let field = pod.as_ref()?;
            let pods = pods(field, lowering)?;
            Some((Subject::Pod(pods), &field.span))
        })
}

/// Which pods a mapping selects.
fn pods(field: &Field<PodKeys>, lowering: &mut Lowering<'_>) -> Option<PodSelector> {
    let keys = field.value.as_ref()?;
    let mut part = |field: &Option<Field<String>>| {
        let (span, text) = field.as_ref().and_then(|it| Some((&it.span, it.value.as_ref()?)))?;
        check::part(span, text, lowering).then(|| text.clone())
    };
    let (namespace, container) = (part(&keys.namespace), part(&keys.container));
    let labels = value(&keys.labels).into_iter().flatten();
    let labels: BTreeMap<String, String> =
        labels.map(|(key, value)| (key.name.clone(), value.value.clone())).collect();
    // What is left where nothing could be read would select every pod.
    let is_any = namespace.is_some() || container.is_some() || !labels.is_empty();
    is_any.then_some(PodSelector { namespace, labels, container })
}
