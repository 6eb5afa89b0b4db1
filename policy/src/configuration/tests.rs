//! Configurations: what they mean, and what is wrong with them.

mod mistakes;
mod table;

use std::path::{Path, PathBuf};

use super::*;

const SCOPES: &str =
    "scopes: [{ name: coder, policy: [coder.yaml], match: [{ unit: coder.service }] }]\n";

/// What a text without errors means, and the messages of its warnings.
fn configuration(text: &str) -> (Configuration, Vec<String>) {
    let parsed = read(&Source::new("/etc/ringfence/agent.yaml", text));
    let configuration = parsed.configuration.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics));
    (configuration, parsed.diagnostics.into_iter().map(|finding| finding.message).collect())
}

#[test]
fn the_example_is_read_without_findings() {
    let parsed = of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agent.yaml"));
    assert_eq!(parsed.diagnostics, []);
    let configuration = parsed.configuration.unwrap();
    let names: Vec<&str> = configuration.scopes.iter().map(|scope| &*scope.name).collect();
    assert_eq!(names, ["coder", "trial", "pods"]);
    for scope in &configuration.scopes {
        assert!(scope.policies.iter().all(|file| file.is_file()), "{:?}", scope.policies);
    }
    selectors::compile(&configuration).unwrap();
}

#[test]
fn every_key_means_what_it_says() {
    let text = "\
agent: 1
scopes:
  - name: coder.1_a-B
    policy: [coder.yaml, ../more.yaml, /srv/policy.yaml]
    mode: observe
    unlisted_names: nxdomain
    allow_degraded: true
    match:
      - cgroup: \"/machine.slice/libpod-*.scope\"
      - unit: \"coder-*.service\"
      - exe: \"/opt/{a,b}/bin/agent\"
      - pod: { namespace: \"agents-*\", labels: { app: coder, \"1\": \"true\" }, container: main }
  - { name: b, policy: [b.yaml], match: [{ pod: { labels: { app: x } } }] }
pods:
  source: { file: pods.yaml }
  policies: pods.d
  unidentified: allow
events: \"-\"
control: /run/control.sock
metrics: \"[::1]:9464\"
";
    let (configuration, warnings) = configuration(text);
    assert_eq!(warnings, [""; 0]);
    let [coder, other] = &configuration.scopes[..] else { panic!("{configuration:#?}") };
    assert_eq!((&*coder.name, coder.place.line, coder.place.column), ("coder.1_a-B", 3, 11));
    let paths = ["/etc/ringfence/coder.yaml", "/etc/ringfence/../more.yaml", "/srv/policy.yaml"];
    assert_eq!(coder.policies, paths.map(PathBuf::from));
    assert_eq!(coder.mode, Some(Mode::Observe));
    assert_eq!((coder.unlisted_names, coder.allow_degraded), (UnlistedNames::Nxdomain, true));
    let subjects: Vec<_> =
        coder.selectors.iter().map(|one| (&one.subject, one.place.line)).collect();
    let labels = [("app", "coder"), ("1", "true")];
    let pod = PodSelector {
        namespace: Some("agents-*".into()),
        labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
        container: Some("main".into()),
    };
    let expected = [
        (&Subject::Cgroup("/machine.slice/libpod-*.scope".into()), 9),
        (&Subject::Unit("coder-*.service".into()), 10),
        (&Subject::Exe("/opt/{a,b}/bin/agent".into()), 11),
        (&Subject::Pod(pod), 12),
    ];
    assert_eq!(subjects, expected);
    assert_eq!((other.mode, other.unlisted_names), (None, UnlistedNames::Refused));
    assert!(!other.allow_degraded);
    let pods = Pods {
        source: PodSource::File("/etc/ringfence/pods.yaml".into()),
        policies: Some("/etc/ringfence/pods.d".into()),
        unidentified: Unidentified::Allow,
    };
    assert_eq!(configuration.pods, Some(pods));
    assert_eq!(configuration.events, Some(Events::StandardOutput));
    assert_eq!(configuration.control, Path::new("/run/control.sock"));
    assert_eq!(configuration.metrics, Some(Metrics::Address("[::1]:9464".parse().unwrap())));
}

#[test]
fn what_is_left_out_has_its_default() {
    let (configuration, warnings) = configuration(&format!("agent: 1\n{SCOPES}"));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(configuration.control, Path::new(DEFAULT_CONTROL));
    assert_eq!(
        (configuration.pods, configuration.events, configuration.metrics),
        (None, None, None)
    );
}

#[test]
fn pods_are_learnt_of_from_kubernetes() {
    for (keys, expected) in [
        ("source: kubernetes", None),
        ("source: kubernetes, node: \"\"", None),
        ("source: kubernetes, node: a", Some("a")),
    ] {
        let text = format!("agent: 1\n{SCOPES}pods: {{ {keys}, policies: /p }}\n");
        let pods = configuration(&text).0.pods.unwrap();
        assert_eq!(
            pods.source,
            PodSource::Kubernetes { node: expected.map(str::to_owned) },
            "{keys}"
        );
        assert_eq!(pods.unidentified, Unidentified::Hold);
    }
}

#[test]
fn a_path_of_a_socket_may_serve_metrics() {
    let text = format!("agent: 1\n{SCOPES}metrics: /run/m.sock\nevents: /var/log/r\n");
    let (configuration, _) = configuration(&text);
    assert_eq!(configuration.metrics, Some(Metrics::Socket("/run/m.sock".into())));
    assert_eq!(configuration.events, Some(Events::Folder("/var/log/r".into())));
}

#[test]
fn files_of_a_configuration_without_a_folder_stay_as_they_are() {
    let parsed = read(&Source::new("agent.yaml", format!("agent: 1\n{SCOPES}")));
    let configuration = parsed.configuration.unwrap();
    assert_eq!(configuration.scopes[0].policies, [PathBuf::from("coder.yaml")]);
}

#[test]
fn a_file_that_is_not_there_is_a_finding() {
    let parsed = of_file(Path::new("/nowhere/agent.yaml"));
    assert!(parsed.configuration.is_none());
    assert!(parsed.diagnostics[0].message.starts_with("the configuration file cannot be read"));
}

#[test]
fn a_finding_shows_its_line_and_what_to_write() {
    let text = "agent: 1\nscopes:\n  - name: coder\n    polcy: [coder.yaml]\n    \
                match: [{ cgroup: /* }]\n";
    let parsed = read(&Source::new("/etc/ringfence/agent.yaml", text));
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    let expected = "\
error[RF0101]: unknown key `polcy` in `scopes[]`
 --> /etc/ringfence/agent.yaml:4:5
  |
4 |     polcy: [coder.yaml]
  |     ^^^^^
  |
  = help: did you mean `policy`?";
    assert_eq!(shown[0], expected);
    assert_eq!(shown.len(), 2, "{shown:#?}");
    assert!(
        shown[1].contains("5 |     match: [{ cgroup: /* }]\n  |                       ^^\n"),
        "{}",
        shown[1]
    );
}

#[test]
fn the_page_has_every_key() {
    fn keys(shape: crate::schema::Shape, found: &mut Vec<&'static str>) {
        use crate::schema::Shape;
        match shape {
            Shape::List(inner) | Shape::Dependent(inner, _) => keys(*inner, found),
            Shape::Mapping(fields) => {
                for field in fields {
                    found.push(field.name);
                    keys(field.shape, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    keys(keys::Document::SHAPE, &mut found);
    assert!(found.len() > 20, "{found:?}");
    let page = markdown();
    for key in found {
        assert!(page.contains(&format!("\n| `{key}`")), "{key}");
    }
}

#[test]
fn the_schema_is_that_of_the_keys() {
    let schema = crate::json_schema::of_configuration();
    assert_eq!(schema["required"], serde_json::json!(["agent", "scopes"]));
    let scopes = &schema["properties"]["scopes"];
    assert_eq!(scopes["minItems"], 1);
    let selector = &scopes["items"]["properties"]["match"]["items"];
    assert_eq!(selector["oneOf"].as_array().unwrap().len(), 4);
}
