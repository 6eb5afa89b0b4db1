//! The fields that a document sets, and who acts on each.

use serde::{Serialize, Serializer};

use super::{document_notes, optional_mode_json, part_json, place_json};
use crate::{
    Boundary, Document, Mode, Source,
    boundary::{Place, Rights},
    coverage::{Coverage, Part, meaning},
    diagnostic::visible,
    document::{self, Entry, Node, Value},
    schema::{GROUP, Property, Shape},
};

/// A field that a document sets. The fields of a long list's items are one row each for all items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldRow {
    /// The keys that lead to it: `tools.allow[0].name`, in a long list `files[].path`.
    pub path: String,
    /// Where its key is written, the first time.
    #[serde(serialize_with = "place_json")]
    pub place: Place,
    /// How often it is set.
    pub count: usize,
    /// Its value in short, the first one: a scalar as it is written, the items of a list counted.
    pub value: String,
    /// Who acts on it.
    #[serde(rename = "who", serialize_with = "who_json")]
    pub coverage: Coverage,
    /// What the kernel does by it; nothing for what the kernel does not act on.
    pub acts: Vec<Act>,
    /// What is left to the decision service, where both act.
    pub left: Option<&'static str>,
    /// Whether the field changes what the kernel does, where the kernel is to act on it; true
    /// where it is not.
    pub has_effect: bool,
    /// What is to be said about it in this document: why it has no effect, or what it does.
    pub remark: Option<String>,
    /// What the field means, in a sentence.
    pub meaning: String,
}

/// What the kernel does by a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// About what: never a part that has further parts.
    #[serde(serialize_with = "part_json")]
    pub part: Part,
    /// Whether violations are refused or recorded; `None` when the document leaves the part free.
    #[serde(serialize_with = "optional_mode_json")]
    pub mode: Option<Mode>,
    /// The hooks whose programs judge, as `ringfence doctor` names them; none when it is free.
    pub hooks: Vec<&'static str>,
}

fn who_json<S: Serializer>(coverage: &Coverage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(coverage.who())
}

/// Items of a list that are shown one by one. The fields of a longer list's items, and of a list
/// within a list, are put together: who has many rules wants to know what they are about.
const MAX_ITEMS: usize = 16;

/// The fields that a document sets, in the order of the document. None when `source` is not the
/// text that the document was read from.
pub fn fields(source: &Source, document: &Document) -> Vec<FieldRow> {
    let Some(root) = document::read(source, &mut Vec::new()) else { return Vec::new() };
    let mut reader = Reader { document, rows: Vec::new() };
    let start = Path { shown: String::new(), declared: String::new(), is_in_list: false };
    reader.mapping(&start, document.dialect.shape().properties(), &[&root], None);
    reader.rows.sort_by_key(|row| (row.place.line, row.place.column));
    reader.rows
}

struct Reader<'a> {
    document: &'a Document,
    rows: Vec<FieldRow>,
}

/// The keys that lead to nodes.
#[derive(Clone)]
struct Path {
    /// As it is shown, perhaps with the number of an item.
    shown: String,
    /// With `[]` for every list.
    declared: String,
    is_in_list: bool,
}

impl Path {
    fn key(&self, name: &str) -> Self {
        let join = |path: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self { shown: join(&self.shown), declared: join(&self.declared), ..*self }
    }

    fn item(&self, number: Option<usize>) -> Self {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        Self {
            shown: format!("{}[{number}]", self.shown),
            declared: format!("{}[]", self.declared),
            is_in_list: true,
        }
    }
}

impl Reader<'_> {
    /// Reads the fields of mappings that stand at the same path. `group` is who acts on the group
    /// of rules that they are.
    fn mapping(
        &mut self,
        path: &Path,
        fields: &'static [Property],
        mappings: &[&Node],
        group: Option<Coverage>,
    ) {
        for field in fields {
            let set: Vec<&Entry> =
                mappings.iter().filter_map(|mapping| mapping.entry(field.name)).collect();
            let Some(first) = set.first() else { continue };
            let path = path.key(field.name);
            let coverage = field.coverage_in(group);
            let parent = if let [one] = mappings { Some(*one) } else { None };
            self.rows.push(self.row(&path, field.doc, coverage, first, set.len(), parent));
            let values: Vec<&Node> = set.iter().map(|entry| &entry.value).collect();
            self.inside(&path, field.shape, &values, coverage);
        }
    }

    fn inside(&mut self, path: &Path, shape: Shape, nodes: &[&Node], coverage: Coverage) {
        match shape {
            Shape::Mapping(fields) => self.mapping(path, fields, nodes, None),
            Shape::Dependent(inner, _) => self.inside(path, *inner, nodes, coverage),
            Shape::List(item) => self.list(path, *item, nodes, coverage),
            Shape::Group(item) => {
                self.mapping(path, GROUP, nodes, Some(coverage));
                self.list(path, *item, nodes, coverage);
                let rules: Vec<&Node> = nodes.iter().filter_map(|node| node.get("rules")).collect();
                self.list(&path.key("rules"), *item, &rules, coverage);
            }
            _ => {}
        }
    }

    fn list(&mut self, path: &Path, item: Shape, lists: &[&Node], coverage: Coverage) {
        if item.properties().is_empty() {
            return;
        }
        let items: Vec<&Node> = lists.iter().flat_map(|list| list.items()).collect();
        if path.is_in_list || items.len() > MAX_ITEMS {
            return self.inside(&path.item(None), item, &items, coverage);
        }
        for (number, node) in items.into_iter().enumerate() {
            self.inside(&path.item(Some(number)), item, &[node], coverage);
        }
    }

    fn row(
        &self,
        path: &Path,
        doc: &str,
        coverage: Coverage,
        first: &Entry,
        count: usize,
        parent: Option<&Node>,
    ) -> FieldRow {
        let mut row = FieldRow {
            path: path.shown.clone(),
            place: first.key.span.place.clone(),
            count,
            value: short(&first.value),
            coverage,
            acts: Vec::new(),
            left: None,
            has_effect: true,
            remark: None,
            meaning: meaning(doc),
        };
        match coverage {
            Coverage::Kernel(part) => self.add_acts(&mut row, path, part, parent),
            Coverage::Shared(part, left) => {
                row.left = Some(left);
                self.add_acts(&mut row, path, part, parent);
            }
            Coverage::Unenforced(why) => {
                row.has_effect = false;
                row.remark = Some(why.to_owned());
            }
            Coverage::Language | Coverage::Fields | Coverage::Service | Coverage::Record => {}
        }
        row
    }

    fn add_acts(&self, row: &mut FieldRow, path: &Path, part: Part, parent: Option<&Node>) {
        let note = document_notes::note(self.document, &path.declared, parent);
        row.acts = acts(note.part.unwrap_or(part), &self.document.boundary);
        // What is left are tools that the kernel does not know, and it knows this one.
        row.left = row.left.filter(|_| note.part.is_none());
        let is_idle = row.acts.iter().all(|act| act.mode.is_none()) && !note.sets_free;
        if let Some(why) = note.no_effect {
            (row.has_effect, row.remark) = (false, Some(why));
            row.acts.clear();
        } else if is_idle {
            let parts: Vec<&str> = row.acts.iter().map(|act| act.part.title()).collect();
            let parts = match parts.as_slice() {
                [] => "files, programs and destinations".to_owned(),
                parts => parts.join(" and "),
            };
            let why = format!("{parts} are not governed by this document");
            (row.has_effect, row.remark) = (false, Some(why));
            row.acts.clear();
        } else {
            row.remark = note.remark;
        }
    }
}

/// What the kernel does about a part by this boundary.
fn acts(part: Part, boundary: &Boundary) -> Vec<Act> {
    let is_all = part == Part::All;
    let mut acts = Vec::new();
    for part in part.parts() {
        let mode = mode_of(*part, boundary);
        let later = mode_of(Part::LaterPrograms, boundary);
        match part {
            // SecAI governs programs by refusing all but the first.
            Part::Programs if mode.is_none() && later.is_some() => {
                acts.extend((!is_all).then(|| act(Part::LaterPrograms, later)));
            }
            _ if is_all && mode.is_none() => {}
            part => acts.push(act(*part, mode)),
        }
    }
    acts
}

fn act(part: Part, mode: Option<Mode>) -> Act {
    Act { part, mode, hooks: if mode.is_some() { part.hooks() } else { Vec::new() } }
}

/// The mode in which a boundary governs a part; `None` when it does not.
pub(super) fn mode_of(part: Part, boundary: &Boundary) -> Option<Mode> {
    let over = |rights: Rights| {
        let groups = boundary.path_groups.iter();
        let modes = groups
            .filter(|group| !group.rights.common(rights).is_empty())
            .map(|group| group.mode)
            .collect::<Vec<_>>();
        let enforces = modes.contains(&Mode::Enforce);
        modes.first().map(|_| if enforces { Mode::Enforce } else { Mode::Observe })
    };
    match part {
        Part::Files => over(Rights::FILES),
        Part::Programs => over(Rights::EXEC),
        Part::Paths => over(Rights::FILES.and(Rights::EXEC)),
        Part::LaterPrograms => boundary.no_exec_after_start.as_ref().map(|(mode, _)| *mode),
        Part::AnonymousCode => boundary.no_anonymous_code.as_ref().map(|(mode, _)| *mode),
        Part::Rings => boundary.io_uring.as_ref().and_then(|rings| rings.refused),
        Part::Destinations => boundary.egress.as_ref().map(|egress| egress.mode),
        Part::Serving => boundary.listen.as_ref().map(|listen| listen.mode),
        Part::Sockets => over(Rights::SOCKET),
        Part::Budgets => (!boundary.budgets.limits.is_empty()).then_some(boundary.budgets.mode),
        Part::All => None,
    }
}

/// A value in short, harmless to a terminal.
fn short(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(number) => cut(&number.text),
        Value::Text(text) => cut(text),
        Value::List(items) => {
            let shown: Vec<&str> = items.iter().take(MAX_ITEMS).map_while(scalar).collect();
            match (items.len(), shown.as_slice()) {
                (0, _) => "no items".to_owned(),
                (_, []) => counted(items.len(), "item", "items"),
                (count, shown) => {
                    cut(&format!("{}: {}", counted(count, "item", "items"), shown.join(", ")))
                }
            }
        }
        Value::Mapping(entries) => counted(entries.len(), "key", "keys"),
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Number(number) => Some(&number.text),
        Value::Boolean(_) | Value::Null | Value::List(_) | Value::Mapping(_) => None,
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Text that is no longer than a column of a table.
fn cut(text: &str) -> String {
    const LONGEST: usize = 40;
    let Some((end, _)) = text.char_indices().nth(LONGEST) else { return visible(text) };
    let before = text[..end].char_indices().last().map_or(0, |(at, _)| at);
    format!("{}…", visible(&text[..before]))
}
