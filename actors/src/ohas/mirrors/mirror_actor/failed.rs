//! A disk that has failed: remembered, until an operator says that it is in order again.

use tasuki_core::{mirror::DiskState, registry::State as Registry};

use super::{
    super::{handle::MirrorError, orders::Order},
    Phase, State,
};

impl State {
    /// A disk that failed is remembered once nobody counts on its copy any more: the last good one is
    /// tried again by the next node.
    pub(super) fn remember_failure(&mut self) {
        if self.remembers || self.machine.is_none() {
            return;
        }
        let out = |registry: &Registry| {
            let facts = registry.volumes.get(&self.volume);
            facts.is_some_and(|item| !item.value.good.contains(self.context.me()))
        };
        let failed = self.desk.path().is_some_and(|path| path.view().disk == DiskState::Failed);
        if failed && out(&self.context.state()) {
            self.remembers = true;
            self.order(Order::RememberFailure);
        }
    }

    /// The copy on a disk that had failed is opened anew, as one of nothing; whoever asked for that is
    /// answered then.
    pub(super) fn mend(&mut self) {
        let failed = self.desk.path().is_some_and(|path| path.view().disk == DiskState::Failed);
        let open = {
            let mut inner = self.desk.inner();
            if inner.mending.is_empty() {
                return;
            }
            if self.phase != Phase::Closed || inner.wanted.is_some() {
                inner.answer_mending(|| Err(MirrorError::OpenHere(self.volume.clone())));
                return;
            }
            if inner.open.is_none() {
                return; // it is being opened: who asked is answered after that
            }
            if !failed {
                inner.answer_mending(|| Ok(()));
                return;
            }
            inner.open.take()
        };
        (self.machine, self.orders) = (None, None);
        self.close_and_open(open.map(|(path, _)| path));
    }
}
