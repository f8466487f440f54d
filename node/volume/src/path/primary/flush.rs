//! Barriers: what was answered before a flush is on the disks when it is answered (R32).

use std::rc::Rc;

use tasuki_core::mirror::state::PeerMode;
use tokio::task::yield_now;

use super::{Engine, Peer, Through};
use crate::{
    block::BlockError,
    path::{copy::DiskError, options::lacks, work::work},
};

/// A frame passes so many tasks of this thread until it is in the kernel: the session's, and those of
/// what carries the stream.
const HANDS: usize = 4;

impl Engine {
    /// A barrier on both legs. A peer that is required and away is waited for until it is put out.
    pub async fn flush(&self) -> Result<(), BlockError> {
        let number = self.copy.journal().number();
        self.flush_peers(number);
        loop {
            if self.failing.get() {
                return Err(BlockError::Io);
            }
            if self.through.get() != Through::Own || self.copy.journal().is_flushed(number) {
                break;
            }
            match self.flush_own(number).await {
                // It covers what was answered; what is still under way nobody was told of.
                Ok(()) => break,
                Err(why) => self.disk_failed(&why),
            }
        }
        if !lacks!(self.shared.options, R32OwnOnly) && !self.is_flushed(number) {
            self.until(|| self.failing.get() || self.is_flushed(number)).await;
        }
        if self.failing.get() { Err(BlockError::Io) } else { Ok(()) }
    }

    /// The own disk, on this thread if nobody else needs that; then what goes to peers goes first.
    async fn flush_own(&self, number: u64) -> Result<(), DiskError> {
        // One that was begun ahead of this question.
        self.copy.flush_that_covers(number).await;
        if self.copy.journal().is_flushed(number) {
            return Ok(());
        }
        if self.under_way.get() > 1 || !self.copy.is_quick() {
            return self.copy.flush().await;
        }
        if self.has_peers() {
            let_go_first().await;
        }
        self.copy.flush_here().await
    }

    /// A flush that the client has not asked for yet: with a peer beside the peer's, which was sent behind
    /// the write; without one when the write's answer has gone.
    pub async fn flush_ahead(&self) {
        if !self.has_peers() {
            let_go_first().await;
        }
        if self.habit.get().waits() {
            let _it_fails_with_the_request = self.flush().await;
        }
    }

    /// Writes go to a peer too.
    pub fn has_peers(&self) -> bool {
        self.peers.borrow().iter().any(Peer::in_use)
    }

    pub fn flush_peers(&self, number: u64) {
        for peer in self.peers.borrow().iter() {
            if let Some(session) = peer.session.as_ref().filter(|_| peer.in_use()) {
                session.flush(number);
            }
        }
    }

    /// Every leg that has to has flushed everything up to this write. The own disk is not asked.
    fn is_flushed(&self, number: u64) -> bool {
        // A session that began meanwhile has to flush too, if it is waited for.
        self.flush_peers(number);
        let peers = self.peers.borrow();
        let through = match self.through.get() {
            Through::Own => None,
            Through::Nowhere => return false,
            Through::Peer(slot) => Some(slot),
        };
        peers.iter().enumerate().all(|(slot, peer)| {
            let session = peer.session.as_ref().filter(|_| peer.in_use());
            match session {
                Some(session) => session.has_flushed(number),
                None => peer.mode != PeerMode::Required && through != Some(slot),
            }
        })
    }

    /// Makes a flush that nobody asked for, so that there is less to be remembered.
    pub fn flush_soon(self: &Rc<Self>) {
        if self.flushing.replace(true) {
            return;
        }
        let engine = self.clone();
        work(async move {
            let _it_fails_with_the_requests = engine.flush().await;
            engine.flushing.set(false);
        });
    }
}

/// What this thread has on its way out goes first.
async fn let_go_first() {
    for _ in 0..HANDS {
        yield_now().await;
    }
}
