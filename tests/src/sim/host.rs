//! A node process: a runtime of its own, in this thread, whose time moves as its machine's clock
//! does. Dropping it is a kill.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tasuki_actors::{NodeHandle, NodeOptions, ports::Ports};
use tasuki_core::registry::State;
use tokio::{runtime::Runtime, sync::watch};

/// A jump of the clock beyond this is a thaw: everything that was due is due at once.
const JUMP: u64 = 20;

/// See the module.
pub struct Host {
    runtime: Runtime,
    /// The machine's clock when it started.
    since: u64,
    /// Milliseconds of its own that it has lived.
    lived: u64,
    slot: Arc<Mutex<Slot>>,
    /// What it shows of the registry, once it has started.
    pub states: Option<watch::Receiver<Arc<State>>>,
    /// The last entry that the invariants have seen applied here.
    pub applied: u64,
    /// The term in which it was last seen to decide.
    pub leads: u64,
    /// The incarnation that it presented.
    pub presented: u64,
}

#[derive(Default)]
struct Slot {
    node: Option<NodeHandle>,
    ended: Option<String>,
}

fn locked(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Starts a node, at this time of its machine's clock.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub fn start(options: NodeOptions, ports: Ports, clock: u64) -> std::io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let slot = Arc::new(Mutex::new(Slot::default()));
        let mine = slot.clone();
        runtime.spawn(async move {
            let why = match tasuki_actors::start(options, ports).await {
                Ok((node, ended)) => {
                    locked(&mine).node = Some(node);
                    match ended.await {
                        Ok(()) => "the tree has ended".to_owned(),
                        Err(error) => format!("the tree has ended: {error}"),
                    }
                }
                Err(error) => format!("did not start: {error}"),
            };
            let mut slot = locked(&mine);
            slot.node = None;
            slot.ended = Some(why);
        });
        Ok(Self { runtime, since: clock, lived: 0, slot, states: None, applied: 0, leads: 0, presented: 0 })
    }

    /// Lives up to this time of its machine's clock.
    pub fn live(&mut self, clock: u64) {
        let until = clock.saturating_sub(self.since) / 1_000_000;
        let span = until.saturating_sub(self.lived);
        if span == 0 {
            return;
        }
        self.lived = until;
        let span_millis = Duration::from_millis(span);
        self.runtime.block_on(async move {
            if span > JUMP {
                tokio::time::advance(span_millis).await;
            } else {
                tokio::time::sleep(span_millis).await;
            }
        });
    }

    /// The node, once it has started.
    #[must_use]
    pub fn node(&self) -> Option<NodeHandle> {
        locked(&self.slot).node.clone()
    }

    /// Why it has ended by itself.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        locked(&self.slot).ended.clone()
    }

    /// Runs something in it.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, work: F) {
        drop(self.runtime.spawn(work));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _inside = self.runtime.enter(); // what ends in it may still want to say so
        locked(&self.slot).node = None;
    }
}
