//! What the resolver needs from whoever runs it: the policy, the table of addresses, the log.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::rr::RecordType;
use ringfence_common::{Verdict, egress::Protocol};
use ringfence_policy::{Place, hosts::HostDecision};

/// The policy that is in force at the moment of the call.
///
/// It may change from one call to the next: a question is judged anew when its answer comes.
pub trait Gate: Send + Sync + 'static {
    /// What an address is given that a name led to: ports, verdicts, rules. The resolver only
    /// carries it from here to [`Install`], so the policy's generation can be put in.
    type Grants: Send;

    /// Whether a name may be asked for. `name` is in lower case without the last dot, and holds
    /// letters, digits, `-`, `_` and the dots between labels only; the root is empty.
    fn ask(&self, name: &str) -> HostDecision;

    /// What the name's rules give to an address; `None` if nothing, and then the process is not
    /// told the address. `address` is as the answer has it: `ringfence_common::Address` is its
    /// one form (NAT64 is the IPv4 address inside).
    fn grants(&self, name: &str, address: IpAddr) -> Option<Self::Grants>;

    /// What becomes of a special-use address that a name led to: `Allow` where a rule lists the
    /// address itself, else what a refusal is in the policy's mode. `Deny` drops it.
    fn special(&self, name: &str, address: IpAddr) -> Verdict;
}

/// The table by which the kernel decides.
pub trait Install: Gate {
    /// Makes the addresses reachable for `lifetime` from now on, on the clock that the kernel
    /// programs use, all or none. An entry that lives longer already keeps its time. Returns when
    /// a connection to each would be let through: the process is told next.
    ///
    /// # Errors
    ///
    /// When one of them is not in the table; nothing is answered then.
    fn install(
        &self,
        name: &str,
        addresses: &[(IpAddr, Self::Grants)],
        lifetime: Duration,
    ) -> Result<(), NotInstalled>;
}

/// Why addresses are not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInstalled {
    /// There is no room.
    Full,
    /// The grants are of a policy that is no longer in force; they are asked for again.
    Stale,
    /// Anything else.
    Failed,
}

/// Where decisions are told: the log and the metrics.
pub trait Tell: Send + Sync + 'static {
    /// Takes one decision, of which there is one for each question that could be read, and one
    /// for each special-use address in an answer. A process makes as many as it likes: must not
    /// block.
    fn tell(&self, decision: &Decision<'_>);
}

/// A decision about a name: the event's action is `resolve`.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// Who asked.
    pub client: Client,
    /// The name, as [`Gate::ask`] gets it; other bytes are escaped as `\xNN`.
    pub host: &'a str,
    /// The type of record asked for.
    pub record: RecordType,
    /// The address that the decision is about, if about one.
    pub address: Option<IpAddr>,
    /// What happens.
    pub verdict: Verdict,
    /// Why it is not simply answered.
    pub reason: Option<Reason>,
    /// The rule that decides, or the list that holds none.
    pub place: Option<&'a Place>,
    /// Since the question was read.
    pub elapsed: Duration,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The network namespace of its socket, as who serves there calls it.
    pub network: u64,
    /// The socket that the question came from.
    pub address: SocketAddr,
    /// By which way it came.
    pub protocol: Protocol,
    /// The server that the process named.
    pub original: SocketAddr,
}

/// Why a question is not simply answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No rule is about the name, or one denies it.
    UnlistedName,
    /// Records of the type are not forwarded.
    UnlistedType,
    /// An address in the answer is for special use, and no rule lists it.
    SpecialAddress,
    /// More distinct names in a minute than may be asked for.
    TooManyNames,
    /// More questions at a time than may wait for an answer.
    TooManyQueries,
    /// The table of addresses has no room.
    TableFull,
    /// The table of addresses could not be written.
    NotInstalled,
    /// No server gave an answer that can be believed.
    NoAnswer,
}

impl Reason {
    /// The code in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnlistedName => "unlisted_name",
            Self::UnlistedType => "unlisted_type",
            Self::SpecialAddress => "special_address",
            Self::TooManyNames => "too_many_names",
            Self::TooManyQueries => "too_many_queries",
            Self::TableFull => "table_full",
            Self::NotInstalled => "not_installed",
            Self::NoAnswer => "no_answer",
        }
    }
}
