//! Cables that are cut on purpose, by tests and the lab.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tasuki_core::ids::ServerName;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::StreamSettings;
use crate::edge::peer::Cuts;

/// How often a stream looks whether its cable is cut on purpose.
const LOOK: Duration = Duration::from_millis(20);

/// Whether a stream's cable is cut on purpose. Once it was, the stream never works again: what it lost
/// is not sent twice.
pub struct CutWatch {
    cuts: Arc<Cuts>,
    peer: ServerName,
    here_or_there: SocketAddr,
    silence: Duration,
    since: Mutex<Option<Instant>>,
}

impl CutWatch {
    pub fn new(cuts: Arc<Cuts>, peer: ServerName, at: SocketAddr, settings: StreamSettings) -> Arc<Self> {
        let silence = settings.beat + settings.silence;
        Arc::new(Self { cuts, peer, here_or_there: at, silence, since: Mutex::default() })
    }

    pub fn is_cut(&self) -> bool {
        if !self.cuts.may_cut() {
            return false;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() && self.cuts.is_cut_at(&self.peer, self.here_or_there.ip()) {
            *since = Some(Instant::now());
        }
        since.is_some()
    }

    /// Resolves when a cut has lasted as long as a real one takes to be noticed.
    pub async fn noticed(&self) {
        if !self.cuts.may_cut() {
            return std::future::pending().await;
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.is_cut();
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|at| at.elapsed() >= self.silence) {
                return;
            }
        }
    }
}
