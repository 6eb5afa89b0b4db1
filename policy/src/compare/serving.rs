//! Compares what two policies say about serving others.

use std::collections::HashSet;

use ringfence_common::{Cell, egress::Protocol, serving};

use super::{Answer, Comparison, Subject, WELL_KNOWN};
use crate::compile::Tables;

/// Adds the differences about ports on which others are served: one for each pair of answers.
pub(super) fn compare(old: &Tables, new: &Tables, comparison: &mut Comparison) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut known = HashSet::new();
        for port in WELL_KNOWN.into_iter().chain(1..=u16::MAX) {
            let answers = [old, new].map(|tables| serving::decide(&*tables.image, protocol, port));
            if known.insert(answers.map(|one| Cell::new(one.verdict, one.rule))) {
                let [old, new] = [(answers[0], old), (answers[1], new)]
                    .map(|(decision, tables)| Answer::of(decision, tables));
                comparison.add(Subject::Serve { port, protocol }, old, new);
            }
        }
    }
}
