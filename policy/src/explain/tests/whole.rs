//! Whole explanations, word by word.

use super::*;

#[test]
fn a_small_sec0_policy_comes_to_this() {
    let text = explained(&[&sec0("fs_violation", LISTS)]).text();
    let kernel = "\
a.yaml: Sec0 policy

The kernel acts on
     13  enforcement.deny_on        1 item: fs_violation
           files: enforce, programs: enforce, destinations: observe
           Violations that refuse; an empty list observes
     16  security.fs_allowlist      1 item: /tmp/sec0-*
           files: enforce, programs: enforce
           The only paths that may be read, written and executed, besides the baseline; `*` stands
           for any characters, slashes too
     17  security.egress_allowlist  2 items: a.example:443, 10.0.0.0/8
           destinations: observe
           The only destinations: hosts, in which `*` stands for any characters, addresses and
           networks, each with `:port` or without

Left to the decision service
";
    assert!(text.starts_with(kernel), "{text}");
    let effective = "\
WHAT IT COMES TO

Files
  a.yaml:16: enforce, what no rule allows is refused
        16  allow read, write: /tmp/sec0-* (`*` and `?` stand for slashes too)
            and what the baseline allows, below

Programs
  a.yaml:16: enforce, what no rule allows is refused
        16  allow execute: /tmp/sec0-* (`*` and `?` stand for slashes too)
            and what the baseline allows, below

Programs after the first: not governed, a program may be executed after the first

Anonymous executable memory: not governed, anonymous memory may become executable

Destinations
  a.yaml:17: observe, what no rule allows is let through and recorded
        17  allow a.example, port 443, TCP and UDP
        17  allow 10.0.0.0/8, every port, TCP and UDP

Serving others
  a.yaml:17: observe, what no rule allows is let through and recorded
            nothing is allowed

Unix sockets
  a.yaml:16: enforce, what no rule allows is refused
        16  allow connect: every path whose content may be changed

Budgets: not governed, nothing is limited

The baseline
  a.yaml has all of it
  programs, libraries and their data (read, execute): /usr/** /bin/** /sbin/**
";
    assert!(text.contains(effective), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_secai_pair_and_a_map_of_paths_come_to_this() {
    let policy = secai(TOOLS, "deny", "enabled: true");
    let agent = "default_mode: online_assisted\nworkspace: { readable: [\"/vault/**\"] }\n\
                 budgets: { online_assisted: { max_files_touched: 3 } }\n";
    let map = "boundary: 1\npath_map: { /vault: /srv/v }\n";
    let explanation = explained(&[&policy, agent, map]);
    let text = explanation.text();
    let effective = "\
Files
  a.yaml:5: enforce, what no rule allows is refused
         8  allow read: /srv/v/in and all below it
            and what the baseline allows, below
  b.yaml:2: enforce, what no rule allows is refused
         2  allow read: /srv/v/** (`*` and `?` stand for slashes too)
            and what the baseline allows, below

Programs: not governed, the first program may be any

Programs after the first
  a.yaml:14: enforce, no program is executed after the first

Anonymous executable memory: not governed, anonymous memory may become executable

Destinations
  a.yaml:2: enforce, what no rule allows is refused
        16  allow a.example, port 8443, TCP

Serving others
  a.yaml:2: enforce, what no rule allows is refused
            nothing is allowed

Unix sockets
  a.yaml:5: enforce, what no rule allows is refused
         5  allow connect: every path whose content may be changed
  b.yaml:2: enforce, what no rule allows is refused
         2  allow connect: every path whose content may be changed

Budgets
  b.yaml:3: enforce, what is not left is refused
         3  at most 3 distinct files

The baseline
  a.yaml has all of it, and does not govern programs
  b.yaml has all of it, and does not govern programs
";
    assert!(text.contains(effective), "{text}");
    assert!(text.contains("destinations: free; left to the airlock of the policy.yaml"), "{text}");
    assert!(text.contains("acts on the paths of the documents that are given with it"), "{text}");
    assert!(text.contains("has no effect on the kernel here: the kernel does not know"), "{text}");
    assert!(explanation.effective.unenforced.is_empty());
    assert_eq!(explanation.effective.always_mode, Mode::Enforce);
}

#[test]
fn a_boundary_document_comes_to_this() {
    let text = "\
boundary: 1
mode: observe
files:
  - { path: \"/a/*\", allow: [read, write], deny: [delete] }
exec: []
sockets: [{ path: /run/x }]
egress:
  - { cidr: 0.0.0.0/0, ports: [443, \"80-81\"], protocol: udp, deny: true }
  - { host: \"*.example\" }
";
    let explanation = explained(&[text]);
    let rules = |group: usize| -> Vec<(u32, &str)> {
        let governed = &explanation.effective.groups[group].governed_by[0];
        governed.rules.iter().map(|rule| (rule.place.line, &*rule.text)).collect()
    };
    assert_eq!(rules(0), [(4, "allow read, write: /a/*"), (4, "deny delete: /a/*")]);
    assert_eq!(rules(1), []);
    assert_eq!(
        rules(4),
        [
            (8, "deny 0.0.0.0/0 (every address), ports 443, 80-81, UDP"),
            (9, "allow *.example (matches no address), every port, TCP and UDP"),
        ]
    );
    let Effective { always_mode, unenforced, baseline, .. } = &explanation.effective;
    assert_eq!(*always_mode, Mode::Observe);
    assert_eq!(unenforced.len(), 0);
    assert_eq!(rules(5), []);
    let written = "allow connect: every path whose content may be changed";
    assert_eq!(rules(6), [(3, written), (6, "allow connect: /run/x")]);
    let groups = &baseline.as_ref().unwrap().groups;
    assert_eq!((groups[0].rights.as_str(), groups[1].rights.as_str()), ("read", "read, execute"));
    assert!(explanation.text().contains("Always recorded, and refused once a group"));
}
