//! Pods from a file, where there is no API server to ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_yaml::Spanned;

use super::{ContainerId, Pod, PodUid, Pods};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Why a file of pods is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system call's error.
        error: io::Error,
    },
    /// It says something that is not a list of pods.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Where in the file, from 1; 0 when it is not known.
        line: u64,
        /// Where in the line, in characters from 1; 0 when it is not known.
        column: u64,
        /// What is wrong.
        message: String,
    },
}

/// Reads a file of pods:
///
/// ```yaml
/// pods:
///   - uid: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
///     namespace: agents
///     name: coder-0
///     labels: { app: coder }    # optional
///     annotations: {}           # optional
///     containers: { main: <64 hexadecimal digits, or nothing> }   # optional
/// ```
///
/// # Errors
///
/// When the file cannot be read, is larger than 4 MiB, or is not of this form: nothing is half read.
pub fn read(path: &Path) -> Result<Pods, FileError> {
    let text = text(path).map_err(|error| FileError::Read { path: path.into(), error })?;
    parse(&text).map_err(|(line, column, message)| FileError::Text {
        path: path.into(),
        line,
        column,
        message,
    })
}

fn text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    // Others, such as pipes, may never end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    pods: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    uid: Spanned<PodUid>,
    namespace: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    containers: BTreeMap<String, Option<ContainerId>>,
}

/// Line, column and what is wrong there.
type Wrong = (u64, u64, String);

fn parse(text: &str) -> Result<Pods, Wrong> {
    let document: Document = serde_yaml::from_str(text).map_err(|error| {
        let place = error.location();
        let (line, column) = place.map_or((0, 0), |place| (place.line(), place.column()));
        let mut message = error.without_snippet().to_string();
        // The place stands before the message already.
        if let Some(end) = message.find(&format!(" at line {line}, column {column}")) {
            message.truncate(end);
        }
        (line, column, message)
    })?;
    let mut places = BTreeMap::new();
    let mut pods = Vec::new();
    let mut containers = BTreeSet::new();
    for Listed { uid, namespace, name, labels, annotations, containers: own } in document.pods {
        let place = (uid.referenced.line(), uid.referenced.column());
        let wrong = |message| Err((place.0, place.1, message));
        let uid = uid.value;
        if places.insert(uid, place).is_some() {
            return wrong(format!("the uid {uid} is there twice"));
        }
        if let Some(id) = own.values().flatten().find(|id| !containers.insert(**id)) {
            return wrong(format!("the container {id} is there twice"));
        }
        pods.push(Pod { uid, namespace, name, labels, annotations, containers: own });
    }
    Pods::fixed(pods).map_err(|(uid, why)| {
        let (line, column) = places.get(&uid).copied().unwrap_or_default();
        (line, column, why.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::testing::{id, uid};

    const POD: &str = "\
pods:
  - uid: 1b4e28ba-2fa1-11d2-883f-000000000001
    namespace: agents
    name: coder-0
    labels: { app: coder }
    annotations: { ringfence.dev/policy: coder }
    containers:
      main: \"000000000000000000000000000000000000000000000000000000000000000b\"
      side:
  - { uid: 0123456789abcdef0123456789abcdef, namespace: kube-system, name: proxy }
";

    #[test]
    fn a_list_of_pods_is_read() {
        let pods = parse(POD).unwrap();
        let pod = pods.get(uid(1)).unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("agents", "coder-0"));
        assert_eq!(pod.labels.get("app").map(String::as_str), Some("coder"));
        assert_eq!(pod.policy(), Ok(Some("coder")));
        assert_eq!(pod.containers.get("side"), Some(&None));
        assert_eq!(pods.by_container(id(11)).unwrap().1, "main");
        let uid: PodUid = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(pods.get(uid).unwrap().name, "proxy");
        assert!(pods.health().is_ready);
        assert_eq!(parse("pods: []").unwrap().health().pods, 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let twice =
            POD.replace("0123456789abcdef0123456789abcdef", "1b4e28ba-2fa1-11d2-883f-000000000001");
        let same = POD.replace(
            "side:",
            "side: \"000000000000000000000000000000000000000000000000000000000000000b\"",
        );
        let large =
            POD.replace("coder }\n    anno", &format!("{} }}\n    anno", "x".repeat(20_000)));
        let table = [
            (POD.replace("-883f-", "-883g-"), 2, 10, "not the uid of a pod"),
            (POD.replace("0000b\"", "0000B\""), 8, 13, "not the identifier of a container"),
            (POD.replace("name: coder-0", "nome: coder-0"), 4, 5, "nome"),
            (POD.replace("    name: coder-0\n", ""), 6, 5, "missing field `name`"),
            (POD.replace("{ app: coder }", "7"), 5, 13, "expected"),
            (twice, 10, 12, "there twice"),
            (same, 2, 10, "there twice"),
            (large, 2, 10, "more than 16384 bytes"),
            ("pods: [".to_owned(), 1, 7, ""),
        ];
        for (text, line, column, message) in table {
            let wrong = parse(&text).map(|_| ()).unwrap_err();
            assert_eq!((wrong.0, wrong.1), (line, column), "{wrong:?}");
            assert!(wrong.2.contains(message), "{wrong:?}");
        }
        assert!(parse("").is_err());
        assert!(parse("pods:\n  - &a [*a]").is_err());
    }

    #[test]
    fn a_file_is_read_unless_it_is_too_large_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pods.yaml");
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("pods.yaml: No such file"), "{error}");
        std::fs::write(&path, POD).unwrap();
        assert_eq!(read(&path).unwrap().health().pods, 2);
        std::fs::write(&path, POD.replace("-883f-", "-883g-")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("pods.yaml:2:10: "), "{error}");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.ends_with("larger than 4 MiB"), "{error}");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("not a regular file"), "{error}");
    }
}
