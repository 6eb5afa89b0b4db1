//! Reads the kernel's BTF (`/sys/kernel/btf/vmlinux`): where structures keep their members, and
//! the identifiers of functions and types. Format: the kernel's `Documentation/bpf/btf.rst`.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

/// Why BTF could not be read, or a question to it not be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum BtfError {
    /// The bytes are not BTF, or contradict themselves.
    #[error("malformed BTF: {0}")]
    Malformed(&'static str),
    /// The kernel has no such structure.
    #[error("the kernel has no `struct {0}`")]
    NoStructure(String),
    /// The structure has no such member.
    #[error("`struct {structure}` has no member `{member}`")]
    NoMember {
        /// The structure.
        structure: String,
        /// The member, as a dotted path.
        member: String,
    },
    /// The member begins inside a byte.
    #[error("`{0}` is a bit field")]
    BitField(String),
}

const MAGIC: u16 = 0xeb9f;
/// Members of members that are followed; the kernel nests no deeper.
const MAX_DEPTH: usize = 16;

/// The kinds of type that questions are asked about.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// One type: two of its first three words, and where what follows them is.
#[derive(Clone, Copy, Debug)]
struct Type {
    info: u32,
    size_or_type: u32,
    rest: usize,
}

impl Type {
    const fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    const fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }
}

/// The types of one BTF section.
#[derive(Debug)]
pub(crate) struct Btf {
    data: Vec<u8>,
    strings: usize,
    types: Vec<Type>,
    structures: HashMap<Vec<u8>, u32>,
    functions: HashMap<Vec<u8>, u32>,
    variables: HashSet<Vec<u8>>,
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl Btf {
    /// Reads a whole BTF section.
    ///
    /// # Errors
    ///
    /// [`BtfError::Malformed`] when a header, type or name lies outside the bytes.
    pub(crate) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = BtfError::Malformed;
        let header = |at| word(&data, at).ok_or(malformed("the header is cut")).map(|w| w as usize);
        if header(0)? as u16 != MAGIC {
            return Err(malformed("the magic number is wrong"));
        }
        let start = header(4)?;
        let types = start.checked_add(header(8)?).ok_or(malformed("an offset overflows"))?;
        let end = types.checked_add(header(12)?).ok_or(malformed("an offset overflows"))?;
        let strings = start.checked_add(header(16)?).ok_or(malformed("an offset overflows"))?;
        if end > data.len() || strings > data.len() {
            return Err(malformed("a section lies outside the data"));
        }
        // Type 0 is void.
        let void = Type { info: 0, size_or_type: 0, rest: 0 };
        let mut this = Self {
            types: vec![void],
            structures: HashMap::new(),
            functions: HashMap::new(),
            variables: HashSet::new(),
            strings,
            data,
        };
        let mut at = types;
        while at < end {
            at = this.add(at)?;
        }
        Ok(this)
    }

    /// Reads the type at an offset and returns the offset of the next.
    fn add(&mut self, at: usize) -> Result<usize, BtfError> {
        let cut = BtfError::Malformed("a type is cut");
        let [name, info, size_or_type] = [0, 4, 8].map(|i| word(&self.data, at + i));
        let (Some(name), Some(info), Some(size_or_type)) = (name, info, size_or_type) else {
            return Err(cut);
        };
        let rest = at + 12;
        let this = Type { info, size_or_type, rest };
        let length = match this.kind() {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * this.count(),
            kind::ENUM | kind::FUNC_PROTO => 8 * this.count(),
            kind if kind == 0 || kind > kind::ENUM64 => {
                return Err(BtfError::Malformed("a type is of an unknown kind"));
            }
            _ => 0,
        };
        let next = rest + length;
        if next > self.data.len() {
            return Err(cut);
        }
        let id = self.types.len() as u32;
        let name = self.name(name).to_vec();
        if !name.is_empty() {
            match this.kind() {
                // The first of a name wins, as in the kernel's own lookups.
                kind::STRUCT => _ = self.structures.entry(name).or_insert(id),
                kind::FUNC => _ = self.functions.entry(name).or_insert(id),
                kind::VAR => _ = self.variables.insert(name),
                _ => {}
            }
        }
        self.types.push(this);
        Ok(next)
    }

    fn name(&self, offset: u32) -> &[u8] {
        let from = self.strings.saturating_add(offset as usize);
        let rest = self.data.get(from..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The identifier of a function, if the kernel has it.
    pub(crate) fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name.as_bytes()).copied()
    }

    /// How many parameters a function has, if the kernel has it.
    pub(crate) fn parameters(&self, name: &str) -> Option<usize> {
        let function = self.types.get(self.function(name)? as usize)?;
        let prototype = self.types.get(function.size_or_type as usize)?;
        (prototype.kind() == kind::FUNC_PROTO).then(|| prototype.count())
    }

    /// Whether the kernel describes a variable of this name: those that each CPU has.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.variables.contains(name.as_bytes())
    }

    /// The identifier of a structure, if the kernel has it.
    pub(crate) fn structure(&self, name: &str) -> Option<u32> {
        self.structures.get(name.as_bytes()).copied()
    }

    /// The offset in bytes of a member; a dotted path leads through members of members, and
    /// anonymous structures and unions are looked into.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoStructure`], [`BtfError::NoMember`], or [`BtfError::BitField`].
    pub(crate) fn offset(&self, structure: &str, member: &str) -> Result<u32, BtfError> {
        let mut id =
            self.structure(structure).ok_or_else(|| BtfError::NoStructure(structure.to_owned()))?;
        let mut bits = 0_u32;
        for name in member.split('.') {
            let (offset, of_type) = self.member(id, name.as_bytes(), 0).ok_or_else(|| {
                BtfError::NoMember { structure: structure.to_owned(), member: member.to_owned() }
            })?;
            bits = bits.wrapping_add(offset);
            id = of_type;
        }
        if bits.is_multiple_of(8) {
            Ok(bits / 8)
        } else {
            Err(BtfError::BitField(format!("{structure}.{member}")))
        }
    }

    /// A member's offset in bits and its type.
    fn member(&self, id: u32, name: &[u8], depth: usize) -> Option<(u32, u32)> {
        let (_, this) = self.resolve(id)?;
        if depth > MAX_DEPTH || !matches!(this.kind(), kind::STRUCT | kind::UNION) {
            return None;
        }
        (0..this.count()).find_map(|i| {
            let at = this.rest + 12 * i;
            let (own, of_type) = (word(&self.data, at)?, word(&self.data, at + 4)?);
            let mut offset = word(&self.data, at + 8)?;
            if this.has_bit_fields() {
                offset &= 0x00ff_ffff;
            }
            let own = self.name(own);
            if own == name {
                Some((offset, of_type))
            } else if own.is_empty() {
                let (inner, found) = self.member(of_type, name, depth + 1)?;
                Some((offset.checked_add(inner)?, found))
            } else {
                None
            }
        })
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<(u32, Type)> {
        for _ in 0..MAX_DEPTH {
            let this = *self.types.get(id as usize)?;
            match this.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = this.size_or_type;
                }
                _ => return Some((id, this)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes BTF: `struct outer { int a; union { struct inner { int x; int y; } b; }; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0inner\0x\0y\0int\0alias\0do_it\0";
        let name = |text: &str| {
            strings.windows(text.len()).position(|w| w == text.as_bytes()).unwrap() as u32
        };
        let info = |kind: u32, count: u32| (kind << 24) | count;
        let mut words = vec![];
        words.extend([name("int"), info(kind::INT, 0), 4, 32]); // 1
        words.extend([name("inner"), info(kind::STRUCT, 2), 8]); // 2
        words.extend([name("x\0"), 1, 0, name("y\0"), 1, 32]);
        words.extend([name("alias"), info(kind::TYPEDEF, 0), 2]); // 3
        words.extend([0, info(kind::UNION, 1), 8, name("b\0"), 3, 0]); // 4
        words.extend([name("outer"), info(kind::STRUCT, 2), 16]); // 5
        words.extend([name("a\0"), 1, 0, 0, 4, 64]);
        words.extend([0, info(kind::FUNC_PROTO, 1), 0, name("x\0"), 1]); // 6
        words.extend([name("do_it"), info(kind::FUNC, 0), 6]); // 7
        let types: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut data = vec![0x9f, 0xeb, 1, 0];
        for number in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            data.extend(number.to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_typedefs() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("outer", "a"), Ok(0));
        assert_eq!(btf.offset("outer", "b"), Ok(8));
        assert_eq!(btf.offset("outer", "b.y"), Ok(12));
        assert_eq!((btf.function("do_it"), btf.structure("outer")), (Some(7), Some(5)));
        assert_eq!((btf.parameters("do_it"), btf.parameters("outer")), (Some(1), None));
        assert!(matches!(btf.offset("outer", "c"), Err(BtfError::NoMember { .. })));
        assert!(matches!(btf.offset("none", "c"), Err(BtfError::NoStructure(_))));
    }

    #[test]
    fn cut_data_is_refused_and_never_panics() {
        let whole = sample();
        for length in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..length].to_vec()) {
                let _ = btf.offset("outer", "b.y");
            }
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(btf) = Btf::parse(changed) {
                    let _ = btf.offset("outer", "b.y");
                }
            }
        }
    }
}
