//! This server's own place in the registry: it presents itself, notices when it has been judged,
//! and leaves in order.
//!
//! Started by the registry's supervisor. Lost at a restart: a leave that was under way, which the
//! registry still wishes and which is then begun again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::{GroupName, Incarnation, ServerName},
    placement::dependency::waits_for,
    planted::{self, Planted},
    registry::{
        Author, Command, State as Registry,
        state::{AfterStop, FailureKind, Presence, ServerMode},
    },
};

use crate::{
    context::Context,
    follow::Follow,
    handle::{RaftStatus, RegistryError},
    ohas::sync::lease_actor::LeaseMsg,
    propose::propose,
};

/// What the presence actor is told.
#[derive(Debug)]
pub enum PresenceMsg {
    /// The registry has changed.
    Look,
    /// What became of presenting this server.
    Presented(Incarnation, Result<(), RegistryError>),
    /// The others know of the watchdog, or it has to be said again.
    Told,
    /// Stop this server, with or without a quorum.
    Leave(AfterStop),
}

/// The actor.
pub struct PresenceActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    presenting: bool,
    telling: bool,
    leaving: bool,
    _follow: [Follow; 2],
}

/// How long a leaving leader waits for the others in a cluster that stops.
const LAST_TO_LEAVE: Duration = Duration::from_secs(30);

impl Actor for PresenceActor {
    type Msg = PresenceMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<PresenceMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.presence_actor.set(me.clone());
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || PresenceMsg::Look),
            Follow::beats(context.timing().detect, me, || PresenceMsg::Look),
        ];
        Ok(State { context, presenting: false, telling: false, leaving: false, _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<PresenceMsg>,
        message: PresenceMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PresenceMsg::Look => state.look(&me),
            PresenceMsg::Presented(incarnation, outcome) => {
                state.presenting = false;
                match outcome {
                    Ok(()) => {
                        state.context.incarnation.send_replace(incarnation);
                        state.context.lease_actor.cast(LeaseMsg::Registry);
                        let (context, object) = (&state.context, format!("server/{}", state.context.me()));
                        context.tell(
                            "server-started",
                            object,
                            format!("started as incarnation {incarnation}"),
                        );
                    }
                    Err(error) => tracing::info!(%error, "not presented yet; trying again"),
                }
                state.look(&me);
            }
            PresenceMsg::Told => state.telling = false,
            PresenceMsg::Leave(after) => state.leave(after),
        }
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<PresenceMsg>) {
        let registry = self.context.state();
        let Some(presence) = registry.presence(self.context.me()).cloned() else { return };
        if presence.raft_id > self.context.options.raft_id {
            // R23: another store has taken this server's place.
            self.context.ports.guard.stand_down("this data folder has been replaced by another one");
            return;
        }
        let mine = *self.context.incarnation.borrow();
        if mine.0 == 0 {
            self.present(me, &presence);
            return;
        }
        if presence.incarnation < mine {
            return; // presented, and not applied here yet
        }
        if presence.incarnation > mine || !presence.up {
            if !self.leaving {
                let why = presence.down_because.as_ref().map(ToString::to_string).unwrap_or_default();
                self.context
                    .ports
                    .guard
                    .stand_down(&format!("this incarnation ({mine}) is no longer up: {why}"));
            }
            return;
        }
        match (presence.mode, registry.stops_with_cluster(self.context.me())) {
            // A final action: to the others this server is lost, and comes back as another incarnation.
            (ServerMode::Leaving(AfterStop::Reset), _) if !self.leaving => {
                self.leaving = true;
                self.context.tell("server-reset", format!("server/{}", self.context.me()), "is being reset");
                self.context.ports.guard.reset("a final action of the recovery says so");
            }
            (ServerMode::Leaving(after), _) | (ServerMode::Active, Some(after)) => self.leave(after),
            _ => self.tell_watchdog(me, &presence),
        }
    }

    /// R10: who fences by watchdog has to know that this incarnation's guard has armed one.
    fn tell_watchdog(&mut self, me: &ActorRef<PresenceMsg>, presence: &Presence) {
        let watchdog = self.context.ports.guard.watchdog();
        let Some(timeout) = watchdog.filter(|_| watchdog != presence.watchdog && !self.telling) else {
            return;
        };
        self.telling = true;
        let (server, incarnation) = (self.context.me().clone(), presence.incarnation);
        let (context, me) = (self.context.clone(), me.clone());
        tokio::spawn(async move {
            let command = Command::WatchdogArmed { server: server.clone(), incarnation, timeout };
            if let Err(error) = propose(&context, Author::Server(server), command, None, Vec::new()).await {
                tracing::info!(%error, "the others do not know of the watchdog yet");
            }
            let _ = me.cast(PresenceMsg::Told); // the actor may have ended
        });
    }

    /// R5: a lease is granted only to an incarnation that the registry knows.
    fn present(&mut self, me: &ActorRef<PresenceMsg>, presence: &Presence) {
        if self.presenting {
            return;
        }
        self.presenting = true;
        let incarnation = self.context.options.incarnation.max(presence.incarnation.next());
        let server = self.context.me().clone();
        let command =
            Command::ServerStarted { server: server.clone(), incarnation, boot: self.context.boot.clone() };
        let (context, me) = (self.context.clone(), me.clone());
        tokio::spawn(async move {
            let outcome = propose(&context, Author::Server(server), command, None, Vec::new()).await;
            let _ = me.cast(PresenceMsg::Presented(incarnation, outcome.map(|_| ())));
        });
    }

    fn leave(&mut self, after: AfterStop) {
        if !self.leaving {
            self.leaving = true;
            self.context.tell("server-leaving", format!("server/{}", self.context.me()), "is stopping");
            let context = self.context.clone();
            tokio::spawn(async move {
                leave(&context).await;
                context.ports.guard.leave(after);
                context.left.send_replace(true);
            });
        }
    }
}

/// R7, in this order: groups stopped, requests void, lease ended in the guard and acknowledged by
/// it, then the entry.
async fn leave(context: &Arc<Context>) {
    let me = context.me().clone();
    let mut registry = context.registry.subscribe();
    while !may_go(&context.state(), &me) && context.holds_lease() {
        let _ = tokio::time::timeout(Duration::from_millis(100), registry.changed()).await;
    }
    let whole_cluster = context.state().stops_with_cluster(&me).is_some();
    let leads = context.leading.borrow().is_some();
    if whole_cluster && leads {
        let others_down = async {
            while context
                .state()
                .servers
                .iter()
                .any(|(name, server)| *name != me && server.presence.as_ref().is_some_and(|p| p.value.up))
            {
                if registry.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_TO_LEAVE, others_down).await;
    } else if leads {
        hand_leadership_over(context).await;
    }
    if !whole_cluster {
        give_vote_up(context).await;
    }
    if let Some(lease) = context.lease_actor.get() {
        let _ = lease.call(LeaseMsg::HandBack, Some(Duration::from_secs(1))).await;
    }
    if !planted::is(Planted::EarlyFarewell)
        && let Err(error) = context.ports.guard.end_lease().await
    {
        // Not provably stopped: the others wait for the lease's end, as for a lost server.
        tracing::error!(%error, "the guard did not confirm that everything has stopped");
        return;
    }
    let incarnation = *context.incarnation.borrow();
    if incarnation.0 > 0 && !(whole_cluster && leads) {
        let command = Command::ServerStopped { server: me.clone(), incarnation };
        if let Err(error) = propose(context, Author::Server(me.clone()), command, None, Vec::new()).await {
            tracing::warn!(%error, "the cluster was not told of the stop; it will wait for the lease's end");
        }
    }
    context.tell("server-stopped", format!("server/{me}"), "has stopped");
}

/// Whether a server that leaves has nothing more to stop. A group that does not stop is stopped by
/// the guard: it does not hold the shutdown up, nor do those that it would have to stop before.
pub(super) fn may_go(state: &Registry, server: &ServerName) -> bool {
    state.owned_by(server).all(|(name, _)| does_not_stop(state, name, &mut BTreeSet::new()))
}

/// R22: one of two waits until the leader has narrowed the voters to itself, so that it goes on
/// without asking the tie-break. Not for ever: then the tie-break is asked.
async fn give_vote_up(context: &Arc<Context>) {
    let voters = |status: &RaftStatus| status.voters.clone();
    let two = |status: &RaftStatus| voters(status).len() == 2 && voters(status).contains(context.me());
    let mut status = context.raft_status.subscribe();
    if !two(&status.borrow_and_update()) {
        return;
    }
    let given = status.wait_for(|status| !two(status));
    if tokio::time::timeout(context.timing().detect * 3, given).await.is_err() {
        tracing::warn!("this server still votes: the other one will ask the tie-break");
    }
}

/// Whether a group failed to stop, or waits for one that did.
fn does_not_stop(state: &Registry, name: &GroupName, seen: &mut BTreeSet<GroupName>) -> bool {
    let report = state.groups.get(name).and_then(|group| group.report.as_ref());
    let failed = report.and_then(|report| report.value.failed.as_ref());
    seen.insert(name.clone())
        && (failed.is_some_and(|failed| failed.kind == FailureKind::Stop)
            || waits_for(state, name).iter().any(|first| does_not_stop(state, first, seen)))
}

/// Spares the others an election.
async fn hand_leadership_over(context: &Arc<Context>) {
    let Some(raft) = context.raft.borrow().clone() else { return };
    let up = |server: &ServerName| {
        context.state().presence(server).is_some_and(|p| p.up && p.mode == ServerMode::Active)
    };
    let mut heirs: Vec<_> = raft
        .members()
        .into_iter()
        .filter(|(id, member, votes)| *votes && *id != context.options.raft_id && up(&member.server))
        .map(|(id, ..)| (raft.lag(id).unwrap_or(u64::MAX), id))
        .collect();
    heirs.sort();
    let Some((_, heir)) = heirs.first() else { return };
    if let Err(error) = raft.transfer_leadership(*heir).await {
        tracing::warn!(%error, "leadership was not handed over; the others will elect");
        return;
    }
    let mut status = context.raft_status.subscribe();
    let other_leads =
        status.wait_for(|status| status.leader.as_ref().is_some_and(|leader| leader != context.me()));
    let _ = tokio::time::timeout(context.timing().election_max * 2, other_leads).await;
}
