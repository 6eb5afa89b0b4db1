//! The gated resolver of one scope: its sockets, its thread, and what it tells.

mod host;
mod installed;
mod trusted;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, atomic::AtomicU64},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use ringfence_agent::resolver::{Options, Resolver, serve};
use ringfence_common::{
    Verdict, egress, installed as layout,
    resolver::{Asker, Named},
};
use ringfence_policy::{Place, compile::Tables, grants::Book};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use crate::{kernel::programs::NameMaps, policies::Policy};
use host::Host;
pub(crate) use host::Lookup;
use installed::Installed;
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
/// Ports that are tried until one is free for both protocols.
const TRIES: usize = 64;

/// The resolver's sockets, bound and not yet served.
pub(crate) struct Sockets {
    v4: (UdpSocket, TcpListener),
    /// `None` where loopback has no IPv6.
    v6: Option<(UdpSocket, TcpListener)>,
}

impl Sockets {
    /// Binds them in the network namespace of the caller.
    ///
    /// # Errors
    ///
    /// When loopback cannot be used.
    pub(crate) fn bind() -> Result<Self> {
        let v4 = pair(Ipv4Addr::LOCALHOST.into()).context(
            "the resolver needs 127.0.0.1: is the loopback interface up? `ip link set lo up` \
             does it",
        )?;
        Ok(Self { v4, v6: pair(Ipv6Addr::LOCALHOST.into()).ok() })
    }

    /// The ports of 127.0.0.1 and of ::1, 0 for none.
    pub(crate) fn ports(&self) -> [u16; 2] {
        let port = |pair: &(UdpSocket, TcpListener)| {
            pair.0.local_addr().map_or(0, |address| address.port())
        };
        [port(&self.v4), self.v6.as_ref().map_or(0, port)]
    }
}

/// A socket for datagrams and one for streams, at the same port.
fn pair(address: IpAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let datagrams = UdpSocket::bind(SocketAddr::new(address, 0))?;
        match TcpListener::bind(datagrams.local_addr()?) {
            Ok(streams) => return Ok((datagrams, streams)),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// A resolver that answers, until it is dropped.
pub(crate) struct Service {
    lookups: mpsc::Receiver<Lookup>,
    lost: Arc<AtomicU64>,
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
        policy: &'static Policy,
        refuse_as_nonexistent: bool,
    ) -> Result<Self> {
        let (boundaries, tables) = (&policy.boundaries, &policy.tables);
        let (trusted, system) = Trusted::read(boundaries, tables)?;
        let servers = trusted.servers(&system);
        let (tell, lookups) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let installed = Arc::new(Installed::new(scope, addresses));
        let host = Host {
            image: &tables.image,
            tables,
            book: Book::new(boundaries, tables),
            defaults: defaults(tables),
            installed: Arc::clone(&installed),
            scope,
            askers,
            tell,
            lost: Arc::clone(&lost),
        };
        let options =
            Options { search: system.search, refuse_as_nonexistent, ..Options::default() };
        let resolver = Arc::new(Resolver::new(host, servers, options));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("resolver".into()).spawn(move || {
            runtime.block_on(answer(resolver, sockets, &installed, trusted, stopped));
        })?;
        Ok(Self { lookups, lost, stop: Some(stop), thread: Some(thread) })
    }

    /// The next lookup to tell of; `None` when the thread has ended.
    pub(crate) async fn next(&mut self) -> Option<Lookup> {
        self.lookups.recv().await
    }

    /// Takes the lookups that wait to be told.
    pub(crate) fn take_waiting(&mut self, take: impl FnMut(Lookup)) {
        std::iter::from_fn(|| self.lookups.try_recv().ok()).for_each(take);
    }

    /// How many lookups could not be told so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Whether a resolver is needed: where no document governs destinations, none is.
pub(crate) fn is_needed(tables: &Tables) -> bool {
    egress::governs(tables.image.as_slice())
}

async fn answer(
    resolver: Arc<Resolver<Host>>,
    sockets: Sockets,
    installed: &Installed,
    mut trusted: Trusted,
    stopped: oneshot::Receiver<()>,
) {
    let originals = |resolver: &Arc<Resolver<Host>>| {
        let resolver = Arc::clone(resolver);
        move |peer, protocol| resolver.host().original(peer, protocol)
    };
    let (udp, tcp) = sockets.v4;
    let v4 = serve(Arc::clone(&resolver), udp, tcp, originals(&resolver));
    let v6 = async {
        match sockets.v6 {
            Some((udp, tcp)) => {
                serve(Arc::clone(&resolver), udp, tcp, originals(&resolver)).await.map(drop)
            }
            None => std::future::pending().await,
        }
    };
    let sweep = async {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            installed.sweep();
            if let Some(servers) = trusted.changed() {
                resolver.set_servers(servers);
            }
        }
    };
    let failed = tokio::select! {
        _ = stopped => return,
        ended = v4 => ended.map(drop).err(),
        ended = v6 => ended.err(),
        () = sweep => None,
    };
    if let Some(error) = failed {
        tell!("ringfence: names can no longer be looked up: {error}; enforcement goes on");
    }
}

/// Where the lists stand that have nothing to say of a destination.
fn defaults(tables: &Tables) -> Vec<Place> {
    let defaults = tables.rules.iter().filter(|rule| rule.is_default);
    defaults.map(|rule| rule.place.clone()).collect()
}

/// What a refusal is in the mode of the policy.
fn refusal(image: &[u8]) -> Verdict {
    egress::violation(image).verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sockets_of_a_pair_have_one_port() {
        let sockets = Sockets::bind().unwrap();
        let [v4, v6] = sockets.ports();
        assert_ne!(v4, 0);
        assert_eq!(sockets.v4.1.local_addr().unwrap().port(), v4);
        assert_eq!(sockets.v6.is_some(), v6 != 0);
    }
}
