//! Egress: `defaults.network.runtime_egress`, `airlock`, and the tool `network.fetch`.

use std::net::IpAddr;

use super::{
    model::{AllowOrDeny, Policy},
    tools::Tools,
};
use crate::{
    boundary::{Effect, Egress, EgressRule, Mode, Protocol, Target},
    destination::{self, Destination},
    diagnostic::{code, quoted},
    document::Spanned,
    lowering::Lowering,
    model::value,
};

/// Port of `https`, the one scheme of the airlock.
const HTTPS: u16 = 443;

/// Adds the egress group and its rules, unless the policy leaves egress free.
pub(super) fn lower(policy: &Policy, tools: &Tools<'_>, lowering: &mut Lowering<'_>) {
    let network = value(&policy.defaults).and_then(|defaults| value(&defaults.network));
    let Some(default) = network.and_then(|network| network.runtime_egress.as_ref()) else {
        return;
    };
    let fetch_denied = tools.denied("network.fetch");
    let is_free = default.value == Some(AllowOrDeny::Allow);
    if is_free && fetch_denied.is_none() {
        let message = "every destination is allowed".to_owned();
        let help = "write `deny`, and name the destinations in `airlock.allowed_destinations`";
        lowering.warning(code::ALLOWS_EVERYTHING, &default.span, message, help);
        return;
    }
    let place = match fetch_denied.filter(|_| is_free) {
        Some(denied) => denied.span.place.clone(),
        None => default.key.place.clone(),
    };
    lowering.boundary.egress =
        Some(Egress { mode: Mode::Enforce, place, is_rule: false, rules: Vec::new() });
    let Some(airlock) = value(&policy.airlock) else { return };
    if value(&airlock.enabled) != Some(&true) {
        return;
    }
    let Some(destinations) = &airlock.allowed_destinations else { return };
    if fetch_denied.is_some() {
        let message = "no destination can be reached, since `tools.deny` has `network.fetch`";
        let help = "remove `network.fetch` from `tools.deny`, or switch the airlock off";
        lowering.warning(code::SURPRISING, &destinations.key, message.to_owned(), help);
        return;
    }
    if !tools.is_permitted("network.fetch") {
        let message = "`network.fetch` is not listed: the tool firewall refuses the tool, and the \
                       kernel lets every governed process reach these destinations";
        let help = "list `network.fetch` in `tools.deny` to close them, or in `tools.allow`";
        lowering.warning(code::SURPRISING, &destinations.key, message.to_owned(), help);
    }
    for item in destinations.items() {
        lower_destination(item, lowering);
    }
}

fn lower_destination(item: &Spanned<String>, lowering: &mut Lowering<'_>) {
    let Spanned { value: url, span } = item;
    let never = |lowering: &mut Lowering<'_>, why: &str, help: &str| {
        let message = format!("the airlock never allows {}: {why}", quoted(url));
        lowering.warning(code::NEVER_MATCHES, span, message, help);
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        let message = format!("{} is not a URL", quoted(url));
        let help = format!("write `https://{}/`", url.trim_end_matches('/'));
        return lowering.error(code::BAD_HOST, span, message, &help);
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
                tls_name_check: true,
                place: span.place.clone(),
            };
            lowering.egress_rule(span, destination, rule);
        }
        Err(fault) => {
            let before = url.chars().count() - rest.chars().count();
            lowering.destination_fault(span, destination::Fault { at: before + fault.at, ..fault });
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
