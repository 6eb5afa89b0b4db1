use super::*;

pub(in crate::service::metrics) fn scope(name: &str) -> Scope {
    Scope {
        name: name.to_owned(),
        number: 1,
        enforces: true,
        is_in_force: true,
        missing: vec!["/etc/a \"b\".yaml:3:5: `ipc`".to_owned()],
        sha256: "00ff".repeat(16),
        generation: 2,
        decisions: vec![
            (("connect", "deny", "egress_violation"), 7),
            (("write", "observe", "fs_violation"), 1),
        ],
        losses: [("ring_full", 12), ("resolver_full", 3), ("unreadable", 0), ("agent_ended", 1)],
        tables: vec![Fill::new("programs", 4, 65_536), Fill::new("addresses", 9, 65_536)],
        questions: Some([("allow", 30), ("observe", 0), ("deny", 5)]),
        tasks: Some(17),
        budgets: vec![Budget { budget: "connections", used: 3, limit: 4, used_ratio: 0.75 }],
        reloads: [3, 1, 0],
    }
}

fn lines(scopes: &[Scope]) -> Vec<String> {
    let text = text(scopes, None, &durations().unwrap()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn series(scopes: &[Scope]) -> Vec<String> {
    lines(scopes).into_iter().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn everything_about_a_scope_is_told() {
    let told = series(&[scope("coder")]);
    let sha256 = "00ff".repeat(16);
    let info = format!("ringfence_policy_info{{scope=\"coder\",sha256=\"{sha256}\"}} 1");
    for line in [
        r#"ringfence_decisions_total{action="connect",reason="egress_violation",scope="coder",verdict="deny"} 7"#,
        r#"ringfence_decisions_total{action="write",reason="fs_violation",scope="coder",verdict="observe"} 1"#,
        r#"ringfence_events_lost_total{cause="ring_full",scope="coder"} 12"#,
        r#"ringfence_events_lost_total{cause="resolver_full",scope="coder"} 3"#,
        r#"ringfence_events_lost_total{cause="unreadable",scope="coder"} 0"#,
        r#"ringfence_events_lost_total{cause="agent_ended",scope="coder"} 1"#,
        r#"ringfence_enforcing{scope="coder"} 1"#,
        r#"ringfence_degraded{missing="/etc/a \"b\".yaml:3:5: `ipc`",scope="coder"} 1"#,
        &info,
        r#"ringfence_policy_generation{scope="coder"} 2"#,
        r#"ringfence_policy_reloads_total{result="ok",scope="coder"} 3"#,
        r#"ringfence_policy_reloads_total{result="failed",scope="coder"} 1"#,
        r#"ringfence_policy_reloads_total{result="unchanged",scope="coder"} 0"#,
        r#"ringfence_scope_tasks{scope="coder"} 17"#,
        r#"ringfence_budget_used_ratio{budget="connections",scope="coder"} 0.75"#,
        r#"ringfence_table_entries{scope="coder",table="programs"} 4"#,
        r#"ringfence_table_capacity{scope="coder",table="programs"} 65536"#,
        r#"ringfence_table_entries{scope="coder",table="addresses"} 9"#,
        r#"ringfence_table_capacity{scope="coder",table="addresses"} 65536"#,
        r#"ringfence_dns_queries_total{scope="coder",verdict="allow"} 30"#,
        r#"ringfence_dns_queries_total{scope="coder",verdict="observe"} 0"#,
        r#"ringfence_dns_queries_total{scope="coder",verdict="deny"} 5"#,
    ] {
        assert!(told.iter().any(|one| one == line), "{line} is not in {told:#?}");
    }
    // Beside these the build, the bounds of the histogram with infinity, its sum and its count.
    assert_eq!(told.len(), 22 + 1 + BOUNDS.len() + 3, "{told:#?}");
}

#[test]
fn what_is_not_known_has_no_series() {
    let unknown = Scope { tasks: None, questions: None, missing: vec![], ..scope("coder") };
    let told = series(&[unknown]).join("\n");
    for family in ["ringfence_scope_tasks", "ringfence_dns_queries", "ringfence_degraded"] {
        assert!(!told.contains(family), "{told}");
    }
}

#[test]
fn a_scope_enforces_when_it_refuses_and_the_kernel_has_it() {
    for (enforces, is_in_force, value) in [(true, true, 1), (true, false, 0), (false, true, 0)] {
        let told = series(&[Scope { enforces, is_in_force, ..scope("a") }]);
        let line = format!("ringfence_enforcing{{scope=\"a\"}} {value}");
        assert!(told.contains(&line), "{told:#?}");
    }
}

#[test]
fn every_scope_has_series_of_its_own_and_none_is_left_without_one() {
    let count = |scopes: &[Scope], of: &str| {
        let label = format!("scope=\"{of}\"");
        series(scopes).iter().filter(|line| line.contains(&label)).count()
    };
    let both = [scope("a"), scope("b")];
    assert_eq!((count(&both, "a"), count(&both, "b")), (22, 22));
    assert_eq!((count(&both[..1], "a"), count(&both[..1], "b")), (22, 0));
    assert_eq!(series(&[]).iter().filter(|line| line.contains("scope=")).count(), 0);
}

#[test]
fn questions_are_told_by_how_long_they_took() {
    let durations = durations().unwrap();
    [0.0004, 0.02, 0.02, 4.6, 60.0].iter().for_each(|seconds| durations.observe(*seconds));
    let text = text(&[], None, &durations).unwrap();
    for line in [
        r#"ringfence_dns_query_duration_seconds_bucket{le="0.0005"} 1"#,
        r#"ringfence_dns_query_duration_seconds_bucket{le="0.01"} 1"#,
        r#"ringfence_dns_query_duration_seconds_bucket{le="0.025"} 3"#,
        r#"ringfence_dns_query_duration_seconds_bucket{le="5"} 4"#,
        r#"ringfence_dns_query_duration_seconds_bucket{le="+Inf"} 5"#,
        "ringfence_dns_query_duration_seconds_count 5",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
    }
}

#[test]
fn the_page_describes_every_metric_and_its_labels() {
    let page = include_str!("../../../../../docs/metrics.md");
    let told = text(&[scope("coder")], Some(PODS), &durations().unwrap()).unwrap();
    let told: Vec<String> = told.lines().map(str::to_owned).collect();
    let names = told.iter().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut described = 0;
    for (name, kind) in names.filter_map(|rest| rest.split_once(' ')) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` | {kind} |")));
        let row = row.unwrap_or_else(|| panic!("{name}, a {kind}, is not described"));
        let example = told.iter().find(|line| line.starts_with(&format!("{name}{{")));
        for pair in example
            .and_then(|line| line.split(['{', '}']).nth(1))
            .into_iter()
            .flat_map(|labels| labels.split("\","))
        {
            let label = pair.split('=').next().unwrap_or_default();
            assert!(row.contains(&format!("`{label}`")), "{name} has the label {label}: {row}");
        }
        described += 1;
    }
    assert_eq!(described, page.matches("\n| `ringfence_").count(), "the page has others");
}

const PODS: PodsKnown = PodsKnown { count: 7, is_ready: false, unidentified: 2 };

#[test]
fn pods_are_told_where_they_are_asked_for() {
    let text = text(&[], Some(PODS), &durations().unwrap()).unwrap();
    for line in
        ["ringfence_pods 7", "ringfence_pods_ready 0", "ringfence_containers_unidentified 2"]
    {
        assert!(text.lines().any(|one| one == line), "{text}");
    }
}
