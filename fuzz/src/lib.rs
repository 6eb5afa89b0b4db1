//! What holds for any text that is read as a policy, whichever language it is read as, or as the
//! configuration of the agent.

use ringfence_policy::{
    Diagnostic, Dialect, Document, Source,
    boundary::{Baseline, Boundary, Effect, GlobSyntax, Rights},
    compile::{Problem, compile, verify},
    configuration, lower, parse,
};

/// Reads the text, in the given dialect or in the one that its keys tell, and checks what came of
/// it: findings stand inside the text, there is a document exactly when there is no error, and
/// what is lowered is read without errors and means the same, byte for byte.
///
/// # Panics
/// When one of these does not hold.
pub fn check_policy(text: &str, dialect: Option<Dialect>) {
    let source = Source::new("fuzz.yaml", text);
    let parsed = parse(&source, dialect);
    assert_eq!(parsed.document.is_none(), parsed.diagnostics.iter().any(Diagnostic::is_error));
    check_findings(&parsed.diagnostics, &source);
    if let Some(document) = parsed.document {
        check_lowered(document);
    }
}

/// Reads the text as the configuration of the agent, and checks what came of it: findings stand
/// inside the text, there is a configuration exactly when there is no error, and the table of its
/// selectors selects nothing that is reserved.
///
/// # Panics
/// When one of these does not hold.
pub fn check_configuration(text: &str) {
    let source = Source::new("/etc/ringfence/fuzz.yaml", text);
    let parsed = configuration::read(&source);
    assert_eq!(parsed.configuration.is_none(), parsed.diagnostics.iter().any(Diagnostic::is_error));
    check_findings(&parsed.diagnostics, &source);
    let Some(configuration) = parsed.configuration else { return };
    let globs = configuration.cgroup_globs().into_iter().chain(configuration.program_globs());
    if globs.map(|glob| wildcards_in(&glob.text)).sum::<usize>() > MAX_WILDCARDS {
        return;
    }
    let Ok(tables) = configuration::selectors::compile(&configuration) else { return };
    assert_eq!(verify(&tables.image), Ok(()));
    for path in ["/", "/init.scope", "/ringfence", "/ringfence/a", "/system.slice", "/user.slice"] {
        assert_eq!(tables.of_cgroup(path.as_bytes()), None, "{path}");
    }
}

fn check_findings(findings: &[Diagnostic], source: &Source) {
    let lines = lines(&source.text);
    for finding in findings {
        check_place(finding, &lines);
        assert!(!finding.message.is_empty());
        let shown = finding.to_string();
        assert!(!shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{shown}");
    }
}

/// Characters of each line, line breaks left out.
fn lines(text: &str) -> Vec<usize> {
    let length = |line: &str| line.strip_suffix('\r').unwrap_or(line).chars().count();
    text.split('\n').map(length).collect()
}

fn check_place(finding: &Diagnostic, lines: &[usize]) {
    let place = &finding.place;
    let (line, column) = (place.line as usize, place.column as usize);
    assert!((1..=lines.len()).contains(&line), "a place outside the text: {finding:?}");
    // What is missing at the end of a line stands behind its last character.
    let end = lines[line - 1] + 1;
    assert!((1..=end).contains(&column), "a place outside its line: {finding:?}");
    let length = finding.length as usize;
    assert!(column + length <= end.max(column + 1), "marks more than its line: {finding:?}");
}

fn check_lowered(document: Document) {
    let lowered = lower::text(std::slice::from_ref(&document));
    let again = parse(&Source::new("lowered.yaml", lowered.as_str()), None);
    let Some(again) = again.document else { panic!("{lowered}\n{:#?}", again.diagnostics) };
    assert_eq!(again.dialect, Dialect::Boundary);
    assert_eq!(again.boundary.baseline, document.boundary.baseline);
    assert_eq!(path_rules(&again), path_rules(&document), "{lowered}");
    if wildcards(&document) > MAX_WILDCARDS {
        return;
    }
    let (before, after) = (image(&document), image(&again));
    match &before {
        Ok(image) => assert_eq!(verify(image), Ok(())),
        Err(problem) => assert!(!matches!(problem, Problem::Pattern { .. }), "{problem}"),
    }
    assert!(before == after, "means something else when lowered:\n{lowered}");
}

/// Wildcards in the patterns of documents that are compiled. More take longer, and are for the
/// target `glob_compile`.
const MAX_WILDCARDS: usize = 12;

fn wildcards(document: &Document) -> usize {
    let patterns = document.boundary.path_rules.iter().map(|rule| &rule.pattern);
    patterns.map(|pattern| wildcards_in(pattern)).sum()
}

fn wildcards_in(pattern: &str) -> usize {
    pattern.matches(['*', '?', '[', '{', ',']).count()
}

fn path_rules(document: &Document) -> Vec<(&str, GlobSyntax, Effect, Rights)> {
    let rules = document.boundary.path_rules.iter();
    rules.map(|rule| (rule.pattern.as_str(), rule.syntax, rule.effect, rule.rights)).collect()
}

/// What the document's own rules compile to. The baseline is the same in every image, and takes
/// longer than all the rest.
fn image(document: &Document) -> Result<Vec<u8>, Problem> {
    let boundary = Boundary { baseline: Baseline::None, ..document.boundary.clone() };
    let tables = compile(&[boundary], &Default::default());
    tables.map(|tables| tables.image).map_err(|error| error.problem)
}
