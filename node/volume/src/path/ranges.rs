//! Writes that overlap wait for each other: in whatever order their legs arrive, both copies end up
//! with the same. A block of a resync and a write to the same place exclude each other too (R30).

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use tokio::sync::oneshot;

/// Spans that are in use, each by one.
#[derive(Clone, Default)]
pub struct Ranges(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    /// Start to end; they do not overlap.
    held: BTreeMap<u64, u64>,
    /// Who waits, in order: nobody passes one that waits for the same place.
    waiting: Vec<(u64, u64, oneshot::Sender<Held>)>,
}

/// A span in use, until it is dropped.
pub struct Held {
    ranges: Ranges,
    start: u64,
}

impl Inner {
    fn is_free(&self, start: u64, end: u64) -> bool {
        self.held.range(..end).next_back().is_none_or(|(_, held)| *held <= start)
    }
}

impl Ranges {
    /// Waits until nobody uses any of the bytes from `start` up to, not including, `end`.
    pub async fn hold(&self, start: u64, end: u64) -> Held {
        if let Some(held) = self.try_hold(start, end) {
            return held;
        }
        let (given, wait) = oneshot::channel();
        self.0.borrow_mut().waiting.push((start, end, given));
        match wait.await {
            Ok(held) => held,
            // Who gives it drops the sender only with the table itself, which `self` keeps.
            Err(_) => std::future::pending().await,
        }
    }

    /// The same, if nobody has to be waited for.
    #[must_use]
    pub fn try_hold(&self, start: u64, end: u64) -> Option<Held> {
        let mut inner = self.0.borrow_mut();
        inner.waiting.retain(|(_, _, waits)| !waits.is_closed());
        let passes = inner.waiting.iter().any(|(from, to, _)| *from < end && start < *to);
        if passes || !inner.is_free(start, end) {
            return None;
        }
        inner.held.insert(start, end);
        Some(Held { ranges: self.clone(), start })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.ranges.0.borrow_mut();
        inner.held.remove(&self.start);
        inner.waiting.retain(|(_, _, waits)| !waits.is_closed());
        let mut given = Vec::new();
        let mut at = 0;
        while at < inner.waiting.len() {
            let (start, end, _) = inner.waiting[at];
            let behind = inner.waiting[..at].iter().any(|(from, to, _)| *from < end && start < *to);
            if behind || !inner.is_free(start, end) {
                at += 1;
                continue;
            }
            let (start, end, to) = inner.waiting.remove(at);
            if !to.is_closed() {
                inner.held.insert(start, end);
                given.push((start, to));
            }
        }
        drop(inner);
        for (start, to) in given {
            // One that does not wait any more drops it, which gives it to the next.
            drop(to.send(Held { ranges: self.ranges.clone(), start }));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn r30_overlapping_spans_wait_in_order_and_others_do_not() {
        let ranges = Ranges::default();
        let first = ranges.try_hold(0, 10).unwrap();
        let mut second = Box::pin(ranges.hold(5, 15));
        assert!((&mut second).now_or_never().is_none());
        let mut third = Box::pin(ranges.hold(12, 20));
        assert!((&mut third).now_or_never().is_none(), "nobody passes the second");
        assert!(ranges.try_hold(20, 30).is_some());
        drop(first);
        let second = second.now_or_never().unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(third.now_or_never().unwrap());
        assert!(ranges.try_hold(0, 100).is_some());
    }

    #[test]
    fn one_that_gave_up_waiting_is_passed_over() {
        let ranges = Ranges::default();
        let first = ranges.try_hold(0, 10).unwrap();
        let mut gone = Box::pin(ranges.hold(0, 10));
        assert!((&mut gone).now_or_never().is_none());
        let mut next = Box::pin(ranges.hold(0, 10));
        assert!((&mut next).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(next.now_or_never().is_some());
    }
}
