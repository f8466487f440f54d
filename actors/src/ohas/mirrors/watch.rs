//! Looks every second whether a volume's data path answers, as the stack does with its other services.

use std::{sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::{task::JoinHandle, time};

use super::mirror_actor::MirrorMsg;
use crate::ports::volumes::{VolumeEvent, VolumePath};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// An answer that takes longer is told of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks until the path has ended, which the actor is told of as if the path had said so.
pub fn watch(path: Arc<dyn VolumePath>, actor: ActorRef<MirrorMsg>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            time::sleep(INTERVAL).await;
            let mut answer = path.answers();
            let answered = match time::timeout(PATIENCE, &mut answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    let _gone = actor.cast(MirrorMsg::Answers(false));
                    let answered = answer.await;
                    let _gone = actor.cast(MirrorMsg::Answers(true));
                    answered
                }
            };
            if let Err(error) = answered {
                let ended = VolumeEvent::Ended { why: error.to_string() };
                let _gone = actor.cast(MirrorMsg::Path(ended));
                return;
            }
        }
    })
}
