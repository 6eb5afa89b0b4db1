//! Events in the order of their numbers, and exactly which were lost.
//!
//! The kernel numbers each event of a scope before it looks for room in the ring, so that a number
//! that never comes is an event that was lost. Two programs that run at once may come in the other
//! order; what is missing has been lost when as many were counted as lost as there are numbers
//! missing.

use std::collections::BTreeMap;

/// Events that may wait for one before them. That one does not come, whatever was counted.
const WAITING: usize = 1 << 16;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// An event.
    Event(u64, T),
    /// Events that were lost: the first number, and how many.
    Lost(u64, u64),
}

/// The order of one scope's events.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The number that comes next.
    next: u64,
    /// Events that have come before it; none for those that are not told.
    waiting: BTreeMap<u64, Option<T>>,
    /// Losses that have been told.
    told: u64,
}

impl<T> Order<T> {
    /// An order that begins after the number `last`, when `told` losses were known.
    pub(super) const fn after(last: u64, told: u64) -> Self {
        Self { next: last + 1, waiting: BTreeMap::new(), told }
    }

    /// Takes an event, or notes that there is nothing to tell of one. One whose number has passed
    /// was told as lost.
    pub(super) fn put(&mut self, number: u64, event: Option<T>) {
        if number >= self.next {
            self.waiting.insert(number, event);
        }
    }

    /// Hands out what is complete. `lost` is how many events were lost since the beginning, and
    /// `last` the highest number that was given out, in this order of reading.
    pub(super) fn take(&mut self, lost: u64, last: u64, mut tell: impl FnMut(Next<T>)) {
        self.take_complete(&mut tell);
        let missing = (last + 1).saturating_sub(self.next) - self.count_to(last);
        let is_lost = missing > 0 && missing <= lost.saturating_sub(self.told);
        if is_lost || self.waiting.len() > WAITING {
            self.take_all(last, tell);
        }
    }

    /// Hands out everything up to the number `last`: what has not come is lost, however it was.
    pub(super) fn take_all(&mut self, last: u64, mut tell: impl FnMut(Next<T>)) {
        while self.next <= last {
            self.take_complete(&mut tell);
            let first = self.next;
            let end = self.waiting.keys().next().map_or(last + 1, |next| (*next).min(last + 1));
            if end > first {
                tell(Next::Lost(first, end - first));
                self.told += end - first;
                self.next = end;
            }
        }
        self.take_complete(&mut tell);
    }

    /// Hands out everything up to the number `last` as [`Self::take_all`] does, and takes `lost`
    /// for the number of losses that have been told. Yields how many of those that were told now
    /// nobody had counted.
    pub(super) fn catch_up(&mut self, last: u64, lost: u64, tell: impl FnMut(Next<T>)) -> u64 {
        let before = self.told;
        self.take_all(last, tell);
        let told = self.told - before;
        self.told = lost;
        told.saturating_sub(lost.saturating_sub(before))
    }

    /// The last number that was handed out, and how many losses were told.
    pub(super) const fn position(&self) -> (u64, u64) {
        (self.next - 1, self.told)
    }

    fn take_complete(&mut self, tell: &mut impl FnMut(Next<T>)) {
        while let Some(event) = self.waiting.remove(&self.next) {
            if let Some(event) = event {
                tell(Next::Event(self.next, event));
            }
            self.next += 1;
        }
    }

    fn count_to(&self, last: u64) -> u64 {
        self.waiting.range(..=last).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(order: &mut Order<u64>, lost: u64, last: u64) -> Vec<Next<u64>> {
        let mut told = Vec::new();
        order.take(lost, last, |next| told.push(next));
        told
    }

    #[test]
    fn an_event_that_comes_early_waits_for_those_before() {
        let mut order = Order::after(0, 0);
        order.put(2, Some(20));
        assert_eq!(all(&mut order, 0, 2), []);
        order.put(1, Some(10));
        assert_eq!(all(&mut order, 0, 2), [Next::Event(1, 10), Next::Event(2, 20)]);
    }

    #[test]
    fn what_is_missing_is_lost_only_when_as_much_was_counted() {
        let mut order = Order::after(7, 3);
        order.put(10, Some(10));
        // 8 was lost, and 9 is under way.
        assert_eq!(all(&mut order, 4, 10), []);
        order.put(9, Some(9));
        assert_eq!(
            all(&mut order, 4, 10),
            [Next::Lost(8, 1), Next::Event(9, 9), Next::Event(10, 10)]
        );
        assert_eq!(order.position(), (10, 4));
    }

    #[test]
    fn losses_after_the_last_event_are_told_too() {
        let mut order = Order::after(0, 0);
        order.put(1, Some(1));
        assert_eq!(all(&mut order, 2, 3), [Next::Event(1, 1), Next::Lost(2, 2)]);
    }

    #[test]
    fn at_the_end_everything_is_handed_out() {
        let mut order = Order::after(0, 0);
        order.put(3, Some(3));
        order.put(4, None);
        let mut told = Vec::new();
        order.take_all(5, |next| told.push(next));
        assert_eq!(told, [Next::Lost(1, 2), Next::Event(3, 3), Next::Lost(5, 1)]);
    }

    #[test]
    fn what_nobody_counted_was_lost_otherwise() {
        for (lost, uncounted) in [(3, 3), (4, 2), (6, 0), (9, 0)] {
            let mut order = Order::after(7, 3);
            order.put(9, Some(9));
            let mut told = Vec::new();
            assert_eq!(order.catch_up(11, lost, |next| told.push(next)), uncounted, "{lost}");
            assert_eq!(told, [Next::Lost(8, 1), Next::Event(9, 9), Next::Lost(10, 2)]);
            assert_eq!(order.position(), (11, lost));
        }
    }

    proptest! {
        #[test]
        fn every_number_is_handed_out_once_and_in_order(
            lost in proptest::collection::vec(any::<bool>(), 0..40),
            moves in proptest::collection::vec((0_usize..40, 0_usize..40), 0..40),
        ) {
            let last = lost.len() as u64;
            let mut coming: Vec<u64> =
                (1..=last).filter(|number| !lost[*number as usize - 1]).collect();
            for (from, to) in moves {
                if from < coming.len() && to < coming.len() {
                    coming.swap(from, to);
                }
            }
            let count = lost.iter().filter(|lost| **lost).count() as u64;
            let mut order = Order::after(0, 0);
            let mut numbers = Vec::new();
            let mut tell = |next: Next<u64>| match next {
                Next::Event(number, event) => {
                    assert_eq!(number, event);
                    numbers.push((number, true));
                }
                Next::Lost(first, count) => {
                    numbers.extend((first..first + count).map(|number| (number, false)));
                }
            };
            for number in coming {
                order.put(number, Some(number));
                order.take(count, last, &mut tell);
            }
            order.take(count, last, &mut tell);
            let expected: Vec<_> =
                (1..=last).map(|number| (number, !lost[number as usize - 1])).collect();
            prop_assert_eq!(numbers, expected);
        }
    }
}
