//! Egress: `defaults.network.runtime_egress`, `airlock`, and the tool `network.fetch`.

use std::net::IpAddr;

use super::tools::Tools;
use crate::{
    boundary::{Effect, Egress, EgressRule, Mode, Protocol, Target},
    destination::{self, Destination},
    diagnostic::{code, quoted},
    document::Node,
    lowering::Lowering,
};

/// Port of `https`, the one scheme of the airlock.
const HTTPS: u16 = 443;

/// Adds the egress group and its rules, unless the policy leaves egress free.
pub(super) fn lower(policy: &Node, tools: &Tools<'_>, lowering: &mut Lowering<'_>) {
    let network = policy.get("defaults").and_then(|defaults| defaults.get("network"));
    let Some(default) = network.and_then(|network| network.entry("runtime_egress")) else {
        return;
    };
    let fetch_denied = tools.denied("network.fetch");
    let is_free = default.value.text() == Some("allow");
    if is_free && fetch_denied.is_none() {
        let message = "every destination is allowed".to_owned();
        let help = "write `deny`, and name the destinations in `airlock.allowed_destinations`";
        lowering.warning(code::ALLOWS_EVERYTHING, &default.value, message, help);
        return;
    }
    let place = match fetch_denied.filter(|_| is_free) {
        Some(denied) => denied.place.clone(),
        None => default.key.place.clone(),
    };
    lowering.boundary.egress =
        Some(Egress { mode: Mode::Enforce, place, is_rule: false, rules: Vec::new() });
    let Some(airlock) = policy.get("airlock") else { return };
    if airlock.get("enabled").and_then(Node::boolean) != Some(true) {
        return;
    }
    let Some(destinations) = airlock.entry("allowed_destinations") else { return };
    if fetch_denied.is_some() {
        let message = "no destination can be reached, since `tools.deny` has `network.fetch`";
        let help = "remove `network.fetch` from `tools.deny`, or switch the airlock off";
        lowering.warn_key(code::SURPRISING, &destinations.key, message, help);
        return;
    }
    if !tools.is_permitted("network.fetch") {
        let message = "`network.fetch` is not listed: the tool firewall refuses the tool, and the \
                       kernel lets every governed process reach these destinations";
        let help = "list `network.fetch` in `tools.deny` to close them, or in `tools.allow`";
        lowering.warn_key(code::SURPRISING, &destinations.key, message, help);
    }
    for item in destinations.value.items() {
        lower_destination(item, lowering);
    }
}

fn lower_destination(item: &Node, lowering: &mut Lowering<'_>) {
    let Some(url) = item.text() else { return };
    let never = |lowering: &mut Lowering<'_>, why: &str, help: &str| {
        let message = format!("the airlock never allows {}: {why}", quoted(url));
        lowering.warning(code::NEVER_MATCHES, item, message, help);
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        let message = format!("{} is not a URL", quoted(url));
        let help = format!("write `https://{}/`", url.trim_end_matches('/'));
        return lowering.error(code::BAD_HOST, item, message, &help);
    };
    if !scheme.eq_ignore_ascii_case("https") {
        return never(lowering, "only `https` may be used", "write `https://…`");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || rest.contains('#') {
        let why = "a URL with a user or a fragment is refused";
        return never(lowering, why, "leave out what stands before `@` and from `#` on");
    }
    match destination::with_port(authority) {
        Ok((Destination::Network(network), _)) if is_local(network.ip()) => {
            never(lowering, "private and local addresses are refused", "use a `boundary` document");
        }
        Ok((Destination::Host(name), _)) if name.contains('*') => {
            never(lowering, "`*` has no meaning in a URL", "write the host names out");
        }
        Ok((Destination::Everything, _)) => {
            never(lowering, "`*` has no meaning in a URL", "write the host names out");
        }
        Ok((destination, port)) => {
            let port = port.unwrap_or(HTTPS);
            let rule = EgressRule {
                effect: Effect::Allow,
                target: Target::Host(String::new()),
                ports: vec![port..=port],
                protocol: Some(Protocol::Tcp),
                place: item.place.clone(),
            };
            lowering.egress_rule(item, destination, rule);
        }
        Err(fault) => {
            let before = url.chars().count() - rest.chars().count();
            lowering.destination_fault(item, destination::Fault { at: before + fault.at, ..fault });
        }
    }
}

/// Addresses that the airlock refuses whatever the list says.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.to_ipv4_mapped().is_some_and(|v4| is_local(IpAddr::V4(v4)))
        }
    }
}
