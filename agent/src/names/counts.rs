//! How many questions a resolver has decided, and how fast.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Histogram;
use ringfence_agent::resolver::Decision;
use ringfence_common::Verdict;

/// What a resolver has decided since it began.
#[derive(Debug)]
pub(crate) struct Counts {
    verdicts: [(Verdict, AtomicU64); 3],
    /// Seconds from a question to its answer.
    durations: Option<Histogram>,
}

impl Counts {
    /// Begins to count; durations where there is somebody to ask for them.
    pub(crate) fn new(durations: Option<Histogram>) -> Self {
        let verdicts = [Verdict::Allow, Verdict::Observe, Verdict::Deny];
        Self { verdicts: verdicts.map(|verdict| (verdict, AtomicU64::new(0))), durations }
    }

    /// Counts a decision, if it is one about a question: those about addresses in the answer come
    /// beside it.
    pub(super) fn count(&self, decision: &Decision<'_>) {
        if decision.address.is_some() {
            return;
        }
        let count = self.verdicts.iter().find(|(verdict, _)| *verdict == decision.verdict);
        if let Some((_, count)) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(durations) = &self.durations {
            durations.observe(decision.elapsed.as_secs_f64());
        }
    }

    /// Questions by the verdict's name.
    pub(crate) fn questions(&self) -> [(&'static str, u64); 3] {
        self.verdicts
            .each_ref()
            .map(|(verdict, count)| (verdict.name(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::rr::RecordType;
    use prometheus::HistogramOpts;
    use ringfence_agent::resolver::Client;
    use ringfence_common::egress::Protocol;

    use super::*;

    fn decision(verdict: Verdict, address: Option<&str>) -> Decision<'static> {
        let server = "127.0.0.1:53".parse().unwrap();
        Decision {
            client: Client {
                network: 0,
                address: server,
                protocol: Protocol::Udp,
                original: server,
            },
            host: "a.example",
            record: RecordType::A,
            address: address.map(|address| address.parse().unwrap()),
            verdict,
            reason: None,
            place: None,
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn a_question_counts_once_whatever_is_in_its_answer() {
        let durations = Histogram::with_opts(HistogramOpts::new("a", "a")).unwrap();
        let counts = Counts::new(Some(durations.clone()));
        counts.count(&decision(Verdict::Allow, None));
        counts.count(&decision(Verdict::Deny, Some("127.0.0.1")));
        counts.count(&decision(Verdict::Deny, None));
        counts.count(&decision(Verdict::Deny, None));
        assert_eq!(counts.questions(), [("allow", 1), ("observe", 0), ("deny", 2)]);
        assert_eq!(durations.get_sample_count(), 3);
        assert!((durations.get_sample_sum() - 4.5).abs() < 1e-9);
    }
}
