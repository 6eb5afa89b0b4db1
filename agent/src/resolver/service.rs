//! Service bindings (SVCB and HTTPS records, RFC 9460), of which a process is told a part.

use hickory_proto::rr::{
    Name,
    rdata::{
        SVCB,
        svcb::{SvcParamKey, SvcParamValue},
    },
};

/// Takes out of a binding what would lead around the policy, or `None` where nothing useful is
/// left.
///
/// Kept are ALPN and port. `ech` would hide the server's name from the check of it; the address
/// hints are of addresses that nobody asked for, and a process that sees none asks. Keys that are
/// not known here may be either.
///
/// A target that may not be asked for is left out with its binding: clients go on with the next
/// one, or without any.
pub(super) fn cleaned(
    binding: &SVCB,
    owner: &Name,
    may_ask: impl Fn(&Name) -> bool,
) -> Option<SVCB> {
    let target = &binding.target_name;
    if !target.is_root() && target != owner && !may_ask(target) {
        return None;
    }
    let mut binding = binding.clone();
    for (_, value) in &binding.svc_params {
        // A client must not use a binding without a key that it calls mandatory.
        if let SvcParamValue::Mandatory(keys) = value
            && !keys.0.iter().all(|key| is_kept(*key))
        {
            return None;
        }
    }
    binding.svc_params.retain(|(key, _)| is_kept(*key));
    Some(binding)
}

fn is_kept(key: SvcParamKey) -> bool {
    use SvcParamKey as Key;
    matches!(key, Key::Mandatory | Key::Alpn | Key::NoDefaultAlpn | Key::Port)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{
        A,
        svcb::{Alpn, EchConfigList, IpHint, Mandatory, Unknown},
    };

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn binding(target: &str, further: Vec<(SvcParamKey, SvcParamValue)>) -> SVCB {
        let mut params = vec![
            (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".into()]))),
            (SvcParamKey::Port, SvcParamValue::Port(8443)),
        ];
        params.extend(further);
        SVCB::new(1, name(target), params)
    }

    #[test]
    fn keys_that_hide_the_name_or_lead_elsewhere_are_taken_out() {
        let hint = SvcParamValue::Ipv4Hint(IpHint(vec![A::new(8, 8, 8, 8)]));
        let further = vec![
            (SvcParamKey::Ipv4Hint, hint),
            (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![1, 2]))),
            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![]))),
            (SvcParamKey::Unknown(4711), SvcParamValue::Unknown(Unknown(vec![1]))),
        ];
        let cleaned = cleaned(&binding(".", further), &name("a.example."), |_| false);
        assert_eq!(cleaned, Some(binding(".", vec![])));
    }

    #[test]
    fn a_binding_that_needs_such_a_key_is_left_out() {
        let mandatory = |key| {
            let keys = SvcParamValue::Mandatory(Mandatory(vec![SvcParamKey::Port, key]));
            binding(".", vec![(SvcParamKey::Mandatory, keys)])
        };
        let owner = name("a.example.");
        let kept = mandatory(SvcParamKey::Alpn);
        assert_eq!(cleaned(&kept, &owner, |_| false), Some(kept.clone()));
        assert_eq!(cleaned(&mandatory(SvcParamKey::EchConfigList), &owner, |_| true), None);
        assert_eq!(cleaned(&mandatory(SvcParamKey::Ipv4Hint), &owner, |_| true), None);
    }

    #[test]
    fn a_target_must_be_a_name_that_may_be_asked_for() {
        let owner = name("a.example.");
        let may_ask = |target: &Name| *target == name("b.example.");
        for (target, is_kept) in
            [(".", true), ("A.example.", true), ("b.example.", true), ("c.example.", false)]
        {
            let cleaned = cleaned(&binding(target, vec![]), &owner, may_ask);
            assert_eq!(cleaned.is_some(), is_kept, "{target}");
        }
    }
}
