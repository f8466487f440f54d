//! One of two servers that loses the other asks the tie-break whether it may go on alone.
//!
//! Started by the synchronisation supervisor; owns since when nothing was exchanged with the other.
//! Lost at a restart: that, which begins anew, what the record said at the start, and under which membership they exchanged entries
//! last, so that a fence breaks no tie before they have done so again (R19).

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::TieBreak,
    ids::{Lineage, RaftId, ServerName},
    membership::{
        alone::{Beginning, Side, claim_delay, other_of_two, patience, time_to_come_up},
        tie_break::{OwnLog, Record},
    },
    registry::{State as Registry, state::ServerMode},
    time::Timestamp,
};

use super::{
    claim::{Claim, Outcome},
    named::Named,
};
use crate::{
    context::Context,
    follow::Follow,
    ohas::registry::{raft_node::RaftNode, register},
    ports::RegisterError,
};

/// What the vote actor is told.
#[derive(Debug)]
pub enum VoteMsg {
    /// Time to look.
    Beat,
    /// What became of a claim.
    Claimed(Outcome),
    /// What the record says, asked when the node starts.
    Named(Result<Option<Record>, RegisterError>),
}

/// The actor.
pub struct VoteActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    /// The other one, and what was exchanged with it.
    other: Option<Exchanges>,
    named: Named,
    busy: bool,
    /// The next claim not before.
    again: Timestamp,
    _follow: Follow,
}

struct Exchanges {
    with: RaftId,
    count: u64,
    /// When the count last changed.
    last: Timestamp,
    /// Nothing was exchanged yet.
    none_yet: bool,
    /// The number of the membership under which entries were exchanged last (R19).
    replicated: Option<u64>,
}

impl Actor for VoteActor {
    type Msg = VoteMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<VoteMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = Follow::beats(context.timing().beat, me, || VoteMsg::Beat);
        let again = context.ports.clock.now();
        Ok(State { context, other: None, named: Named::new(again), busy: false, again, _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<VoteMsg>,
        message: VoteMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            VoteMsg::Beat => state.look(&me),
            VoteMsg::Claimed(outcome) => state.claimed(outcome),
            VoteMsg::Named(answer) => {
                state.named.answered(&state.context, answer);
                state.look(&me);
            }
        }
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<VoteMsg>) {
        let Some(raft) = self.context.raft.borrow().clone() else { return };
        let registry = self.context.state();
        let lineage = registry.lineage.clone().unwrap_or_else(|| self.context.options.lineage.clone());
        let Some((own, other)) = pair(&raft, lineage) else {
            self.other = None;
            self.waits(None);
            return;
        };
        let now = self.context.ports.clock.now();
        let exchanges = self.exchanges(&raft, &own, other, now);
        let (since, none_yet) = (now.since(exchanges.last), exchanges.none_yet);
        let replicated = exchanges.replicated == Some(own.number);
        let kind = register::configured(&self.context, &registry);
        if kind == TieBreak::None {
            raft.lift_hold(); // it was taken out of the configuration: two that lose each other stop
        }
        let name = raft.member(other).map(|member| member.server);
        let silent = name.as_ref().is_none_or(|name| self.is_silent(name));
        let beginning = if none_yet {
            self.beginning(me, &registry, &own, silent)
        } else {
            self.named.forget(); // from here on it is changed by whoever leads
            Beginning::Over
        };
        let due = since >= self.wait_for(&registry, name.as_ref(), silent, beginning);
        let listens = raft.on_hold() && !silent; // it is there, and has more to say
        if kind == TieBreak::None || !due || listens || self.stops(&registry) {
            self.waits(None);
            return;
        }
        let (Some(other), false) = (name, self.busy || now < self.again) else { return };
        self.busy = true;
        let claim = Claim { context: self.context.clone(), raft, own, other, replicated };
        let me = me.clone();
        if self.context.tie_break.waits.borrow().is_none() {
            let (text, lost) = (format!("{} is lost, and the tie-break is asked", claim.other), since);
            self.context.tell(
                "tie-break-asked",
                "cluster",
                format!("{text} (after {} ms)", lost.as_millis()),
            );
            self.waits(Some("asked".into()));
        }
        tokio::spawn(async move {
            let outcome = claim.attempt(&kind).await;
            let _ = me.cast(VoteMsg::Claimed(outcome));
        });
    }

    fn claimed(&mut self, outcome: Outcome) {
        self.busy = false;
        self.again = self.context.ports.clock.now() + self.context.timing().beat;
        match outcome {
            Outcome::Alone => self.waits(None),
            Outcome::Waits(why) => {
                let news = self.context.tie_break.waits.borrow().as_ref() != Some(&why);
                if news {
                    self.context.tell("tie-break-waits", "cluster", why.clone());
                }
                self.waits(Some(why));
            }
        }
    }

    /// What was exchanged with the other one, as of now.
    fn exchanges(&mut self, raft: &RaftNode, own: &OwnLog, other: RaftId, now: Timestamp) -> &Exchanges {
        let count = raft.exchanges(other);
        let fresh = Exchanges { with: other, count: 0, last: now, none_yet: true, replicated: None };
        let known = self.other.take().filter(|known| known.with == other).unwrap_or(fresh);
        let mut exchanges = known;
        if exchanges.count != count {
            (exchanges.count, exchanges.last, exchanges.none_yet) = (count, now, false);
            let settled = raft.voters().is_some_and(|last| last.committed && last.number == own.number);
            // R19: of both, not only of this one: the other may have gone on alone since.
            let both = raft.exchanged_under(other) == Some(own.number);
            if settled && both && own.configs.len() == 1 {
                exchanges.replicated = Some(own.number);
            }
        }
        self.other.insert(exchanges)
    }

    /// Not heard on any network. A serial line or a voting file only says that it lives.
    fn is_silent(&self, name: &ServerName) -> bool {
        let view = self.context.view.borrow();
        let peer = view.peers.get(name);
        peer.is_none_or(|peer| peer.is_silent() || !peer.heard_only_on().is_empty())
    }

    /// How long without an exchange until the other one is taken as lost.
    fn wait_for(
        &self,
        registry: &Registry,
        other: Option<&ServerName>,
        silent: bool,
        beginning: Beginning,
    ) -> Duration {
        let timing = self.context.timing();
        let side = |name: &ServerName| Side {
            weight: registry.owned_by(name).count(),
            number: registry.servers.get(name).map_or(u32::MAX, |server| server.config.value.number),
        };
        let delay =
            other.map_or(Duration::ZERO, |other| claim_delay(side(self.context.me()), side(other), &timing));
        let startup = registry.settings.as_ref().map_or(Duration::ZERO, |s| s.value.startup_wait);
        patience(&timing, silent).max(time_to_come_up(beginning, startup, &timing)) + delay
    }

    /// What this node's start says of the other one, with which nothing was exchanged since.
    fn beginning(
        &mut self,
        me: &ActorRef<VoteMsg>,
        registry: &Registry,
        own: &OwnLog,
        silent: bool,
    ) -> Beginning {
        let before = registry.presence(self.context.me()).and_then(|presence| presence.boot.as_ref());
        if self.named.is_so(&self.context, me, own) {
            Beginning::Named
        } else if silent && before == Some(&self.context.boot) {
            Beginning::OfTheNode
        } else {
            Beginning::OfTheMachine
        }
    }

    /// One that is stopping takes nothing over; both together stay the two that they are (R22).
    fn stops(&self, registry: &Registry) -> bool {
        let me = self.context.me();
        let leaves = registry.presence(me).is_some_and(|p| matches!(p.mode, ServerMode::Leaving(_)));
        leaves || registry.stops_with_cluster(me).is_some()
    }

    fn waits(&self, what: Option<String>) {
        self.context.tie_break.waits.send_if_modified(|old| {
            let changed = *old != what;
            *old = what;
            changed
        });
    }
}

fn pair(raft: &RaftNode, lineage: Lineage) -> Option<(OwnLog, RaftId)> {
    let own = raft.own_log(lineage)?;
    let other = other_of_two(&own)?;
    Some((own, other))
}
