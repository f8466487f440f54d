//! The only place with effects: what the machine has decided is done.

use std::time::Duration;

use tasuki_core::{
    ids::Revision,
    mirror::state::{Action, Event, NotPromoted, Outcome, Wake},
    registry::{Author, Command, Key, mirror::VolumeCommand},
};

use super::{
    super::{orders::Order, places_of, told},
    MirrorMsg, Phase, State,
};
use crate::{handle::RegistryError, propose::propose};

impl State {
    /// The only place with effects.
    pub(super) fn perform(&mut self, action: Action) {
        tracing::debug!(volume = %self.volume, ?action, "mirror");
        match action {
            Action::StoreEpoch(epoch) => {
                self.epoch = epoch;
                self.order(Order::StoreEpoch(epoch));
            }
            Action::StoreStep { generation, by } => self.order(Order::StoreStep { generation, by }),
            Action::Connect { peer, epoch } => {
                if let (Some(path), Some(config)) = (self.desk.path(), &self.config) {
                    let at = places_of(&self.context.config(), &config.disk, &peer);
                    path.connect(&peer, &at, epoch);
                    self.called.insert(peer, (at, epoch));
                }
            }
            Action::Disconnect { peer } => {
                self.called.remove(&peer);
                if let Some(path) = self.desk.path() {
                    path.disconnect(&peer);
                }
            }
            Action::SetPeer { peer, mode } => self.order(Order::SetPeer { peer, mode }),
            Action::Propose { command, read } => self.propose(command, read),
            Action::StartResync { peer, full, save } => {
                self.order(Order::StartResync { peer, full, save });
            }
            Action::PauseResync { peer, rest } => self.order(Order::PauseResync { peer, rest }),
            Action::StopResync { peer } => self.order(Order::StopResync { peer }),
            Action::Attach => self.order(Order::Attach(self.epoch)),
            Action::Detach => self.order(Order::Detach),
            Action::GoDiskless { through } => self.order(Order::GoDiskless { through }),
            Action::FailIo => {
                if let Some(path) = self.desk.path() {
                    path.fail_io();
                }
                // Whoever uses it is told; nobody else would close it after an ownership that is over.
                let mut inner = self.desk.inner();
                inner.wanted = None;
                inner.end_use("the volume may no longer be used here");
                drop(inner);
                self.me_again();
            }
            Action::Promoted(promoted) => self.promoted(promoted),
            Action::Demoted => self.order(Order::LetGo),
            Action::Wake(wake) => self.wake(wake),
            Action::Tell(note) => {
                let (kind, text) = told::words(&note);
                self.tell(kind, text);
            }
        }
    }

    /// What is wanted has changed while an event was being handled.
    pub(super) fn me_again(&self) {
        let _gone = self.me.cast(MirrorMsg::Wanted);
    }

    pub(super) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            orders.give(order);
        }
    }

    pub(super) fn promoted(&mut self, promoted: Result<(), NotPromoted>) {
        match promoted {
            Ok(()) => {
                if let Phase::Opening(epoch) = self.phase {
                    self.set_phase(Phase::Open(epoch));
                }
                self.reconcile();
            }
            Err(why) => {
                let mut inner = self.desk.inner();
                inner.answer_promoting(|| Err(why.clone().into()));
                if self.phase == Phase::Closing {
                    return; // `Demoted` follows
                }
                inner.wanted = None;
                inner.end_use(&why.to_string());
                drop(inner);
                self.set_phase(Phase::Closing);
                self.order(Order::LetGo);
            }
        }
    }

    pub(super) fn propose(&self, command: VolumeCommand, read: Option<Revision>) {
        let (context, me, volume) = (self.context.clone(), self.me.clone(), self.volume.clone());
        tokio::spawn(async move {
            let whole = Command::Volume { volume: volume.clone(), command: command.clone() };
            let read = vec![(Key::Volume(volume.clone()), read.unwrap_or_default())];
            let author = Author::Server(context.me().clone());
            let outcome = match propose(&context, author, whole, None, read).await {
                Ok(accepted) => Outcome::Accepted(accepted.revision),
                Err(RegistryError::Refused(why)) => {
                    tracing::info!(%volume, %command, %why, "refused");
                    Outcome::Refused
                }
                Err(error) => {
                    tracing::warn!(%volume, %command, %error, "not known to be done");
                    Outcome::Unclear
                }
            };
            let _gone = me.cast(MirrorMsg::Event(Event::Outcome { command, outcome }));
        });
    }

    pub(super) fn wake(&mut self, wake: Wake) {
        let timing = self.context.timing();
        let after = match wake {
            // Only those are waited for whom the registry has as up: who does not answer in the time in
            // which a lost server is noticed is put out.
            Wake::Meet => timing.detect.max(Duration::from_millis(500)),
            Wake::Again => timing.beat.max(Duration::from_millis(20)),
            Wake::Patience => timing.beat,
        };
        let me = self.me.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _gone = me.cast(MirrorMsg::Event(Event::Woken(wake)));
        });
        if let Some(before) = self.wakes.insert(wake, task) {
            before.abort();
        }
    }

    pub(super) fn tell(&self, kind: &str, text: String) {
        self.context.tell(kind, format!("volume/{}", self.volume), text);
    }
}
