//! Which pods and containers a policy is meant for.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};

use super::Pod;

/// Chooses pods and containers. All that it names must fit.
#[derive(Clone, Debug)]
pub struct Selector {
    namespace: Option<GlobMatcher>,
    labels: BTreeMap<String, String>,
    container: Option<GlobMatcher>,
}

/// What a selector says of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is meant.
    Yes,
    /// It is not meant.
    No,
    /// The pod is meant, and the selector asks for the container's name, which is not known (yet).
    Unknown,
}

/// Why there is no such selector.
#[derive(Debug, thiserror::Error)]
pub enum BadSelector {
    /// It would choose every pod.
    #[error("chooses every pod: name at least one of `namespace`, `labels` and `container`")]
    Empty,
    /// A pattern cannot be read.
    #[error("`{key}`: {error}")]
    Glob {
        /// The key that the pattern is the value of.
        key: &'static str,
        /// What is wrong with it.
        error: globset::Error,
    },
}

impl Selector {
    /// A selector by globs for the namespace and for the container's name, and by labels that must
    /// be there with these values.
    ///
    /// # Errors
    ///
    /// When it names nothing, or a glob cannot be read.
    pub fn new(
        namespace: Option<&str>,
        labels: BTreeMap<String, String>,
        container: Option<&str>,
    ) -> Result<Self, BadSelector> {
        if namespace.is_none() && labels.is_empty() && container.is_none() {
            return Err(BadSelector::Empty);
        }
        let namespace = namespace.map(|pattern| glob("namespace", pattern)).transpose()?;
        let container = container.map(|pattern| glob("container", pattern)).transpose()?;
        Ok(Self { namespace, labels, container })
    }

    /// Whether a container of the pod is meant; `None` stands for a container whose name is not
    /// known.
    pub fn answer(&self, pod: &Pod, container: Option<&str>) -> Answer {
        let is_namespace = self.namespace.as_ref().is_none_or(|glob| glob.is_match(&pod.namespace));
        let has = |(key, value): (&String, &String)| pod.labels.get(key) == Some(value);
        if !is_namespace || !self.labels.iter().all(has) {
            return Answer::No;
        }
        match (&self.container, container) {
            (None, _) => Answer::Yes,
            (Some(_), None) => Answer::Unknown,
            (Some(glob), Some(name)) if glob.is_match(name) => Answer::Yes,
            (Some(_), Some(_)) => Answer::No,
        }
    }
}

fn glob(key: &'static str, pattern: &str) -> Result<GlobMatcher, BadSelector> {
    let mut builder = GlobBuilder::new(pattern);
    // As globs of paths are read elsewhere; names have no `/`.
    builder.literal_separator(true).backslash_escape(true);
    let glob = builder.build().map_err(|error| BadSelector::Glob { key, error })?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::testing::pod;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn all_that_a_selector_names_must_fit() {
        let mut pod = pod(1, "coder-0");
        pod.namespace = "agents-eu".into();
        pod.labels = labels(&[("app", "coder"), ("tier", "1")]);
        let both = [("app", "coder"), ("tier", "1")];
        let table: [(_, &[_], _, _); 13] = [
            (Some("agents-eu"), &[], None, Answer::Yes),
            (Some("agents-*"), &[], None, Answer::Yes),
            (Some("agents"), &[], None, Answer::No),
            (Some("{agents,tools}-??"), &[], None, Answer::Yes),
            (None, &[("app", "coder")], None, Answer::Yes),
            (None, &both, None, Answer::Yes),
            (None, &[("app", "coder"), ("tier", "2")], None, Answer::No),
            (None, &[("app", "*")], None, Answer::No),
            (None, &[("owner", "")], None, Answer::No),
            (None, &[], Some("main"), Answer::Yes),
            (None, &[], Some("m*"), Answer::Yes),
            (None, &[], Some("side"), Answer::No),
            (Some("other"), &both, Some("main"), Answer::No),
        ];
        for (namespace, pairs, container, expected) in table {
            let selector = Selector::new(namespace, labels(pairs), container).unwrap();
            let answer = selector.answer(&pod, Some("main"));
            assert_eq!(answer, expected, "{namespace:?} {pairs:?} {container:?}");
        }
    }

    #[test]
    fn a_container_whose_name_is_not_known_is_neither_meant_nor_not_meant() {
        let pod = pod(1, "coder-0");
        let selector =
            |namespace, container| Selector::new(namespace, BTreeMap::new(), container).unwrap();
        assert_eq!(selector(None, Some("*")).answer(&pod, None), Answer::Unknown);
        assert_eq!(selector(Some("other"), Some("*")).answer(&pod, None), Answer::No);
        assert_eq!(selector(Some("agents"), None).answer(&pod, None), Answer::Yes);
    }

    #[test]
    fn a_selector_that_names_nothing_or_cannot_be_read_is_refused() {
        let error = Selector::new(None, BTreeMap::new(), None).unwrap_err();
        assert!(error.to_string().contains("every pod"), "{error}");
        let error = Selector::new(Some("a["), BTreeMap::new(), None).unwrap_err();
        assert!(error.to_string().starts_with("`namespace`: "), "{error}");
        let error = Selector::new(None, BTreeMap::new(), Some("{a")).unwrap_err();
        assert!(error.to_string().starts_with("`container`: "), "{error}");
    }
}
