//! The keys of the configuration, as they are written.

use crate::{
    boundary_document::ModeWord,
    coverage::Coverage::{Fields, Language},
    document::{Key, Node, Spanned, Value},
    model::{Model, Scalar, model, words},
    schema::{
        Form,
        Shape::{self, Dependent, List, NonEmptyText, Whole},
    },
};

const NAME: Shape = Shape::Form(&Form {
    name: "a name",
    example: "coder",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"}"#,
});
const CGROUP: Shape = Shape::Form(&Form {
    name: "the path of a control group, or a pattern of paths",
    example: "/machine.slice/coder-*.scope",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^/."}"#,
});
const UNIT: Shape = Shape::Form(&Form {
    name: "the name of a systemd unit, or a pattern of names",
    example: "coder-*.service",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^[^/]+$"}"#,
});
const PROGRAM: Shape = Shape::Form(&Form {
    name: "the path of a program, or a pattern of paths",
    example: "/opt/agent/bin/agent",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^/."}"#,
});
const NAMESPACE: Shape = Shape::Form(&Form {
    name: "a name, or a pattern of names",
    example: "agents",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^[^/]+$"}"#,
});
const CONTAINER: Shape = Shape::Form(&Form {
    name: "a name, or a pattern of names",
    example: "main",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^[^/]+$"}"#,
});
const PATH: Shape = Shape::Form(&Form {
    name: "an absolute path",
    example: "/run/ringfence/control.sock",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^/."}"#,
});
const EVENTS: Shape = Shape::Form(&Form {
    name: "the path of a folder, or `-`",
    example: "/var/log/ringfence",
    takes_numbers: false,
    json: r#"{"type": "string", "pattern": "^(/.|-$)"}"#,
});
const METRICS: Shape = Shape::Form(&Form {
    name: "an address on loopback with a port, or the path of a Unix socket",
    example: "127.0.0.1:9464",
    takes_numbers: true,
    json: r#"{"type": "string", "pattern": "^(/.|127\\.|\\[).*$"}"#,
});
const POD_SOURCE: Shape = Dependent(
    &Shape::Any,
    r#"{"anyOf": [{"const": "kubernetes"},
                  {"type": "object", "required": ["file"], "additionalProperties": false,
                   "properties": {"file": {"type": "string", "minLength": 1}}}]}"#,
);
const SELECTOR: Shape = Dependent(
    &SelectorKeys::SHAPE,
    r#"{"oneOf": [{"required": ["cgroup"]}, {"required": ["unit"]}, {"required": ["exe"]},
                  {"required": ["pod"]}]}"#,
);
const POD: Shape = Dependent(&PodKeys::SHAPE, r#"{"minProperties": 1}"#);
const SCOPES: Shape = Dependent(&List(&ScopeKeys::SHAPE), r#"{"minItems": 1}"#);
const POLICIES: Shape = Dependent(&List(&NonEmptyText), r#"{"minItems": 1}"#);
const SELECTORS: Shape = Dependent(&List(&SELECTOR), r#"{"minItems": 1}"#);

model! {
    /// The configuration.
    pub struct Document {
        /// Version of the format: 1.
        required agent: u64 [Whole(1.0, 1.0)] => Language,
        /// The scopes, at least one. A process that several select belongs to the first of them.
        required scopes: Vec<Spanned<ScopeKeys>> [SCOPES] => Fields,
        /// Where the agent learns which containers belong to which pod. Needed when a scope
        /// selects pods; without it the agent knows of none.
        optional pods: PodsKeys => Fields,
        /// A folder, in which events are written to a file a day, or `-` for the standard output.
        /// Default: events are not written.
        optional events: String [EVENTS] => Language,
        /// The Unix socket by which the agent is asked what it does. Default:
        /// `/run/ringfence/control.sock`.
        optional control: String [PATH] => Language,
        /// Where metrics are served: an address on loopback with its port, or the absolute path of
        /// a Unix socket. Default: they are not served.
        optional metrics: Scalar [METRICS] => Language,
    }

    /// A scope.
    pub struct ScopeKeys {
        /// Its name: letters, digits, `-`, `_` and `.`, at most 64 and not beginning with a dot. No
        /// other scope has it.
        required name: String [NAME] => Language,
        /// The files of its policies, at least one. Several intersect: an act must be allowed by
        /// each that governs it. A path that is not absolute is relative to the folder of the
        /// configuration.
        required policy: Vec<Spanned<String>> [POLICIES] => Language,
        /// `enforce`: what is not allowed is refused; `observe`: it is let through and recorded.
        /// Default: what the policies say.
        optional mode: ModeWord => Language,
        /// What is answered to who looks up a name that no rule lists: `refused`, or `nxdomain`,
        /// that there is no such name. Default: `refused`.
        optional unlisted_names: UnlistedWord => Language,
        /// Whether the scope may start where the kernel cannot enforce all that its policies say.
        /// Default: `false`.
        optional allow_degraded: bool => Language,
        /// The processes that it governs: at least one selector, and those count that any of them
        /// selects.
        required selectors as "match": Vec<Spanned<SelectorKeys>> [SELECTORS] => Fields,
    }

    /// A selector: one of its keys.
    pub struct SelectorKeys {
        /// Processes in the control groups whose path in the hierarchy of cgroup v2 matches this
        /// glob, and in those below them. It begins with `/`.
        optional cgroup: String [CGROUP] => Language,
        /// Processes of the systemd units whose name matches this glob, in whatever slice.
        optional unit: String [UNIT] => Language,
        /// Processes that execute a program whose path matches this glob, from then on, and what
        /// they start.
        optional exe: String [PROGRAM] => Language,
        /// Processes in the containers of these Kubernetes pods.
        optional pod: PodKeys [POD] => Fields,
    }

    /// Which pods: all keys that are there must hold, and one must be there.
    pub struct PodKeys {
        /// The pod's namespace, as a glob.
        optional namespace: String [NAMESPACE] => Language,
        /// Labels that the pod must have, with these values.
        optional labels: Vec<(Key, Spanned<String>)> => Language,
        /// The container's name in the pod, as a glob. Default: all containers of the pod.
        optional container: String [CONTAINER] => Language,
    }

    /// Where the agent learns of pods.
    pub struct PodsKeys {
        /// `kubernetes`: it is asked; or `{ file: PATH }`: a file that lists pods.
        required source: SourceKeys [POD_SOURCE] => Language,
        /// The name of this node, with `kubernetes`. Default: the variable `NODE_NAME` of the
        /// agent's environment, or else the host's name.
        optional node: String => Language,
        /// A folder of policies that pods choose: a pod that no scope selects, and that has the
        /// annotation `ringfence.dev/policy: NAME`, is governed by the file `NAME.yaml` in it.
        /// Default: the annotation has no meaning.
        optional policies: String [NonEmptyText] => Language,
        /// What becomes of a container whose pod is not known yet: `hold`, it cannot start its
        /// first program; or `allow`, it starts and is not governed until it is known. Default:
        /// `hold`.
        optional unidentified: UnidentifiedWord => Language,
    }
}

words! {
    /// The answer to looking up a name that no rule lists.
    pub enum UnlistedWord {
        /// `REFUSED`.
        Refused = "refused",
        /// `NXDOMAIN`.
        Nxdomain = "nxdomain",
    }

    /// What becomes of a container whose pod is not known yet.
    pub enum UnidentifiedWord {
        /// It cannot start its first program.
        Hold = "hold",
        /// It is not governed until it is known.
        Allow = "allow",
    }
}

/// Where the agent learns of pods, as it is written: a word, or a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceKeys(
    /// The value; what it may be is checked where it is used.
    pub Node,
);

impl Model for SourceKeys {
    const SHAPE: Shape = POD_SOURCE;

    fn read(node: &Node) -> Option<Self> {
        (node.value != Value::Null).then(|| Self(node.clone()))
    }
}
