//! Typed documents: what the fields of a policy language are called, mean and look like, declared
//! in one place each.
//!
//! The checks, the typed values, the JSON schemas, `policy explain` and `docs/coverage.md` all
//! come from these declarations. A document that has errors is read as well, as far as it can be:
//! what is missing or of the wrong type is `None` and has a finding, so that the other findings
//! about the document can be told at once.

use crate::{
    document::{Key, Node, Number, Span, Spanned, Value},
    schema::Shape,
};

/// A type of values in documents.
pub(crate) trait Model: Sized {
    /// What such a value must look like.
    const SHAPE: Shape;

    /// Reads a value; `None` when it is of another type.
    fn read(node: &Node) -> Option<Self>;
}

/// A field that a document sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Where its key is written.
    pub key: Span,
    /// Its value; `None` when it is of another type than it must be.
    pub value: Option<T>,
    /// Where the value is written.
    pub span: Span,
}

#[expect(private_bounds, reason = "values are read by the dialects only")]
impl<T: Model> Field<T> {
    /// The field of a mapping with this name, when it is there.
    pub(crate) fn read(mapping: &Node, name: &str) -> Option<Self> {
        let entry = mapping.entry(name)?;
        let value = T::read(&entry.value);
        Some(Self { key: entry.key.span.clone(), value, span: entry.value.span.clone() })
    }
}

impl<T> Field<Vec<Spanned<T>>> {
    /// The items of the list; none when it is no list.
    pub fn items(&self) -> &[Spanned<T>] {
        self.value.as_deref().unwrap_or_default()
    }

    /// Whether this is a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        self.value.as_ref().is_some_and(Vec::is_empty)
    }
}

/// The value of a field, where it is set.
pub(crate) fn value<T>(field: &Option<Field<T>>) -> Option<&T> {
    field.as_ref()?.value.as_ref()
}

/// The items of a list, where it is set.
pub(crate) fn items<T>(field: &Option<Field<Vec<Spanned<T>>>>) -> &[Spanned<T>] {
    field.as_ref().map_or(&[], Field::items)
}

impl Model for bool {
    const SHAPE: Shape = Shape::Boolean;

    fn read(node: &Node) -> Option<Self> {
        node.boolean()
    }
}

impl Model for String {
    const SHAPE: Shape = Shape::Text;

    fn read(node: &Node) -> Option<Self> {
        node.text().map(str::to_owned)
    }
}

impl Model for f64 {
    const SHAPE: Shape = Shape::Number(Self::NEG_INFINITY, Self::INFINITY);

    fn read(node: &Node) -> Option<Self> {
        if let Value::Number(number) = &node.value { Some(number.value) } else { None }
    }
}

/// A count. What is larger than can be counted is as good as without a limit.
impl Model for u64 {
    const SHAPE: Shape = Shape::Whole(0.0, f64::INFINITY);

    fn read(node: &Node) -> Option<Self> {
        let Value::Number(number) = &node.value else { return None };
        let is_huge = number.value.fract() == 0.0 && number.value > 0.0;
        number.whole().or(is_huge.then_some(Self::MAX))
    }
}

impl<T: Model> Model for Vec<Spanned<T>> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    fn read(node: &Node) -> Option<Self> {
        let Value::List(items) = &node.value else { return None };
        let item = |item: &Node| Some(Spanned { value: T::read(item)?, span: item.span.clone() });
        Some(items.iter().filter_map(item).collect())
    }
}

/// A mapping whose keys are names that the author chooses.
impl<T: Model> Model for Vec<(Key, Spanned<T>)> {
    const SHAPE: Shape = Shape::Record(&T::SHAPE);

    fn read(node: &Node) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else { return None };
        let entry = |entry: &crate::document::Entry| {
            let value = T::read(&entry.value)?;
            Some((entry.key.clone(), Spanned { value, span: entry.value.span.clone() }))
        };
        Some(entries.iter().filter_map(entry).collect())
    }
}

/// A number or a text whose form is checked where it is used.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
}

impl Scalar {
    /// The value, for a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("the number `{}`", number.text),
            Self::Text(text) => format!("the text {}", crate::diagnostic::quoted(text)),
        }
    }
}

impl Model for Scalar {
    const SHAPE: Shape = Shape::Any;

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }
}

/// Declares mappings: each field with whether it must be there, its type, a shape where the type
/// alone does not say enough, and who acts on it.
macro_rules! model {
    ($(
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $need:ident $field:ident $(as $key:literal)? : $kind:ty $([$shape:expr])?
                    => $coverage:expr
            ),* $(,)?
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: Option<$crate::model::Field<$kind>>,)*
        }

        impl $crate::model::Model for $name {
            const SHAPE: $crate::schema::Shape = $crate::schema::Shape::Mapping(&[
                $($crate::schema::Property {
                    name: $crate::model::key!($field $($key)?),
                    shape: $crate::model::shape!($kind $(, $shape)?),
                    is_required: $crate::model::need!($need),
                    doc: concat!($($doc, "\n"),*),
                    coverage: $coverage,
                }),*
            ]);

            fn read(node: &$crate::document::Node) -> Option<Self> {
                if !matches!(node.value, $crate::document::Value::Mapping(_)) {
                    return None;
                }
                Some(Self {
                    $($field: $crate::model::Field::read(
                        node,
                        $crate::model::key!($field $($key)?),
                    ),)*
                })
            }
        }
    )*};
}

/// The name of a field in documents.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// The shape of a field: that of its type, or one of its own.
macro_rules! shape {
    ($kind:ty) => {
        <$kind as $crate::model::Model>::SHAPE
    };
    ($kind:ty, $shape:expr) => {
        $shape
    };
}

macro_rules! need {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

/// Declares types whose values are words.
macro_rules! words {
    ($(
        $(#[doc = $about:literal])*
        pub enum $name:ident {
            $($(#[doc = $doc:literal])* $variant:ident = $word:literal),* $(,)?
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// The word in documents.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::model::Model for $name {
            const SHAPE: $crate::schema::Shape = $crate::schema::Shape::OneOf(&[$($word),*]);

            fn read(node: &$crate::document::Node) -> Option<Self> {
                match node.text()? {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

pub(crate) use {key, model, need, shape, words};
