//! Builds the tree from the parser's events, within bounds.

use std::collections::HashMap;

use serde_yaml::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as Extent, StrInput, Tag,
};

use super::{Entry, Key, MAX_DEPTH, MAX_NODES, Node, Span, Value, scalar};
use crate::{
    Source,
    boundary::Place,
    diagnostic::{Diagnostic, code, quoted},
};

/// Reads a document. Findings are added to `diagnostics`; `None` when no tree came of it.
pub fn read(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    if let Err(finding) = source.check() {
        diagnostics.push(*finding);
        return None;
    }
    let parser = Parser::new_from_str(&source.text);
    let lines = source.text.lines().collect();
    let mut reader =
        Reader { parser, source, lines, anchors: HashMap::new(), nodes: 0, diagnostics };
    reader.stream().ok().flatten()
}

/// Keys that are looked through one by one.
const FEW: usize = 16;

/// A finding after which reading cannot go on has been added to the others.
struct Stopped;

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    source: &'a Source,
    lines: Vec<&'a str>,
    /// Anchored nodes that are complete, with the number of values in each.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn stream(&mut self) -> Result<Option<Node>, Stopped> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(is_marked, _) if root.is_some() => {
                    let (place, length) = self.place(&span);
                    // `---`, or whatever stands behind `...`.
                    let length = length.max(if is_marked { 3 } else { 1 });
                    let message = "more documents in one file than are read";
                    let help = "put each into a file of its own, and give `--policy` several times";
                    return Err(self.stop(
                        Diagnostic::error(code::SEVERAL_DOCUMENTS, place, length, message)
                            .with_help(help),
                    ));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
        match root {
            None | Some(Node { value: Value::Null, .. }) => {
                let message = "the file holds no policy: it is empty, or all comments";
                let help = "the smallest boundary document is `boundary: 1`";
                let place = self.source.place(1, 1);
                Err(self.stop(Diagnostic::error(code::EMPTY, place, 0, message).with_help(help)))
            }
            root => Ok(root),
        }
    }

    /// The next event that is no comment.
    fn next(&mut self) -> Result<(Event<'a>, Extent), Stopped> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => return Err(self.syntax(&error)),
                None => return Ok((Event::StreamEnd, Extent::default())),
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Extent, depth: usize) -> Result<Node, Stopped> {
        let (place, length) = self.place(span);
        if depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(self.stop(Diagnostic::error(code::LIMIT, place, 1, message)));
        }
        self.count(1, &place)?;
        let before = self.nodes;
        let (value, anchor, text_offset) = match event {
            Event::Alias(id) => return self.alias(id, place, length),
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), &place, length);
                let offset = self.text_offset(span, &text);
                (scalar::resolve(text, style, tag.as_deref()), anchor, offset)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &place, length);
                (Value::List(self.items(depth)?), anchor, None)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &place, length);
                (Value::Mapping(self.entries(depth)?), anchor, None)
            }
            _ => {
                let message = "not understood as YAML";
                return Err(self.stop(Diagnostic::error(code::SYNTAX, place, 1, message)));
            }
        };
        let node = Node { value, span: Span { place, length, text_offset } };
        if anchor > 0 {
            let size = self.nodes - before + 1;
            self.count(size, &node.span.place)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Stopped> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, &span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        // Made for mappings of many keys only: most have a handful, and there are many.
        let mut index: HashMap<String, usize> = HashMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => self.key(event, &span, depth)?,
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            let Some(key) = key else { continue };
            let twin = match entries.len() {
                0..=FEW => entries.iter().position(|entry| entry.key.name == key.name),
                _ => index.get(&key.name).copied(),
            };
            if let Some(first) = twin.and_then(|at| entries.get(at)) {
                let Span { place, length, .. } = key.span;
                let message = format!("the key {} stands twice", quoted(&key.name));
                let line = first.key.span.place.line;
                let help = format!("it was first given on line {line}; remove one of the two");
                self.diagnostics.push(
                    Diagnostic::error(code::DUPLICATE_KEY, place, length, message).with_help(help),
                );
                continue;
            }
            entries.push(Entry { key, value });
            match entries.len() {
                0..=FEW => {}
                length if length == FEW + 1 => {
                    let names = entries.iter().map(|entry| entry.key.name.clone());
                    index = names.zip(0..).collect();
                }
                length => {
                    let name = entries.last().map(|entry| entry.key.name.clone());
                    index.extend(name.map(|name| (name, length - 1)));
                }
            }
        }
    }

    /// A mapping's key; `None`, with a finding, when it cannot be one.
    fn key(
        &mut self,
        event: Event<'a>,
        span: &Extent,
        depth: usize,
    ) -> Result<Option<Key>, Stopped> {
        let (place, length) = self.place(span);
        match event {
            Event::Scalar(name, style, 0, tag) => {
                self.count(1, &place)?;
                self.check_tag(tag.as_deref(), &place, length);
                if style == ScalarStyle::Plain && name == "<<" {
                    let message = "merge keys (`<<`) are not used in policies";
                    let help = "write the keys out: a policy should say what it allows where it is";
                    self.diagnostics.push(
                        Diagnostic::error(code::UNSUPPORTED_YAML, place, length, message)
                            .with_help(help),
                    );
                    return Ok(None);
                }
                let span = Span { place, length, text_offset: None };
                Ok(Some(Key { name: name.into_owned(), span }))
            }
            event => {
                self.node(event, span, depth + 1)?;
                let message = "a key must be plain text";
                self.diagnostics.push(Diagnostic::error(
                    code::KEY_NOT_TEXT,
                    place,
                    length.max(1),
                    message,
                ));
                Ok(None)
            }
        }
    }

    fn alias(&mut self, id: usize, place: Place, length: u32) -> Result<Node, Stopped> {
        // Counted before it is copied: a bomb is refused before it has gone off.
        if let Some((_, size)) = self.anchors.get(&id) {
            self.count(*size, &place)?;
        }
        if let Some((node, _)) = self.anchors.get(&id) {
            return Ok(node.clone());
        }
        let message = "this alias refers to what contains it";
        Err(self.stop(Diagnostic::error(code::ALIAS, place, length, message)))
    }

    fn count(&mut self, more: usize, place: &Place) -> Result<(), Stopped> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values, aliases counted as often as used");
        let help = "split the policy, or write it without aliases";
        Err(self.stop(Diagnostic::error(code::LIMIT, place.clone(), 1, message).with_help(help)))
    }

    /// Tags of the core schema are understood; others would be a meaning that nobody reads.
    fn check_tag(&mut self, tag: Option<&Tag>, place: &Place, length: u32) {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else { return };
        let message = format!("the tag {} is not used in policies", quoted(&tag.original()));
        self.diagnostics.push(
            Diagnostic::error(code::UNSUPPORTED_YAML, place.clone(), length.max(1), message)
                .with_help("remove the tag; quote the value if it is text"),
        );
    }

    fn syntax(&mut self, error: &ScanError) -> Stopped {
        let mark = error.marker();
        let line_at =
            |number: usize| self.lines.get(number.wrapping_sub(1)).copied().unwrap_or_default();
        let tab_in = |number: usize| {
            let line = line_at(number);
            line[..line.len() - line.trim_start().len()].find('\t').map(|column| (number, column))
        };
        // The parser may name the value before the tab.
        let tab = tab_in(mark.line()).or_else(|| tab_in(mark.line() + 1));
        let (line, column) = match tab {
            Some(place) => place,
            // Behind the last line there is nothing to show: the end of it is where text is missing.
            None if mark.line() > self.lines.len() => {
                let last = self.lines.len();
                (last.max(1), line_at(last).chars().count())
            }
            None => (mark.line().max(1), mark.col()),
        };
        let place = self.source.place(number(line), number(column + 1));
        let (code, message) = match error.kind() {
            ErrorKind::UnknownAnchor => {
                (code::ALIAS, "this alias refers to an anchor that does not stand before it".into())
            }
            kind => (code::SYNTAX, format!("not YAML: {kind}")),
        };
        let finding = Diagnostic::error(code, place, 1, message);
        self.stop(match advice(line_at(line), tab.is_some()) {
            Some(help) => finding.with_help(help),
            None => finding,
        })
    }

    fn stop(&mut self, finding: Diagnostic) -> Stopped {
        self.diagnostics.push(finding);
        Stopped
    }

    /// Where a span begins, and how many characters of its first line it takes.
    fn place(&self, span: &Extent) -> (Place, u32) {
        let (start, end) = (&span.start, &span.end);
        let place = self.source.place(number(start.line().max(1)), number(start.col() + 1));
        let line_end = || {
            let line = self.lines.get(start.line().saturating_sub(1)).copied().unwrap_or_default();
            line.trim_end().chars().count()
        };
        let end = if start.line() == end.line() { end.col() } else { line_end() };
        (place, number(end.saturating_sub(start.col())))
    }

    /// See [`Node::text_offset`].
    fn text_offset(&self, span: &Extent, text: &str) -> Option<u32> {
        let written = span.slice(&self.source.text)?;
        if written == text {
            return Some(0);
        }
        let inner = written.get(1..written.len().checked_sub(1)?)?;
        (inner == text).then_some(1)
    }
}

/// Advice for the commonest slips, from the line where reading stopped.
fn advice(line: &str, has_tab: bool) -> Option<&'static str> {
    let value = line.trim_start().trim_start_matches("- ");
    if has_tab {
        return Some("YAML is indented with spaces; replace the tab");
    }
    if let Some((_, pattern)) = line.split_once("path:")
        && pattern.trim_start().starts_with('/')
        && pattern.split([' ', ',']).any(|word| word.contains(['{', '[']) && word.contains('/'))
    {
        return Some("quote a pattern that has braces or brackets: \"/srv/{a,b}/**\"");
    }
    if value.starts_with(['*', '@', '`', '%', '&', '!']) || value.contains(": *") {
        return Some("quote a value that begins with one of * & ! % @ `: \"*.example.com\"");
    }
    None
}

/// A line or column as places hold it.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
