//! Turns what others publish into messages, for as long as the actor lives.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// A task that ends with its owner.
pub struct Follow(JoinHandle<()>);

impl Drop for Follow {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follow {
    /// One message at every change of a watched value.
    pub fn changes<T, M>(
        mut watched: watch::Receiver<T>,
        actor: ActorRef<M>,
        make: impl Fn() -> M + Send + 'static,
    ) -> Self
    where
        T: Send + Sync + 'static,
        M: Message,
    {
        watched.mark_unchanged();
        Self(tokio::spawn(async move {
            while watched.changed().await.is_ok() {
                if actor.cast(make()).is_err() {
                    return;
                }
            }
        }))
    }

    /// One message at every beat; beats that were missed are not made up for.
    pub fn beats<M: Message>(
        every: Duration,
        actor: ActorRef<M>,
        make: impl Fn() -> M + Send + 'static,
    ) -> Self {
        let mut beats = interval(every.max(Duration::from_millis(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(tokio::spawn(async move {
            loop {
                beats.tick().await;
                if actor.cast(make()).is_err() {
                    return;
                }
            }
        }))
    }
}
