//! Documents that are given together: read, checked against each other, compiled to one image.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Boundary, Diagnostic, Dialect, Document, Source,
    boundary::Resolved,
    compile::{self, Tables},
    diagnostic::code,
    parse, path_map, redundant, shortened, together,
};

/// Documents that govern together: an act must be allowed by each that governs it.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// The documents without errors, in the order of the sources.
    pub documents: Vec<Document>,
    /// What each of them means to the kernel, with the paths mapped as the others say.
    pub boundaries: Vec<Boundary>,
    /// All findings: those about each document in their order, then those about them together.
    pub findings: Vec<Diagnostic>,
    /// By name, for the lines of later findings.
    sources: HashMap<Arc<str>, Source>,
}

impl PolicySet {
    /// Reads documents, each in the given dialect or in the one that its keys tell. A source may
    /// be a stream of several.
    pub fn read(sources: impl IntoIterator<Item = Source>, dialect: Option<Dialect>) -> Self {
        let mut set = Self {
            documents: Vec::new(),
            boundaries: Vec::new(),
            findings: Vec::new(),
            sources: HashMap::new(),
        };
        for source in sources {
            for one in source.documents() {
                let parsed = parse(&one, dialect);
                set.documents.extend(parsed.document);
                set.findings.extend(parsed.diagnostics);
            }
            set.sources.insert(Arc::clone(&source.name), source);
        }
        let (boundaries, mut later) = path_map::boundaries(&set.documents);
        later.extend(together::check(&set.documents, &boundaries));
        later.extend(boundaries.iter().flat_map(redundant::names));
        set.boundaries = boundaries;
        let later = set.with_lines(later);
        set.findings.extend(later);
        set
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

    /// The findings with their source lines; of a thousand in a file, the first thousand.
    fn with_lines(&self, mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        findings.sort_by(|one, other| one.place.cmp(&other.place));
        let groups = findings.chunk_by(|one, other| one.place.file == other.place.file);
        let with_line = |group: &[Diagnostic]| {
            let file = group.first().map(|finding| &finding.place.file);
            let text = file.and_then(|file| self.sources.get(file)).map_or("", |it| &it.text);
            shortened(group.to_vec(), text)
        };
        groups.flat_map(with_line).collect()
    }
}
