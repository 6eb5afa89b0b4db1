//! What a system does with ringfence: its init, its containers, its monitoring. Run in a virtual
//! machine with Debian's own systemd, podman and Prometheus.

mod agent;
mod attack;
mod container;
mod metrics;
mod network;
mod package;
mod session;
mod unit;

use std::time::Duration;

use crate::harness::Tests;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked at: each look is a program that starts.
const PACE: Duration = Duration::from_millis(300);

/// All of them. Those of the agent are alone: it loads programs that no `ringfence run` needs, and
/// they stay for as long as any scope does.
pub(crate) fn tests() -> Tests {
    let others = [session::TESTS, container::TESTS, metrics::TESTS].concat();
    Tests { alone: [package::ALONE, agent::TESTS, attack::TESTS, network::TESTS].concat(), others }
}
