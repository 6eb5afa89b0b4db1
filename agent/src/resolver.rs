//! The gated resolver: what a governed process asks name servers goes here and nowhere else.
//!
//! A question is judged by the policy before anything leaves. For a name that may be asked for, a
//! trusted server is asked, the answer is checked, its addresses are installed in the kernel's
//! table, and only then the process is answered. So it never knows an address that it could not
//! reach, nor reaches one that it did not ask for by name.
//!
//! Nothing here touches the kernel or reads a policy: [`Gate`], [`Install`], [`Tell`] and
//! [`Originals`] are what whoever runs it must give. One [`Resolver`] is for one scope; [`serve`]
//! may be called several times for it, for the sockets of each address family.

pub mod answer;
mod pace;
pub mod query;
mod reply;
mod server;
mod servers;
mod service;
mod special;
mod traits;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use ringfence_common::Verdict;
use ringfence_policy::Place;
use tokio::sync::OwnedSemaphorePermit;

use answer::{Checked, GRACE};
use pace::Pace;
use query::{Query, Unreadable};
use reply::failure;
use upstream::Upstream;

pub use server::{Originals, serve};
pub use servers::{PORT, SYSTEM_FILE, Servers};
pub use special::is_special;
pub use traits::{Client, Decision, Gate, Install, NotInstalled, Reason, Tell};

/// How often addresses are installed anew when the policy is changed meanwhile.
const INSTALLS: usize = 3;

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Answer NXDOMAIN, not REFUSED, for a name that may not be asked for.
    pub refuse_as_nonexistent: bool,
    /// Domains that short names are tried in, in lower case. A name in one of them that may not be
    /// asked for is answered NXDOMAIN in any case: after REFUSED the libraries would not try the
    /// next domain, or would wait.
    pub search: Vec<String>,
    /// Questions that wait for a server at a time. Each takes a descriptor, and up to about 64 KiB.
    pub outstanding: usize,
    /// Distinct names in a minute that are asked for.
    pub names_per_minute: usize,
    /// TCP connections at a time.
    pub connections: usize,
    /// How long a TCP connection may say nothing.
    pub idle: Duration,
    /// How long one server is waited for.
    pub one_server: Duration,
    /// How long all are waited for. The C library gives up after 5 seconds.
    pub all_servers: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            refuse_as_nonexistent: false,
            search: vec![],
            outstanding: 256,
            names_per_minute: 1_000,
            connections: 64,
            idle: Duration::from_secs(10),
            one_server: Duration::from_millis(1_500),
            all_servers: Duration::from_millis(4_500),
        }
    }
}

/// Answers the questions of one scope.
pub struct Resolver<S> {
    host: S,
    upstream: Upstream,
    pace: Pace,
    options: Options,
    /// Whether who asks for a refused name is told that there is none.
    as_nonexistent: AtomicBool,
}

/// What becomes of a question.
enum Step {
    Ignore,
    Reply(Vec<u8>),
    Ask(Box<Asked>),
}

/// A question that a server is to be asked.
struct Asked {
    query: Query,
    client: Client,
    since: Instant,
    _place: OwnedSemaphorePermit,
}

impl<S: Install + Tell> Resolver<S> {
    /// A resolver that asks these servers only; with none, it answers SERVFAIL. Give those of
    /// [`Servers`], and those that rules list by address with port 53.
    pub fn new(host: S, servers: Vec<SocketAddr>, options: Options) -> Self {
        let servers = RwLock::new(servers.into());
        let upstream = Upstream { servers, one: options.one_server, all: options.all_servers };
        let pace = Pace::new(options.outstanding, options.names_per_minute);
        let as_nonexistent = options.refuse_as_nonexistent.into();
        Self { host, upstream, pace, options, as_nonexistent }
    }

    /// Asks these servers from now on.
    pub fn set_servers(&self, servers: Vec<SocketAddr>) {
        *self.upstream.servers.write().unwrap_or_else(PoisonError::into_inner) = servers.into();
    }

    /// Tells from now on of refused names that they do not exist, or that they are refused.
    pub fn set_refusal(&self, as_nonexistent: bool) {
        self.as_nonexistent.store(as_nonexistent, Ordering::Relaxed);
    }

    /// What it was given to ask and to tell.
    pub const fn host(&self) -> &S {
        &self.host
    }

    /// The message to send back for a message; `None` for none. The addresses in it are installed
    /// when this returns.
    pub async fn answer(&self, bytes: &[u8], client: Client) -> Option<Vec<u8>> {
        match self.judge(bytes, client) {
            Step::Ignore => None,
            Step::Reply(reply) => Some(reply),
            Step::Ask(asked) => Some(self.ask(*asked).await),
        }
    }

    /// Decides whether a server is asked. Nothing has left before.
    fn judge(&self, bytes: &[u8], client: Client) -> Step {
        let since = Instant::now();
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Unreadable::Ignored) => return Step::Ignore,
            Err(Unreadable::Answered(reply)) => return Step::Reply(reply),
        };
        let told = Told { host: &self.host, query: &query, client, since };
        let (verdict, place) = self.rule(&query);
        if verdict == Verdict::Deny {
            return Step::Reply(self.refuse(&told, place.as_ref()));
        }
        let deny = |reason, code| {
            told.tell(Verdict::Deny, Some(reason), None);
            Step::Reply(failure(&query, code))
        };
        if !query.is_forwarded() {
            return deny(Reason::UnlistedType, ResponseCode::Refused);
        }
        let Some(place) = self.pace.wait() else {
            return deny(Reason::TooManyQueries, ResponseCode::ServFail);
        };
        if !self.pace.admits(&query.host, since) {
            return deny(Reason::TooManyNames, ResponseCode::Refused);
        }
        Step::Ask(Box::new(Asked { query, client, since, _place: place }))
    }

    /// Asks, checks, installs, and only then has an answer.
    async fn ask(&self, asked: Asked) -> Vec<u8> {
        let Asked { query, client, since, .. } = &asked;
        let told = Told { host: &self.host, query, client: *client, since: *since };
        let answer = self.upstream.ask(&query.name, query.record, client.original).await;
        let Ok(answer) = answer else {
            return told.fail(Verdict::Allow, Reason::NoAnswer);
        };
        for _ in 0..INSTALLS {
            // The policy may have changed since the question was judged.
            let (verdict, place) = self.rule(query);
            if verdict == Verdict::Deny {
                return self.refuse(&told, place.as_ref());
            }
            let Ok(checked) = answer::check(&answer, query, &self.host) else {
                return told.fail(Verdict::Allow, Reason::NoAnswer);
            };
            match self.install(&told, checked) {
                Ok(reply) => {
                    let reason = (verdict == Verdict::Observe).then_some(Reason::UnlistedName);
                    told.tell(verdict, reason, place.as_ref());
                    return reply;
                }
                Err(Some(NotInstalled::Stale)) => {}
                Err(Some(NotInstalled::Full)) => {
                    return told.fail(Verdict::Deny, Reason::TableFull);
                }
                Err(Some(NotInstalled::Failed)) => break,
                Err(None) => return told.fail(Verdict::Allow, Reason::NoAnswer),
            }
        }
        told.fail(Verdict::Deny, Reason::NotInstalled)
    }

    /// Makes the addresses of an answer reachable, and gives the message that tells of them.
    fn install(
        &self,
        told: &Told<'_, S>,
        mut checked: Checked<S::Grants>,
    ) -> Result<Vec<u8>, Option<NotInstalled>> {
        let reply = checked.reply(told.query, told.client.protocol).ok_or(None)?;
        // Who is not told an address needs none.
        if !checked.addresses.is_empty() && !reply.is_truncated {
            let lifetime = Duration::from_secs(checked.ttl.into()) + GRACE;
            self.host.install(&told.query.host, &checked.addresses, lifetime).map_err(Some)?;
        }
        for (address, verdict) in checked.special {
            told.tell_of_special(address, verdict);
        }
        Ok(reply.bytes)
    }

    /// Whether the policy lets the name be asked for.
    fn rule(&self, query: &Query) -> (Verdict, Option<Place>) {
        if !query.is_plain {
            return (Verdict::Deny, None);
        }
        let decision = self.host.ask(&query.host);
        (decision.verdict, decision.place)
    }

    fn refuse(&self, told: &Told<'_, S>, place: Option<&Place>) -> Vec<u8> {
        told.tell(Verdict::Deny, Some(Reason::UnlistedName), place);
        let is_in = |domain: &String| {
            let before = told.query.host.strip_suffix(domain.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let as_nonexistent = self.as_nonexistent.load(Ordering::Relaxed);
        let code = if as_nonexistent || self.options.search.iter().any(is_in) {
            ResponseCode::NXDomain
        } else {
            ResponseCode::Refused
        };
        failure(told.query, code)
    }
}

/// What is told of one question.
struct Told<'a, S> {
    host: &'a S,
    query: &'a Query,
    client: Client,
    since: Instant,
}

impl<S: Tell> Told<'_, S> {
    /// Tells that there is no answer, and gives the message that says so.
    fn fail(&self, verdict: Verdict, reason: Reason) -> Vec<u8> {
        self.tell(verdict, Some(reason), None);
        failure(self.query, ResponseCode::ServFail)
    }

    fn tell(&self, verdict: Verdict, reason: Option<Reason>, place: Option<&Place>) {
        self.host.tell(&Decision { verdict, reason, place, ..self.decision() });
    }

    fn tell_of_special(&self, address: std::net::IpAddr, verdict: Verdict) {
        if verdict != Verdict::Allow {
            let reason = Some(Reason::SpecialAddress);
            self.host.tell(&Decision {
                verdict,
                reason,
                address: Some(address),
                ..self.decision()
            });
        }
    }

    fn decision(&self) -> Decision<'_> {
        Decision {
            client: self.client,
            host: &self.query.host,
            record: self.query.record,
            address: None,
            verdict: Verdict::Allow,
            reason: None,
            place: None,
            elapsed: self.since.elapsed(),
        }
    }
}
