//! The gated resolver of one scope: its sockets, its thread, and what it tells.

mod counts;
mod host;
mod installed;
mod rules;
mod sockets;
mod trusted;

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use aya::maps::{HashMap, MapData};
use ringfence_agent::resolver::{Options, Resolver, serve};
use ringfence_common::{
    Verdict, egress, installed as layout,
    resolver::{Asker, Named},
};
use ringfence_policy::compile::Tables;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::MissedTickBehavior,
};

use crate::kernel::programs::NameMaps;
pub(crate) use counts::Counts;
use host::Host;
pub(crate) use host::Lookup;
use installed::Installed;
pub(crate) use rules::Rules;
pub(crate) use sockets::{Network, Ports, Sockets};
use trusted::Trusted;

/// The kernel's table of addresses that names stand for.
pub(crate) type Addresses =
    HashMap<MapData, [u8; size_of::<layout::Key>()], [u8; size_of::<layout::Value>()]>;
/// The kernel's table of who asks, and which server it has named.
pub(crate) type Askers = HashMap<MapData, [u8; size_of::<Asker>()], [u8; size_of::<Named>()]>;

/// How often entries that end are taken out.
const SWEEP: Duration = Duration::from_secs(1);
/// Lookups that wait to be told; more are counted as lost.
const WAITING: usize = 4096;

/// Sockets that are served until the other end of the channel is dropped.
struct Further {
    sockets: Sockets,
    stopped: oneshot::Receiver<()>,
}

/// Has sockets served in a network namespace. They are closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

/// A resolver that answers, until it is dropped.
pub(crate) struct Service {
    lookups: mpsc::Receiver<Lookup>,
    lost: Arc<AtomicU64>,
    counts: Arc<Counts>,
    resolver: Arc<Resolver<Host>>,
    installed: Arc<Installed>,
    trusted: Arc<Mutex<Trusted>>,
    /// Sockets in other network namespaces, which the thread serves too.
    further: mpsc::UnboundedSender<Further>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Service {
    /// Returns when the thread has ended: what it still opened for the scope's number would be open
    /// to the next scope that gets it.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Service {
    /// Begins to answer, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system's file of name servers cannot be read, or there is no thread to be had.
    pub(crate) fn start(
        sockets: Sockets,
        NameMaps { scope, addresses, askers }: NameMaps,
        rules: Arc<Rules>,
        refuse_as_nonexistent: bool,
        counts: Counts,
    ) -> Result<Self> {
        let (trusted, system) = Trusted::read(rules.policy())?;
        let servers = trusted.servers(&system);
        let (tell, lookups) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let counts = Arc::new(counts);
        let installed = Arc::new(Installed::new(scope, addresses, Arc::clone(&rules)));
        let host = Host {
            rules: Mutex::new(rules),
            installed: Arc::clone(&installed),
            scope,
            askers,
            tell,
            lost: Arc::clone(&lost),
            counts: Arc::clone(&counts),
        };
        let options =
            Options { search: system.search, refuse_as_nonexistent, ..Options::default() };
        let resolver = Arc::new(Resolver::new(host, servers, options));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let trusted = Arc::new(Mutex::new(trusted));
        let (trusted_there, resolver_there) = (Arc::clone(&trusted), Arc::clone(&resolver));
        let installed_there = Arc::clone(&installed);
        let (further, mut others) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("resolver".into()).spawn(move || {
            let trusted = &*trusted_there;
            let own = answer(&resolver_there, sockets, &installed_there, trusted, stopped);
            runtime.block_on(async {
                tokio::select! {
                    () = own => {}
                    never = answer_others(&resolver_there, &mut others) => match never {},
                }
            });
        })?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { lookups, lost, counts, resolver, installed, trusted, further, stop, thread })
    }

    /// Answers at these sockets too.
    pub(crate) fn serve(&self, sockets: Sockets) -> Serving {
        let (_stop, stopped) = oneshot::channel();
        // Where the thread has ended, that was told.
        let _ = self.further.send(Further { sockets, stopped });
        Serving { _stop }
    }

    /// Makes ready for other rules: what they open is open as soon as the kernel has them.
    pub(crate) fn prepare(&self, rules: &Arc<Rules>) {
        self.installed.prepare(rules);
    }

    /// The kernel has the rules that were made ready for.
    ///
    /// # Errors
    ///
    /// When the system's file of name servers cannot be read: the servers are those of before.
    pub(crate) fn commit(&self, rules: Arc<Rules>) -> Result<()> {
        self.installed.commit();
        let read = Trusted::read(rules.policy());
        self.resolver.host().replace(rules);
        let (trusted, system) = read?;
        self.resolver.set_servers(trusted.servers(&system));
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = trusted;
        Ok(())
    }

    /// Tells from now on of refused names that they do not exist, or that they are refused.
    pub(crate) fn set_refusal(&self, as_nonexistent: bool) {
        self.resolver.set_refusal(as_nonexistent);
    }

    /// The kernel has not got them, and will not.
    pub(crate) fn abandon(&self) {
        self.installed.abandon();
    }

    /// The next lookup to tell of; `None` when the thread has ended.
    pub(crate) async fn next(&mut self) -> Option<Lookup> {
        self.lookups.recv().await
    }

    /// The same, for who waits for other things beside it.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Lookup>> {
        self.lookups.poll_recv(context)
    }

    /// Takes the lookups that wait to be told.
    pub(crate) fn take_waiting(&mut self, take: impl FnMut(Lookup)) {
        std::iter::from_fn(|| self.lookups.try_recv().ok()).for_each(take);
    }

    /// How many lookups could not be told so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What it has decided so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many addresses are open.
    pub(crate) fn addresses(&self) -> usize {
        self.installed.len()
    }
}

/// Whether a resolver is needed: where no document governs destinations, none is.
pub(crate) fn is_needed(tables: &Tables) -> bool {
    egress::governs(tables.image.as_slice())
}

/// Answers at these sockets, without end.
async fn serve_at(resolver: Arc<Resolver<Host>>, sockets: Sockets) -> io::Result<Infallible> {
    let Sockets { network, v4, v6 } = sockets;
    let serve = |(udp, tcp)| {
        let there = Arc::clone(&resolver);
        let original = move |peer, protocol| there.host().original(network, peer, protocol);
        serve(Arc::clone(&resolver), udp, tcp, network, original)
    };
    let v4 = serve(v4);
    match v6 {
        Some(v6) => tokio::select! { ended = v4 => ended, ended = serve(v6) => ended },
        None => v4.await,
    }
}

/// Answers at the sockets that come, each for as long as it is to be.
async fn answer_others(
    resolver: &Arc<Resolver<Host>>,
    others: &mut mpsc::UnboundedReceiver<Further>,
) -> Infallible {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(Further { sockets, stopped }) = others.recv() => {
                let served = serve_at(Arc::clone(resolver), sockets);
                tasks.spawn(async move {
                    tokio::select! {
                        _ = stopped => {}
                        Err(error) = served => {
                            tell!("ringfence: names can no longer be looked up in a network: \
                                   {error}; enforcement goes on");
                        }
                    }
                });
            }
            Some(_) = tasks.join_next() => {}
            else => std::future::pending().await,
        }
    }
}

async fn answer(
    resolver: &Arc<Resolver<Host>>,
    sockets: Sockets,
    installed: &Installed,
    trusted: &Mutex<Trusted>,
    stopped: oneshot::Receiver<()>,
) {
    let sweep = async {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            installed.sweep();
            let changed = trusted.lock().unwrap_or_else(PoisonError::into_inner).changed();
            if let Some(servers) = changed {
                resolver.set_servers(servers);
            }
        }
    };
    let failed = tokio::select! {
        _ = stopped => return,
        ended = serve_at(Arc::clone(resolver), sockets) => ended.map(drop).err(),
        () = sweep => None,
    };
    if let Some(error) = failed {
        tell!("ringfence: names can no longer be looked up: {error}; enforcement goes on");
    }
}

/// What a refusal is in the mode of the policy.
fn refusal(image: &[u8]) -> Verdict {
    egress::violation(image).verdict
}
