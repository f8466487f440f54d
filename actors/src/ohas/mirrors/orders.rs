//! What the machine asks of the data path, done in order beside the actor: it waits for a disk or a
//! peer, and the actor must not. What takes long begins in its turn and does not hold up the rest: a
//! device that goes away may wait for a peer that the next order puts aside.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ractor::ActorRef;
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::state::{Event, PeerMode},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::mirror_actor::MirrorMsg;
use crate::ports::volumes::{VolumeError, VolumePath};

/// Between two tries to take a device away that something still uses.
const AGAIN: Duration = Duration::from_secs(1);

/// One order.
#[derive(Debug)]
pub(super) enum Order {
    StoreEpoch(Epoch),
    StoreStep { generation: Generation, by: ServerName },
    SetPeer { peer: ServerName, mode: PeerMode },
    StartResync { peer: ServerName, full: bool, save: bool },
    PauseResync { peer: ServerName, rest: bool },
    StopResync { peer: ServerName },
    Attach(Epoch),
    Detach,
    GoDiskless { through: ServerName },
    RememberFailure,
    LetGo,
}

/// The task that does them; it ends with its owner.
pub(super) struct Orders {
    queue: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Orders {
    /// For this data path; what comes of the orders goes to `actor`.
    pub fn to(path: Arc<dyn VolumePath>, actor: ActorRef<MirrorMsg>) -> Self {
        let (queue, mut orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                do_one(&path, &actor, order).await;
            }
        });
        Self { queue, task }
    }

    pub fn give(&self, order: Order) {
        let _ended = self.queue.send(order);
    }
}

async fn do_one(path: &Arc<dyn VolumePath>, actor: &ActorRef<MirrorMsg>, order: Order) {
    let say = |event: Event| {
        let _gone = actor.cast(MirrorMsg::Event(event));
    };
    let stored = |stored: Result<(), VolumeError>, event: Event| match stored {
        Ok(()) => say(event),
        // The node ends, or the volume is being closed: nothing follows from it.
        Err(VolumeError::Ended) => {}
        // A management area that does not take a word is a copy that is lost (R27).
        Err(error) => say(Event::DiskFailed { why: error.to_string() }),
    };
    match order {
        Order::StoreEpoch(epoch) => stored(path.store_epoch(epoch).await, Event::EpochStored),
        Order::StoreStep { generation, by } => {
            stored(path.store_step(generation, &by).await, Event::CopyStored);
        }
        Order::SetPeer { peer, mode } => {
            if path.set_peer(&peer, mode).await {
                say(Event::PeerSet { peer, mode });
            }
        }
        Order::StartResync { peer, full, save } => path.start_resync(&peer, full, save),
        Order::PauseResync { peer, rest } => path.pause_resync(&peer, rest),
        Order::StopResync { peer } => path.stop_resync(&peer),
        Order::GoDiskless { through } => {
            if let Err(error) = path.go_diskless(&through).await {
                say(Event::PeerLost { peer: through, why: error.to_string() });
            }
        }
        Order::RememberFailure => {
            if let Err(error) = path.remember_failure().await {
                tracing::warn!(%error, "that the disk has failed is known until the node ends, and not longer");
            }
        }
        Order::Attach(epoch) => {
            let (path, actor) = (path.clone(), actor.clone());
            tokio::spawn(async move {
                let attached = attach(&*path, epoch).await;
                let _gone = actor.cast(MirrorMsg::Attached(attached));
            });
        }
        Order::Detach => {
            let (path, actor) = (path.clone(), actor.clone());
            tokio::spawn(async move {
                if detach(&*path, &actor).await {
                    let _gone = actor.cast(MirrorMsg::Event(Event::Detached));
                }
            });
        }
        Order::LetGo => {
            let (path, actor) = (path.clone(), actor.clone());
            tokio::spawn(async move {
                if !detach(&*path, &actor).await {
                    return;
                }
                if let Err(error) = path.become_secondary().await {
                    tracing::error!(%error, "the volume was not closed in order");
                }
                let _gone = actor.cast(MirrorMsg::LetGo);
            });
        }
    }
}

async fn attach(path: &dyn VolumePath, epoch: Epoch) -> Result<PathBuf, VolumeError> {
    path.become_primary(epoch).await?;
    path.attach().await
}

/// Until it is away; false when the actor is gone, and a later one does it.
async fn detach(path: &dyn VolumePath, actor: &ActorRef<MirrorMsg>) -> bool {
    while let Err(error) = path.detach().await {
        if error == VolumeError::Ended {
            return true;
        }
        if actor.cast(MirrorMsg::Problem(error.to_string())).is_err() {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
    }
    true
}
