//! SWIM gossip over the heartbeat paths: a server that this one cannot hear is asked about
//! through others.
//!
//! Started by the synchronisation supervisor; owns the foca instance. Lost at a restart: its
//! rumours, which the others bring back. Evidence only: nothing is started or stopped because of it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use foca::{
    AccumulatingRuntime, Config, Foca, Identity, NoCustomBroadcast, OwnedNotification, PostcardCodec,
    State as SwimState, Timer,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tasuki_core::{ids::ServerName, membership::view::GossipState};

use super::link_actor::LinkMessage;
use crate::{context::Context, follow::Follow};

/// A server in gossip: a name, and a count that grows when the server has to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gossiper {
    name: ServerName,
    life: u64,
}

impl Identity for Gossiper {
    type Addr = ServerName;

    fn renew(&self) -> Option<Self> {
        Some(Self { name: self.name.clone(), life: self.life + 1 })
    }

    fn addr(&self) -> ServerName {
        self.name.clone()
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self.life > other.life
    }
}

/// What the gossip actor is told.
pub enum GossipMsg {
    /// A message from a peer.
    Heard(Vec<u8>),
    /// A timer of foca's is due.
    Due(Timer<Gossiper>),
    /// Time to look for servers that gossip does not know yet.
    Announce,
}

/// The actor.
pub struct GossipActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    foca: Foca<Gossiper, PostcardCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Gossiper>,
    _announce: Follow,
}

impl Actor for GossipActor {
    type Msg = GossipMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<GossipMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.gossip_actor.set(me.clone());
        let timing = context.timing();
        // A restarted node must win over its own rumour; it may renew a thousand times in between.
        let life = context.options.incarnation.0 * 1000;
        let identity = Gossiper { name: context.me().clone(), life };
        let servers = u32::try_from(context.config().servers.len()).unwrap_or(u32::MAX);
        let mut config = Config::new_lan(NonZeroU32::new(servers).unwrap_or(NonZeroU32::MIN));
        config.probe_period = timing.detect.max(Duration::from_millis(200));
        config.probe_rtt = config.probe_period / 3;
        config.suspect_to_down_after = timing.detect * 2;
        config.remove_down_after = Some(Duration::from_secs(60));
        let seed = context.options.raft_id.0 ^ context.ports.clock.now().0;
        let foca = Foca::new(identity, config, StdRng::seed_from_u64(seed), PostcardCodec);
        let announce = Follow::beats(timing.detect, me, || GossipMsg::Announce);
        Ok(State { context, foca, runtime: AccumulatingRuntime::new(), _announce: announce })
    }

    async fn handle(
        &self,
        me: ActorRef<GossipMsg>,
        message: GossipMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let result = match message {
            GossipMsg::Heard(data) => state.foca.handle_data(&data, &mut state.runtime),
            GossipMsg::Due(timer) => state.foca.handle_timer(timer, &mut state.runtime),
            GossipMsg::Announce => state.announce(),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "gossip"); // a stale or foreign rumour; the next one mends it
        }
        state.perform(&me);
        Ok(())
    }
}

impl State {
    /// `announce` is one-shot: repeated until the peer is a member.
    fn announce(&mut self) -> Result<(), foca::Error> {
        let known: Vec<ServerName> = self.foca.iter_members().map(|m| m.id().name.clone()).collect();
        for server in self.context.config().servers.into_keys() {
            if server != *self.context.me() && !known.contains(&server) {
                self.foca.announce(Gossiper { name: server, life: 0 }, &mut self.runtime)?;
            }
        }
        self.publish();
        Ok(())
    }

    fn perform(&mut self, me: &ActorRef<GossipMsg>) {
        while let Some((to, data)) = self.runtime.to_send() {
            self.context.links.send(&self.context, &to.name, &LinkMessage::Gossip(data.to_vec()));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            drop(me.send_after(after, move || GossipMsg::Due(timer)));
        }
        let mut news = false;
        while let Some(notification) = self.runtime.to_notify() {
            news = true;
            let (kind, who) = match notification {
                OwnedNotification::MemberUp(who) => ("gossip-up", who),
                OwnedNotification::MemberDown(who) => ("gossip-down", who),
                _ => continue,
            };
            let word = if kind == "gossip-up" { "is alive" } else { "is heard by nobody" };
            self.context.tell(kind, format!("server/{}", who.name), format!("{} {word}", who.name));
        }
        if news {
            self.publish();
        }
    }

    fn publish(&self) {
        for member in self.foca.iter_membership_state() {
            let state = match member.state() {
                SwimState::Alive => GossipState::Alive,
                SwimState::Suspect => GossipState::Suspect,
                SwimState::Down => GossipState::Dead,
            };
            self.context.links.set_gossip(&self.context, &member.id().name, state);
        }
    }
}
