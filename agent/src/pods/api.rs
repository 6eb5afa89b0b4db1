//! Pods from the API server of Kubernetes: those of one node, listed once and then watched.
//!
//! kube's own watcher hides from whoever uses it that the server is still there when no pod
//! changes, and passes over what it cannot read; here the first is told as health, and after the
//! second all is listed again.

mod access;
mod object;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use kube::{
    Client, Error,
    api::{ListParams, WatchEvent, WatchParams},
    core::{Request, Status},
};
use tokio::{
    sync::mpsc::Sender,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use access::Access;
pub use access::{AccessError, node_name};
use object::{List, Object, Read};

use super::{Change, PodUid, Pods};

/// What is asked for.
const PODS: &str = "/api/v1/pods";
/// How often pods whose time is over are taken out.
const SWEEP: Duration = Duration::from_secs(5);
/// The longest error that is kept, in characters.
const MAX_ERROR: usize = 300;
/// The codes by which the server says no more than that it will not answer now, or not to this
/// asker.
const NOT_NOW: [u16; 3] = [401, 403, 429];

/// The API server, asked for the pods of one node.
#[derive(Clone, Debug)]
pub struct Source {
    node: String,
    access: Access,
    pace: Pace,
}

/// How long things may take.
#[derive(Clone, Debug)]
struct Pace {
    /// The wait after the first failure. Each further one doubles it.
    first: Duration,
    /// The longest wait.
    most: Duration,
    /// After so long without a failure, the next one is a first one.
    steady: Duration,
    /// For an answer to begin, and for a list to be whole.
    answer: Duration,
    /// After so long the server shall end the answer to a watch, which is asked for again: so
    /// a server that is gone without a word is noticed.
    watch: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        first: Duration::from_millis(500),
        most: Duration::from_secs(30),
        steady: Duration::from_secs(10),
        answer: Duration::from_secs(30),
        watch: Duration::from_secs(180),
    };
}

/// Why a watch ended.
enum End {
    /// The server ended it.
    Usual,
    /// Something failed; all that was seen is still good.
    Failed(String),
    /// Something failed, and something may have been missed.
    Lost(String),
    /// Nobody takes the changes.
    Closed,
}

/// What is known of the server's pods.
enum Position {
    /// Nothing.
    Start,
    /// What was known may be wrong.
    Lost,
    /// All up to this version.
    At(String),
}

impl Source {
    /// The API server that `$KUBECONFIG` names, or, without one, that of the cluster whose service
    /// account this process has.
    ///
    /// # Errors
    ///
    /// When there is neither, or it cannot be read, or the node's name is none. The server itself is
    /// not asked yet.
    pub async fn open(node: &str) -> Result<Self, AccessError> {
        Self::of(node, Access::of_environment()).await
    }

    /// The API server that a file of this form names.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn of_kubeconfig(node: &str, path: PathBuf) -> Result<Self, AccessError> {
        Self::of(node, Access::Kubeconfig(vec![path])).await
    }

    async fn of(node: &str, access: Access) -> Result<Self, AccessError> {
        let node = access::check_node(node)?;
        access.client().await?;
        Ok(Self { node, access, pace: Pace::USUAL })
    }

    /// Keeps `pods` as the server has them, and tells what changes, after it did. Whatever fails is
    /// tried again, and is told by [`Pods::health`]. Ends when the receiver of the changes is
    /// dropped; to end it earlier, drop the future.
    pub async fn follow(&self, pods: &Pods, changes: &Sender<Change>) {
        let follower = Follower { source: self, pods, changes };
        tokio::select! {
            () = follower.listen() => {}
            () = follower.sweep() => {}
            () = changes.closed() => {}
        }
    }
}

struct Follower<'a> {
    source: &'a Source,
    pods: &'a Pods,
    changes: &'a Sender<Change>,
}

impl Follower<'_> {
    async fn listen(&self) {
        let pace = &self.source.pace;
        let mut wait = pace.first;
        let mut position = Position::Start;
        loop {
            let start = Instant::now();
            let Err(end) = self.session(&mut position).await;
            let is_steady = start.elapsed() >= pace.steady;
            if is_steady {
                wait = pace.first;
            }
            match end {
                End::Usual if is_steady => continue,
                End::Usual => {}
                End::Failed(error) => self.pods.failed(error),
                End::Lost(error) => {
                    position = Position::Lost;
                    self.pods.failed(error);
                }
                End::Closed => return,
            }
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(pace.most);
        }
    }

    /// Lists if need be, and watches until that ends.
    async fn session(&self, position: &mut Position) -> Result<Infallible, End> {
        // Made anew each time: tokens and certificates are changed while this runs.
        let client =
            self.source.access.client().await.map_err(|error| End::Failed(bounded(&error)))?;
        let version = match position {
            Position::At(version) => version.clone(),
            Position::Start | Position::Lost => {
                let is_lost = matches!(position, Position::Lost);
                let version = self.list(&client, is_lost).await?;
                *position = Position::At(version.clone());
                version
            }
        };
        self.watch(&client, &version, position).await
    }

    /// Takes all pods that there are, and returns the version that they are of.
    async fn list(&self, client: &Client, is_lost: bool) -> Result<String, End> {
        let params = ListParams::default().fields(&self.fields());
        // What the server has in memory is good enough to begin with: the watch tells what was new.
        // It may be older than what was known before, though.
        let params = if is_lost { params } else { params.match_any() };
        let request =
            Request::new(PODS).list(&params).map_err(|error| End::Failed(bounded(&error)))?;
        let list = timeout(self.source.pace.answer, client.request::<List>(request)).await;
        let List { metadata, items } =
            list.map_err(|_| silent())?.map_err(|error| failed(&error))?;
        let Some(version) = metadata.resource_version.filter(|version| !version.is_empty()) else {
            return Err(End::Failed("the list of pods has no version".into()));
        };
        let mut keys = BTreeSet::new();
        for object in items {
            if let Some(key) = self.take(object).await? {
                keys.insert(key);
            }
        }
        self.pods.listed(&keys, Instant::now());
        self.pods.heard(Instant::now());
        self.tell([Change::Ready]).await?;
        Ok(version)
    }

    async fn watch(
        &self,
        client: &Client,
        version: &str,
        position: &mut Position,
    ) -> Result<Infallible, End> {
        let Pace { answer, watch, .. } = self.source.pace;
        let seconds = u32::try_from(watch.as_secs()).unwrap_or(u32::MAX);
        let params = WatchParams::default().fields(&self.fields()).timeout(seconds);
        let request = Request::new(PODS)
            .watch(&params, version)
            .map_err(|error| End::Failed(bounded(&error)))?;
        let events = timeout(answer, client.request_events::<Object>(request)).await;
        let mut events = pin!(events.map_err(|_| silent())?.map_err(|error| failed(&error))?);
        self.pods.heard(Instant::now());
        loop {
            let event = timeout(watch + answer, events.try_next()).await.map_err(|_| silent())?;
            let Some(event) = event.map_err(|error| failed(&error))? else {
                return Err(End::Usual);
            };
            let version = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let version = object.version();
                    self.take(object).await?;
                    version
                }
                WatchEvent::Deleted(object) => {
                    if let Some(key) = object.key() {
                        self.pods.delete(key, Instant::now());
                    }
                    object.version()
                }
                WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(refused(&status)),
            };
            let version = version.filter(|version| !version.is_empty());
            let Some(version) = version else {
                return Err(End::Lost("a change of a pod has no version".into()));
            };
            *position = Position::At(version);
            self.pods.heard(Instant::now());
        }
    }

    /// Takes in what an object tells, and returns its uid if it tells of a pod that is there.
    async fn take(&self, object: Object) -> Result<Option<PodUid>, End> {
        match object.read() {
            Read::Live(key, pod) => {
                self.tell(self.pods.apply(key, pod)).await?;
                return Ok(Some(key));
            }
            Read::Over(key) => self.pods.delete(key, Instant::now()),
            Read::Bad => self.pods.refused(),
        }
        Ok(None)
    }

    async fn sweep(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.tell(self.pods.sweep(Instant::now())).await.is_err() {
                return;
            }
        }
    }

    async fn tell(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), End> {
        for change in changes {
            self.changes.send(change).await.map_err(|_| End::Closed)?;
        }
        Ok(())
    }

    fn fields(&self) -> String {
        format!("spec.nodeName={}", self.source.node)
    }
}

fn silent() -> End {
    End::Failed("the server does not answer".into())
}

fn failed(error: &Error) -> End {
    match error {
        Error::Api(status) => refused(status),
        // A line that cannot be read: it may have told of any pod.
        Error::SerdeError(_) => End::Lost(bounded(error)),
        _ => End::Failed(bounded(&with_cause(error))),
    }
}

/// What a failure is to whoever sees no more than the first error, and what it comes from.
fn with_cause(error: &Error) -> String {
    let first: Option<&dyn std::error::Error> = Some(error);
    let cause = std::iter::successors(first, |error| error.source()).last();
    let cause = cause.map(ToString::to_string).unwrap_or_default();
    let error = error.to_string();
    if error.contains(&cause) { error } else { format!("{error}: {cause}") }
}

/// What the server refuses.
fn refused(status: &Status) -> End {
    let Status { code, reason, message, .. } = status;
    let error = bounded(&format_args!("{code} {reason}: {message}"));
    // All others may mean that the version is not known, or be a line that only looks like a status.
    if NOT_NOW.contains(code) { End::Failed(error) } else { End::Lost(error) }
}

/// An error that fits into a line of the status.
fn bounded(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().map(plain).take(MAX_ERROR).collect()
}

/// Between half and all of the wait: the agents of a cluster must not all ask at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(());
    let thousandths = u32::try_from(500 + random % 501).unwrap_or(1000);
    wait * thousandths / 1000
}

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;
