//! Any question and any answer are read or refused, and no address is passed on that would not
//! have been installed.
#![no_main]

use std::net::IpAddr;

use hickory_proto::{op::Message, rr::RData};
use libfuzzer_sys::fuzz_target;
use ringfence_agent::resolver::{
    Gate, answer, is_special,
    query::{Query, Unreadable},
};
use ringfence_common::{Verdict, egress::Protocol};
use ringfence_policy::hosts::HostDecision;

/// Opens every address of an even number that is not for special use.
struct Even;

impl Gate for Even {
    type Grants = ();

    fn ask(&self, _: &str) -> HostDecision {
        HostDecision { verdict: Verdict::Allow, place: None }
    }

    fn grants(&self, _: &str, address: IpAddr) -> Option<()> {
        is_even(address).then_some(())
    }

    fn special(&self, _: &str, _: IpAddr) -> Verdict {
        Verdict::Deny
    }
}

fn is_even(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.to_bits() % 2 == 0,
        IpAddr::V6(address) => address.to_bits() % 2 == 0,
    }
}

// Two bytes say how long the question is; the answer follows it, and then whether by TCP.
fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((question, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
        return;
    };
    let query = match Query::parse(question) {
        Ok(query) => query,
        Err(Unreadable::Ignored) => return,
        Err(Unreadable::Answered(reply)) => {
            assert!(Message::from_vec(&reply).is_ok());
            return;
        }
    };
    let Some((way, bytes)) = rest.split_last() else { return };
    let Some(message) = answer::parse(bytes) else { return };
    let Ok(mut checked) = answer::check(&message, &query, &Even) else { return };
    let protocol = if way % 2 == 0 { Protocol::Udp } else { Protocol::Tcp };
    let Some(reply) = checked.reply(&query, protocol) else { return };
    if protocol == Protocol::Udp {
        assert!(reply.bytes.len() <= 1_232);
    }
    let read = Message::from_vec(&reply.bytes).expect("what was written can be read");
    let told = read.all_sections().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    for address in told {
        assert!(checked.addresses.contains(&(address, ())), "{address} would not be installed");
        assert!(is_even(address) && !is_special(address), "{address}");
    }
    for record in &read.answers {
        assert!((answer::MIN_TTL..=answer::MAX_TTL).contains(&record.ttl));
    }
});
