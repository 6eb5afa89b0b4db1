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

/// The decision on a datagram that came in: where the port is closed, what the process may send to
/// may answer.
///
/// `answer` is the decision on sending to where the datagram came from.
#[inline(always)]
pub fn unless_answer(serving: Decision, answer: Decision) -> Decision {
    match answer.verdict {
        Verdict::Allow => Decision::ALLOW,
        // The question was let through: so is the answer, and it is told of like the question.
        Verdict::Observe if matches!(serving.verdict, Verdict::Deny) => {
            Decision { verdict: Verdict::Observe, ..serving }
        }
        _ => serving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_let_in_as_the_question_was_let_out() {
        let of = |verdict| Decision { verdict, reason: Reason::EgressViolation, rule: 1 };
        let verdict = |serving, answer| unless_answer(of(serving), of(answer)).verdict;
        assert_eq!(verdict(Verdict::Deny, Verdict::Allow), Verdict::Allow);
        assert_eq!(verdict(Verdict::Deny, Verdict::Observe), Verdict::Observe);
        assert_eq!(verdict(Verdict::Deny, Verdict::Deny), Verdict::Deny);
        assert_eq!(verdict(Verdict::Observe, Verdict::Deny), Verdict::Observe);
    }
}
