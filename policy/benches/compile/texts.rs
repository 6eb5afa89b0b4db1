//! Policies as text: for each path one host name and ten networks.

use std::fmt::Write;

/// A path, by its number.
fn path(i: usize) -> String {
    match i % 4 {
        0 | 1 => format!("/srv/project-{i}/**"),
        2 => format!("/etc/service-{i}/config.yaml"),
        _ => format!("/var/log/service-{i}/*.log"),
    }
}

/// A network, by its number; every second one lies inside the one before it.
fn network(i: usize) -> String {
    let address = std::net::Ipv4Addr::from_bits(0x1400_0000 + (i as u32 / 2) * 4096);
    format!("{address}/{}", if i.is_multiple_of(2) { 20 } else { 28 })
}

/// A Sec0 policy: lists of texts.
pub(crate) fn sec0(count: usize) -> String {
    let mut text = SEC0.to_owned();
    // Writing to a String cannot fail.
    let _ = text.write_str("security:\n  fs_allowlist:\n");
    for i in 0..count {
        let _ = writeln!(text, "    - \"{}\"", path(i));
    }
    let _ = text.write_str("  egress_allowlist:\n");
    for i in 0..count {
        let _ = writeln!(text, "    - \"api-{i}.example.com:443\"");
    }
    for i in 0..10 * count {
        let _ = writeln!(text, "    - \"{}:443\"", network(i));
    }
    text
}

/// A boundary document: a mapping for each rule.
pub(crate) fn boundary(count: usize) -> String {
    let mut text = "boundary: 1\nfiles:\n".to_owned();
    for i in 0..count {
        let _ = writeln!(text, "  - {{ path: \"{}\", allow: [read, write] }}", path(i));
    }
    let _ = text.write_str("exec: []\negress:\n");
    for i in 0..count {
        let _ = writeln!(text, "  - {{ host: api-{i}.example.com, ports: [443] }}");
    }
    for i in 0..10 * count {
        let network = network(i);
        let _ = writeln!(text, "  - {{ cidr: {network}, ports: [443], protocol: tcp }}");
    }
    text
}

const SEC0: &str = "\
tenant: example-team
default_retention: \"90d\"
signing: { enabled: true, key_ref: \"file:///etc/example/key\" }
observability: { otlp_endpoint: \"https://otel.example.com\", sample: { success: 1, error: 1 } }
tools: { allowlist: [], deny_if_unpinned_version: true }
privacy:
  redact_outputs: true
  store_raw_payloads: false
  artifact_retention: { public: \"30d\", pii: \"7d\", phi: \"7d\" }
side_effects: { require_idempotency_key: true, max_retries: 2 }
enforcement:
  deny_on: [fs_violation, egress_violation]
  circuit_breakers: { error_rate_pct: 50, p95_latency_ms: 10000 }
sec0_export: { enabled: false, bucket_uri: \"gs://example\" }
";
