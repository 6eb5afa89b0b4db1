//! Documents that are given together: read, checked against each other, compiled to one image.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    Boundary, Diagnostic, Dialect, Document, Source,
    boundary::Resolved,
    compile::{self, Idle, Tables, Why},
    diagnostic::{code, visible},
    parse, path_map, read_source, redundant, shortened, together,
};

/// Documents that govern together: an act must be allowed by each that governs it.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// The documents without errors, in the order of their files.
    pub documents: Vec<Document>,
    /// The text of each of these documents.
    pub sources: Vec<Source>,
    /// What each of them means to the kernel, with the paths mapped as the others say.
    pub boundaries: Vec<Boundary>,
    /// All findings: those about each document in their order, then those about them together.
    pub findings: Vec<Diagnostic>,
    /// The files by name, for the lines of later findings.
    files: HashMap<Arc<str>, Source>,
}

impl PolicySet {
    /// Reads documents, each in the given dialect or in the one that its keys tell. A source may
    /// be a stream of several.
    pub fn read(sources: impl IntoIterator<Item = Source>, dialect: Option<Dialect>) -> Self {
        let mut set = Self {
            documents: Vec::new(),
            sources: Vec::new(),
            boundaries: Vec::new(),
            findings: Vec::new(),
            files: HashMap::new(),
        };
        for source in sources {
            for one in source.documents() {
                let parsed = parse(&one, dialect);
                if let Some(document) = parsed.document {
                    set.documents.push(document);
                    set.sources.push(one);
                }
                set.findings.extend(parsed.diagnostics);
            }
            set.files.insert(Arc::clone(&source.name), source);
        }
        let (boundaries, mut later) = path_map::boundaries(&set.documents);
        later.extend(together::check(&set.documents, &boundaries));
        later.extend(redundant::names(&boundaries));
        set.boundaries = boundaries;
        let later = set.with_lines(later);
        set.findings.extend(later);
        set
    }

    /// Reads documents from files. One that cannot be read is an error like any other.
    pub fn of_files(files: &[PathBuf], dialect: Option<Dialect>) -> Self {
        let mut findings = Vec::new();
        let mut sources = Vec::new();
        for file in files {
            match read_source(file) {
                Ok(source) => sources.push(source),
                Err(finding) => findings.push(*finding),
            }
        }
        let mut set = Self::read(sources, dialect);
        findings.append(&mut set.findings);
        Self { findings, ..set }
    }

    /// Whether a document cannot be used.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Diagnostic::is_error)
    }

    /// The tables of all documents together. `resolved` has the addresses of host names, as for
    /// [`compile::compile`].
    ///
    /// # Errors
    ///
    /// The finding that names the rule with which a limit of the kernel's tables was crossed.
    pub fn compile(&self, resolved: &Resolved) -> Result<Tables, Box<Diagnostic>> {
        compile::compile(&self.boundaries, resolved).map_err(|error| {
            let message = error.problem.to_string();
            let finding = Diagnostic::error(code::NOT_COMPILED, error.place, 1, message);
            let finding = finding.with_help(error.problem.help());
            let mut finding = self.with_lines(vec![finding]);
            Box::new(finding.remove(0))
        })
    }

    /// What is to be said about rules that decide nothing, by the tables of these documents.
    ///
    /// In a SecAI policy several tools name one folder, and denylists are written for the tools
    /// whatever they are allowed: there only a rule that is denied altogether is worth telling.
    pub fn idle(&self, tables: &Tables) -> Vec<Diagnostic> {
        let of_tools = self.documents.iter().filter(|one| one.dialect == Dialect::SecaiPolicy);
        let of_tools: HashSet<&str> = of_tools.map(|one| &*one.boundary.file).collect();
        let finding = |idle: &Idle| {
            let rule = tables.rule(idle.rule).map_or("", |rule| rule.text.as_str());
            let (code, message, help) = match &idle.why {
                Why::Denied { by } => (
                    code::SHADOWED,
                    format!("nothing comes of `{rule}`: the rule at {by} denies it"),
                    "remove one of the two rules",
                ),
                _ if of_tools.contains(&*idle.place.file) => return None,
                Why::NeverTakes => (
                    code::DENY_TAKES_NOTHING,
                    format!("nothing comes of `{rule}`: no rule allows what it denies"),
                    "what no rule allows is refused already; is it written right?",
                ),
                Why::Covered { by } => (
                    code::REDUNDANT,
                    format!("nothing comes of `{rule}`: the rule at {by} covers it already"),
                    "remove it, unless the wider rule is the mistake",
                ),
            };
            let finding = Diagnostic::warning(code, idle.place.clone(), 1, visible(&message));
            Some(finding.with_help(help))
        };
        self.with_lines(tables.idle.iter().filter_map(finding).collect())
    }

    /// The findings with their source lines; of a thousand in a file, the first thousand.
    fn with_lines(&self, mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        findings.sort_by(|one, other| one.place.cmp(&other.place));
        let groups = findings.chunk_by(|one, other| one.place.file == other.place.file);
        let with_line = |group: &[Diagnostic]| {
            let file = group.first().map(|finding| &finding.place.file);
            let text = file.and_then(|file| self.files.get(file)).map_or("", |it| &it.text);
            let mut findings = shortened(group.to_vec(), text);
            for finding in &mut findings {
                let line = finding.line_text.as_deref().unwrap_or_default();
                // What was built from a document knows where things stand, not how long they are.
                if finding.length == 1 {
                    finding.length = extent(line, finding.place.column);
                }
            }
            findings
        };
        groups.flat_map(with_line).collect()
    }
}

/// How many characters the value at a column of a line takes.
pub(crate) fn extent(line: &str, column: u32) -> u32 {
    let mut rest = line.chars().skip((column as usize).saturating_sub(1));
    let ends: &[char] = match rest.next() {
        Some('"') => &['"'],
        Some('\'') => &['\''],
        Some(_) => &[' ', ',', ':', ']', '}'],
        None => return 1,
    };
    let inside = rest.by_ref().take_while(|c| !ends.contains(c)).count();
    let quotes = if ends.len() == 1 { 2 } else { 1 };
    u32::try_from(inside + quotes).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_marked_from_its_first_to_its_last_character() {
        let line = "  - { path: \"/a b\", allow: [read] } # x";
        for (column, length) in [(13, 6), (21, 5), (7, 4), (29, 4), (60, 1)] {
            assert_eq!(extent(line, column), length, "{column}");
        }
    }

    #[test]
    fn findings_about_documents_together_show_their_lines() {
        let text = "boundary: 1\nfiles: [{ path: /srv/a/**, allow: [read] }]\n---\n\
                    boundary: 1\nfiles: [{ path: /srv/b/**, allow: [read] }]\n";
        let set = PolicySet::read([Source::new("a.yaml", text)], None);
        let finding = set.findings.iter().find(|finding| finding.code == code::DISJOINT).unwrap();
        assert_eq!((finding.place.line, finding.length), (2, 9));
        assert!(finding.to_string().contains("^^^^^^^^^\n"), "{finding}");
    }
}
