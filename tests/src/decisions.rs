//! `ringfence policy test` and the kernel give one answer: the decision code, run here on the
//! tables of a policy, against what the kernel does under the same policy.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use libc::{EACCES, ECONNREFUSED, EPERM};
use ringfence_common::{
    Address, Right, Verdict,
    egress::{self, Protocol},
    files::{self, Walker},
};
use ringfence_policy::{Source, compile, parse};

use crate::{
    act::Outcome,
    harness::{Context, Failure, Test, ensure},
    ringfence::{Run, policy},
    words,
};

/// All of them.
pub(crate) const TESTS: &[Test] = &[
    ("the kernel answers a thousand questions about paths as `policy test` does", paths),
    ("the kernel answers questions about the example's paths as `policy test` does", example),
    ("the kernel answers questions about destinations as `policy test` does", destinations),
];

const NASTY_PATHS: &str = r#"boundary: 1
files:
  - { path: "{room}/a/**", allow: [read, write] }
  - { path: "{room}/a/*/b/**", deny: [write] }
  - { path: "{room}/a/?/c", deny: [read] }
  - { path: "{room}/**/x", allow: [read] }
  - { path: "{room}/[a-c]/[!d]*", allow: [read, create] }
  - { path: "{room}/{b,c}{,x}/**/z*", allow: [read, write] }
  - { path: "{room}/b/**/a/**", deny: [read, write] }
  - { path: "{room}/c/*", allow: [create, metadata] }
  - { path: "{room}/c/*/*", allow: [delete, metadata] }
  - { path: "{room}/d/**/\\*", allow: [write] }
  - { path: "{room}/*", allow: [read] }
exec:
  - { path: "/usr/**", allow: true }
  - { path: "{room}/**/x", allow: true }
  - { path: "{room}/a/**", allow: true }
  - { path: "{room}/a/**/b", allow: false }
"#;

/// Names that the patterns tell apart.
const NAMES: [&str; 10] = ["a", "b", "c", "d", "x", "z", "zz", "bx", "*", "a.b"];

/// Numbers from a seed, the same in each run (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// A question, the act that puts it to the kernel, and the rights that the act needs.
struct Question {
    act: &'static str,
    rights: u32,
    path: PathBuf,
}

impl Question {
    fn new(act: &'static str, rights: &[Right], path: &Path) -> Self {
        let rights = rights.iter().fold(0, |set, right| set | right.bit());
        Self { act, rights, path: path.to_owned() }
    }
}

/// The policy's image, as the kernel is given it.
fn image_of(name: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let parsed = parse(&Source::new(name, text), None);
    let told: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    let Some(document) = parsed.document else {
        return Err(Failure::new("the policy has errors").with(told.join("\n")));
    };
    Ok(compile::compile(&[document.boundary], &Default::default())?.image)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// Asks the kernel and the decision code, and compares.
fn compare(context: &Context, text: &str, questions: &[Question]) -> Result<(), Failure> {
    let image = &image_of("policy.yaml", text)?[..];
    let walker = Walker::new(image).ok_or_else(|| Failure::new("an image without a header"))?;
    let file = policy(context, "policy.yaml", text)?;
    let acts: Vec<String> = questions
        .iter()
        .map(|question| format!("{} {}", question.act, words::encode(bytes(&question.path))))
        .collect();
    let ended = Run::acts(context, &acts, true).policy(&file).end()?;
    let reports = ended.reports(acts.len())?;
    let (mut problems, mut denied) = (Vec::new(), 0);
    for (question, report) in questions.iter().zip(reports) {
        let state = walker.walk(image, bytes(&question.path));
        let decision = files::decide(image, state, question.rights);
        let expected = decision.verdict != Verdict::Deny;
        denied += usize::from(!expected);
        let fits = match report.outcome {
            Outcome::Done(_) => expected,
            Outcome::Errno(EACCES) => !expected,
            _ => false,
        };
        if !fits {
            let word = decision.verdict.name();
            let path = question.path.display();
            problems.push(format!("{} {path}: {word}, and {}", question.act, report.outcome));
        }
    }
    let count = questions.len();
    ensure(denied * 10 > count && denied * 10 < count * 9, || {
        format!("{denied} of {count} questions are denied: not a fair choice")
    })?;
    Failure::of_all(problems)
}

/// Makes a tree of files whose names the patterns tell apart; gives files, and names not taken.
fn make_tree(top: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let mut random = Random(0x5EED_0001);
    let mut chosen = BTreeSet::new();
    while chosen.len() < 620 {
        let depth = 1 + random.below(5);
        let names = (0..depth).map(|_| NAMES[random.below(NAMES.len())]);
        chosen.insert(names.fold(top.to_owned(), |path, name| path.join(name)));
    }
    let (taken, free): (Vec<_>, Vec<_>) =
        chosen.into_iter().enumerate().partition(|(number, _)| number % 5 != 0);
    let (taken, free) = (paths_of(taken), paths_of(free));
    for path in taken.iter().chain(&free) {
        fs::create_dir_all(path.parent().unwrap_or(top))?;
    }
    let mut files = Vec::new();
    for path in taken {
        // It may be a folder already, above others.
        if !path.exists() {
            fs::write(&path, "something")?;
            files.push(path);
        }
    }
    let free = free.into_iter().filter(|path| !path.exists()).collect();
    Ok((files, free))
}

fn paths_of(numbered: Vec<(usize, PathBuf)>) -> Vec<PathBuf> {
    numbered.into_iter().map(|(_, path)| path).collect()
}

fn paths(context: &mut Context) -> Result<(), Failure> {
    let (files, free) = make_tree(&context.room)?;
    let mut questions = Vec::new();
    for path in &files {
        questions.push(Question::new("open-read", &[Right::Read], path));
        questions.push(Question::new("open-write", &[Right::Write], path));
        questions.push(Question::new("open-both", &[Right::Read, Right::Write], path));
        questions.push(Question::new("chmod", &[Right::Metadata], path));
        questions.push(Question::new("map-executable", &[Right::Read, Right::Exec], path));
    }
    questions.extend(free.iter().map(|path| Question::new("mkdir", &[Right::Create], path)));
    let some = files.iter().step_by(2);
    questions.extend(some.map(|path| Question::new("unlink", &[Right::Delete], path)));
    ensure(questions.len() >= 1000, || format!("only {} questions", questions.len()))?;
    let text = NASTY_PATHS.replace("{room}", &context.room.to_string_lossy());
    compare(context, &text, &questions)
}

/// Files and folders of the system, by the names that the kernel knows them by.
fn system_paths() -> Result<Vec<PathBuf>, Failure> {
    let mut paths = BTreeSet::new();
    for folder in ["/etc", "/etc/ssl", "/usr", "/usr/bin", "/usr/lib", "/root", "/var", "/"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten().take(60) {
            let Ok(path) = fs::canonicalize(entry.path()) else { continue };
            let is_special = ["/proc", "/sys", "/dev"].iter().any(|top| path.starts_with(top));
            if !is_special && (path.is_file() || path.is_dir()) {
                paths.insert(path);
            }
        }
    }
    Ok(paths.into_iter().collect())
}

fn example(context: &mut Context) -> Result<(), Failure> {
    let text = fs::read_to_string("/examples/boundary-coder.yaml")?;
    let mut questions = Vec::new();
    for path in system_paths()? {
        questions.push(Question::new("open-read", &[Right::Read], &path));
        if path.is_file() {
            questions.push(Question::new("map-executable", &[Right::Read, Right::Exec], &path));
        }
    }
    for path in [
        "/srv/work/.git/config",
        "/srv/work/.git/HEAD",
        "/srv/work/.git/hooks/pre-commit",
        "/srv/work/src/.git/config",
        "/srv/work/src/main.rs",
        "/srv/scratch/a/b",
        "/srv/scratch2/a",
        "/srv/other",
    ] {
        let path = Path::new(path);
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, "something")?;
        questions.push(Question::new("open-read", &[Right::Read], path));
        questions.push(Question::new("open-write", &[Right::Write], path));
        questions.push(Question::new("chmod", &[Right::Metadata], path));
        questions.push(Question::new("unlink", &[Right::Delete], path));
        let new = path.with_extension("new");
        questions.push(Question::new("mkdir", &[Right::Create], &new));
    }
    let result = compare(context, &text, &questions);
    for folder in ["/srv/work", "/srv/scratch", "/srv/scratch2", "/srv/other", "/srv/other.new"] {
        let path = Path::new(folder);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    result
}

const NASTY_DESTINATIONS: &str = r#"boundary: 1
egress:
  - { cidr: "127.0.0.0/8", ports: ["9000-9009", 9020], protocol: tcp }
  - { cidr: "127.4.0.0/14", ports: [9000, 9015], protocol: udp }
  - { cidr: "127.8.0.0/13" }
  - { cidr: "127.8.128.0/17", ports: ["9005-9012"], deny: true }
  - { cidr: "127.9.0.1/32", deny: true }
  - { cidr: "127.9.0.0/30", ports: [9001], protocol: tcp }
  - { cidr: "127.255.255.254/32", ports: ["1-65535"], protocol: udp }
  - { cidr: "::1/128", ports: ["9003-9007"], protocol: tcp }
  - { cidr: "::/0", ports: [9004], protocol: udp }
"#;

fn destinations(context: &mut Context) -> Result<(), Failure> {
    let image = &image_of("policy.yaml", NASTY_DESTINATIONS)?[..];
    let edges = [
        [127, 0, 0, 1],
        [127, 3, 255, 255],
        [127, 4, 0, 0],
        [127, 7, 255, 255],
        [127, 8, 0, 0],
        [127, 8, 127, 255],
        [127, 8, 128, 0],
        [127, 9, 0, 0],
        [127, 9, 0, 1],
        [127, 9, 0, 3],
        [127, 9, 0, 4],
        [127, 15, 255, 255],
        [127, 16, 0, 0],
        [127, 255, 255, 254],
    ];
    let mut random = Random(0x5EED_0002);
    let (mut acts, mut expected) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let address: IpAddr = match number % 6 {
            0 => Ipv6Addr::LOCALHOST.into(),
            1 => Ipv4Addr::new(127, random.below(20) as u8, 0, 1 + random.below(5) as u8).into(),
            _ => Ipv4Addr::from(edges[random.below(edges.len())]).into(),
        };
        let port = 8998 + random.below(26) as u16;
        let is_tcp = random.below(2) == 0;
        acts.push(format!("{} {address} {port}", if is_tcp { "tcp" } else { "udp-sendto" }));
        let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
        let decision = egress::decide(image, Address::from(address), protocol, port);
        expected.push((decision.verdict != Verdict::Deny, is_tcp));
    }
    let file = policy(context, "policy.yaml", NASTY_DESTINATIONS)?;
    let ended = Run::acts(context, &acts, true).policy(&file).end()?;
    let reports = ended.reports(acts.len())?;
    let mut problems = Vec::new();
    for ((act, (is_allowed, is_tcp)), report) in acts.iter().zip(&expected).zip(reports) {
        let fits = match report.outcome {
            Outcome::Errno(EPERM) => !is_allowed,
            // Nothing listens: who may connect is told so.
            Outcome::Errno(ECONNREFUSED) => *is_allowed && *is_tcp,
            Outcome::Done(_) => *is_allowed && !is_tcp,
            _ => false,
        };
        if !fits {
            let word = if *is_allowed { "allow" } else { "deny" };
            problems.push(format!("{act}: {word}, and {}", report.outcome));
        }
    }
    let denied = expected.iter().filter(|(is_allowed, _)| !is_allowed).count();
    ensure((100..500).contains(&denied), || format!("{denied} of 600 questions are denied"))?;
    Failure::of_all(problems)
}
