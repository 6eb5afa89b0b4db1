//! Decisions about serving: which ports others than the scope itself may reach.

use crate::{
    Decision, Image, Reason, Verdict,
    egress::{Protocol, by_port},
    image::header,
};

/// Whether serving is governed at all.
#[inline(always)]
pub fn governs<I: Image + ?Sized>(image: &I) -> bool {
    image.word(header::GOVERNS_SERVING) != Some(0)
}

/// Whether others may be served on a port of this machine.
#[inline(always)]
pub fn decide<I: Image + ?Sized>(image: &I, protocol: Protocol, port: u16) -> Decision {
    if !governs(image) {
        return Decision::ALLOW;
    }
    match image.word(header::SERVING).and_then(|leaf| by_port(image, leaf, protocol, port)) {
        Some(cell) => Decision::of(cell, Reason::EgressViolation),
        None => Decision::deny(Reason::TableCorrupt),
    }
}

/// The decision on a datagram to a closed port. `is_observed` when it comes from where the process
/// may send to in observe mode alone: the question was let through, so is the answer, and it is
/// told of like the question. What comes from where it may send to is not asked about.
#[inline(always)]
pub const fn unless_answered(serving: Decision, is_observed: bool) -> Decision {
    match serving.verdict {
        Verdict::Deny if is_observed => Decision { verdict: Verdict::Observe, ..serving },
        _ => serving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_let_in_as_the_question_was_let_out() {
        let of = |verdict| Decision { verdict, reason: Reason::EgressViolation, rule: 1 };
        let verdict = |serving, is_observed| unless_answered(of(serving), is_observed).verdict;
        assert_eq!(verdict(Verdict::Deny, true), Verdict::Observe);
        assert_eq!(verdict(Verdict::Deny, false), Verdict::Deny);
        assert_eq!(verdict(Verdict::Observe, true), Verdict::Observe);
        assert_eq!(verdict(Verdict::Observe, false), Verdict::Observe);
    }
}
