//! What the service manager is told (sd_notify(3)): nothing where there is none.

use sd_notify::NotifyState;

/// Everything is in force.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read anew.
pub(super) fn reloading() {
    let now = crate::clock::monotonic_microseconds();
    tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(now)]);
}

/// The agent ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The agent goes round its loop.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    // A service manager that does not hear it notices by itself.
    let _ = sd_notify::notify(states);
}
