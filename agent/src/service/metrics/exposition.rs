//! The metrics in Prometheus' text format.

use prometheus::{
    Histogram, HistogramOpts, Opts, Registry, Result, TextEncoder,
    core::{Atomic, AtomicF64, AtomicU64, Collector, GenericCounterVec, GenericGaugeVec},
};

use super::{Outcome, Reloads};
use crate::{audit::Kind, budgets::Budget, kernel::survey};

/// What is told of a scope.
#[derive(Clone, Debug)]
pub(in crate::service) struct Scope {
    /// Its name.
    pub(in crate::service) name: String,
    /// Its number in the set.
    pub(in crate::service) number: u32,
    /// Whether its policy has what is refused, not only recorded.
    pub(in crate::service) enforces: bool,
    /// Whether the kernel has it.
    pub(in crate::service) is_in_force: bool,
    /// What its policy asks for and is not enforced.
    pub(in crate::service) missing: Vec<String>,
    /// The hash of its policy image.
    pub(in crate::service) sha256: String,
    /// Policies that it had before the one in force.
    pub(in crate::service) generation: u32,
    /// Decisions that were told, by action, verdict and reason.
    pub(in crate::service) decisions: Vec<(Kind, u64)>,
    /// Events that were lost, by cause.
    pub(in crate::service) losses: [(&'static str, u64); 4],
    /// How full its tables are.
    pub(in crate::service) tables: Vec<Fill>,
    /// Questions to its resolver by verdict; `None` without one.
    pub(in crate::service) questions: Option<[(&'static str, u64); 3]>,
    /// Processes in its control groups; `None` when not known.
    pub(in crate::service) tasks: Option<usize>,
    /// Its budgets; none when not known.
    pub(in crate::service) budgets: Vec<Budget>,
    /// What its reloads came to.
    pub(in crate::service) reloads: Reloads,
}

/// What is known of pods.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct PodsKnown {
    /// How many are known.
    pub(in crate::service) count: usize,
    /// Whether all of the source have been known once.
    pub(in crate::service) is_ready: bool,
    /// Containers of which it is not known which scope they belong to.
    pub(in crate::service) unidentified: usize,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct Fill {
    table: &'static str,
    entries: u64,
    capacity: u64,
}

impl Fill {
    /// A scope's entries in a table, and how many there is room for.
    pub(in crate::service) fn new(table: &'static str, entries: usize, capacity: u32) -> Self {
        Self { table, entries: entries as u64, capacity: capacity.into() }
    }
}

/// The upper bounds of the histogram in seconds. All name servers together are waited for 4.5
/// seconds.
const BOUNDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// A histogram of how long questions to resolvers take.
pub(super) fn durations() -> Result<Histogram> {
    let options = HistogramOpts::new(
        "ringfence_dns_query_duration_seconds",
        "Time from a DNS question to its answer, of all scopes.",
    );
    Histogram::with_opts(options.buckets(BOUNDS.to_vec()))
}

/// The text. What is not named has no series: so a scope's go when it does.
pub(super) fn text(
    scopes: &[Scope],
    pods: Option<PodsKnown>,
    durations: &Histogram,
) -> Result<String> {
    let families = Families(Registry::new());
    families.gauge(
        ("ringfence_build_info", "The agent's version, and the build of its kernel programs."),
        ["version", "programs"],
        [([env!("CARGO_PKG_VERSION"), survey::THIS_BUILD], 1)],
    )?;
    state(&families, scopes)?;
    if let Some(PodsKnown { count, is_ready, unidentified }) = pods {
        let gauges = [
            ("ringfence_pods", "Pods that are known.", count as u64),
            ("ringfence_pods_ready", "1 once all pods of the source were known.", is_ready.into()),
            (
                "ringfence_containers_unidentified",
                "Containers of which it is not known which scope they belong to.",
                unidentified as u64,
            ),
        ];
        for (name, help, value) in gauges {
            families.gauge((name, help), [], [([], value)])?;
        }
    }
    counts(&families, scopes)?;
    families.0.register(Box::new(durations.clone()))?;
    TextEncoder::new().encode_to_string(&families.0.gather())
}

/// What is in force.
fn state(families: &Families, scopes: &[Scope]) -> Result<()> {
    families.gauge(
        ("ringfence_enforcing", "1 while the kernel refuses what the scope's policy refuses."),
        ["scope"],
        scopes.iter().map(|one| ([one.name.as_str()], (one.is_in_force && one.enforces).into())),
    )?;
    families.gauge(
        ("ringfence_degraded", "1 for each thing that the policy asks for and is not enforced."),
        ["scope", "missing"],
        scopes.iter().flat_map(|one| one.missing.iter().map(|what| ([&one.name, &**what], 1))),
    )?;
    families.gauge(
        ("ringfence_policy_info", "The SHA-256 of the policy image in force; always 1."),
        ["scope", "sha256"],
        scopes.iter().map(|one| ([one.name.as_str(), &one.sha256], 1)),
    )?;
    families.gauge(
        ("ringfence_policy_generation", "Policies that the scope had before the one in force."),
        ["scope"],
        scopes.iter().map(|one| ([one.name.as_str()], one.generation.into())),
    )?;
    families.gauge(
        ("ringfence_scope_tasks", "Processes in the control groups of the scope."),
        ["scope"],
        scopes.iter().filter_map(|one| Some(([one.name.as_str()], one.tasks? as u64))),
    )?;
    let fills = scopes.iter().flat_map(|one| one.tables.iter().map(move |fill| (one, fill)));
    families.gauge(
        ("ringfence_table_entries", "Entries that the scope has in a table of the kernel."),
        ["scope", "table"],
        fills.clone().map(|(one, fill)| ([&*one.name, fill.table], fill.entries)),
    )?;
    families.gauge(
        ("ringfence_table_capacity", "The most entries that there is room for in the table."),
        ["scope", "table"],
        fills.map(|(one, fill)| ([&*one.name, fill.table], fill.capacity)),
    )?;
    let budgets = scopes.iter().flat_map(|one| one.budgets.iter().map(move |budget| (one, budget)));
    families.gauge_of::<AtomicF64, _>(
        ("ringfence_budget_used_ratio", "What is used of a budget of the scope, 1 for all of it."),
        ["scope", "budget"],
        budgets.map(|(one, budget)| ([&*one.name, budget.budget], budget.used_ratio)),
    )
}

/// What has happened.
fn counts(families: &Families, scopes: &[Scope]) -> Result<()> {
    families.counter(
        ("ringfence_decisions_total", "Decisions that were recorded."),
        ["scope", "action", "verdict", "reason"],
        scopes.iter().flat_map(|one| {
            let decisions = one.decisions.iter();
            decisions.map(|((action, verdict, reason), count)| {
                ([one.name.as_str(), action, verdict, reason], *count)
            })
        }),
    )?;
    families.counter(
        ("ringfence_events_lost_total", "Events that could not be recorded."),
        ["scope", "cause"],
        scopes
            .iter()
            .flat_map(|one| one.losses.iter().map(|(cause, count)| ([&*one.name, *cause], *count))),
    )?;
    families.counter(
        ("ringfence_policy_reloads_total", "Reloads, by what they came to for the scope."),
        ["scope", "result"],
        scopes.iter().flat_map(|one| {
            let results = Outcome::ALL.map(Outcome::name).into_iter().zip(one.reloads);
            results.map(|(result, count)| ([one.name.as_str(), result], count))
        }),
    )?;
    families.counter(
        ("ringfence_dns_queries_total", "Questions to the scope's resolver, by verdict."),
        ["scope", "verdict"],
        scopes.iter().flat_map(|one| {
            let questions = one.questions.into_iter().flatten();
            questions.map(|(verdict, count)| ([one.name.as_str(), verdict], count))
        }),
    )
}

/// The families that are told.
struct Families(Registry);

impl Families {
    /// Adds a family of what may rise and fall: its name and help, its labels, and the series with
    /// the values of these.
    fn gauge<'a, const N: usize>(
        &self,
        (name, help): (&str, &str),
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) -> Result<()> {
        self.gauge_of::<AtomicU64, N>((name, help), labels, series)
    }

    /// The same of values of another type.
    fn gauge_of<'a, P: Atomic + 'static, const N: usize>(
        &self,
        (name, help): (&str, &str),
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], P::T)>,
    ) -> Result<()> {
        let family = GenericGaugeVec::<P>::new(Opts::new(name, help), &labels)?;
        for (values, value) in series {
            family.get_metric_with_label_values(&values)?.set(value);
        }
        self.add(family)
    }

    /// The same of what only rises.
    fn counter<'a, const N: usize>(
        &self,
        (name, help): (&str, &str),
        labels: [&str; N],
        series: impl IntoIterator<Item = ([&'a str; N], u64)>,
    ) -> Result<()> {
        let family = GenericCounterVec::<AtomicU64>::new(Opts::new(name, help), &labels)?;
        for (values, value) in series {
            family.get_metric_with_label_values(&values)?.inc_by(value);
        }
        self.add(family)
    }

    fn add(&self, family: impl Collector + 'static) -> Result<()> {
        self.0.register(Box::new(family))
    }
}

#[cfg(test)]
pub(super) mod tests;
