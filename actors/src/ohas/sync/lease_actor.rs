//! The lease: this server's own, and, on the Raft leader, everybody's.
//!
//! Started by the synchronisation supervisor; owns the core's [`Holder`] and [`Grantor`]. Lost at
//! a restart: both. A holder born anew asks again, within the lease that the guard still counts; a
//! grant table born anew takes every server to hold a full lease (R2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tasuki_core::{
    ids::{Incarnation, NetworkName, ServerName, Term},
    membership::{
        fencing::{Fences, is_guarded},
        hang::Watched,
        lease::{Grant, Grantor, GrantorAction, GrantorEvent, Holder, HolderAction, HolderEvent, Request},
        view::{GossipState, PeerView},
    },
    planted::{self, Planted},
    reason::Reason,
    registry::{Author, Command, Key},
    time::Timestamp,
};

use super::link_actor::LinkMessage;
use crate::{
    context::{Context, Leading},
    follow::Follow,
    handle::RegistryError,
    propose::propose,
};

/// What the lease actor is told.
pub enum LeaseMsg {
    /// Time to ask, to confirm the quorum, and to look.
    Beat,
    /// The registry has changed.
    Registry,
    /// The log was applied further.
    Applied,
    /// A peer asks, over this path.
    Ask(ServerName, NetworkName, Request),
    /// A server asks, and the leader's last log entry is known.
    Asked(ServerName, Request, u64),
    /// A leader answered.
    Granted(Grant),
    /// A round that was sent then was answered by a quorum in this term (R1, R3).
    Confirmed(Timestamp, Term),
    /// A server says that nothing runs any more of what it started before this incarnation (R21).
    Stopped(ServerName, Incarnation),
    /// What became of a judgement.
    Judged(ServerName, Result<(), RegistryError>),
    /// Until when a server may hold a lease that is granted nothing more by this one; `None` otherwise.
    Withheld(ServerName, RpcReplyPort<Option<Timestamp>>),
    /// Everything has stopped: no lease any more (R7).
    HandBack(RpcReplyPort<()>),
}

/// The actor.
pub struct LeaseActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    holder: Holder,
    grantor: Grantor,
    rounds: Arc<tokio::sync::Semaphore>,
    beats: u64,
    /// The last request of each peer, and the path over which it came first.
    asked: BTreeMap<ServerName, ((Incarnation, u64), NetworkName)>,
    /// Peers that were heard in this actor's life: only their silence says something.
    heard: BTreeSet<ServerName>,
    /// The request of this beat, for whom.
    ask: Option<(ServerName, Request)>,
    _follow: [Follow; 3],
}

/// Rounds under way at once: a slow one must not keep the next from starting.
const ROUNDS: usize = 4;
/// Beats from one round to the next. A round costs a call to every voter; one that is a beat older
/// costs the lease only that beat (R1).
const BEATS_A_ROUND: u64 = 2;

impl Actor for LeaseActor {
    type Msg = LeaseMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<LeaseMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        context.lease_actor.set(me.clone());
        context.leading.send_replace(None);
        let timing = context.timing();
        let follow = [
            Follow::beats(timing.beat, me.clone(), || LeaseMsg::Beat),
            Follow::changes(context.registry.subscribe(), me.clone(), || LeaseMsg::Registry),
            Follow::changes(context.applied.subscribe(), me.clone(), || LeaseMsg::Applied),
        ];
        let rounds = Arc::new(tokio::sync::Semaphore::new(ROUNDS));
        let grantor = Grantor::new(timing);
        let mut state = State {
            context,
            holder: Holder::default(),
            grantor,
            rounds,
            beats: 0,
            asked: BTreeMap::new(),
            heard: BTreeSet::new(),
            ask: None,
            _follow: follow,
        };
        state.registry_changed(&me);
        state.applied_changed(&me); // an idle log may not move for long: a grant must not wait for it
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<LeaseMsg>,
        message: LeaseMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LeaseMsg::Beat => state.beat(&me),
            LeaseMsg::Registry => state.registry_changed(&me),
            LeaseMsg::Applied => state.applied_changed(&me),
            LeaseMsg::Ask(server, path, request) => {
                // The same request comes over every path: the first is answered, where it came from.
                let asked = (request.incarnation, request.seq);
                if state.asked.get(&server).is_none_or(|(before, _)| *before != asked) {
                    state.asked.insert(server.clone(), (asked, path));
                    state.ask_for_last_log(&me, server, request);
                }
            }
            LeaseMsg::Asked(server, request, last_log) => {
                state.lead(&me, GrantorEvent::Asked { server, request, last_log });
            }
            LeaseMsg::Granted(grant) => state.hold(&me, HolderEvent::Granted(grant)),
            LeaseMsg::Confirmed(sent, term) => {
                // R3: the first answered round of a term proves that an entry of it is applied.
                if state.grantor.term() != Some(term) {
                    state.lead(&me, GrantorEvent::Elected(term));
                    state.context.tell("leading", "cluster", format!("leads the cluster in term {term}"));
                } else {
                    state.lead(&me, GrantorEvent::Confirmed { sent });
                }
            }
            LeaseMsg::Stopped(server, before) => {
                state.lead(&me, GrantorEvent::Stopped { server, before });
            }
            LeaseMsg::Judged(server, outcome) => match outcome {
                Ok(()) => {}
                Err(RegistryError::Refused(_)) => state.lead(&me, GrantorEvent::JudgementRefused(server)),
                Err(_) => state.lead(&me, GrantorEvent::JudgementUnclear(server)),
            },
            LeaseMsg::Withheld(server, reply) => {
                let _ = reply.send(state.grantor.withheld_until(&server)); // whoever asked may have gone
            }
            LeaseMsg::HandBack(reply) => {
                state.hold(&me, HolderEvent::HandBack);
                state.context.lease.send_replace(None);
                let _ = reply.send(()); // whoever asked may have gone
            }
        }
        Ok(())
    }
}

impl State {
    fn beat(&mut self, me: &ActorRef<LeaseMsg>) {
        self.context.ports.guard.alive(Watched::Sync);
        self.context.sync_moved.store(self.context.ports.clock.now().0, Ordering::Relaxed);
        let healthy = self.context.healthy.load(Ordering::Relaxed);
        self.hold(me, HolderEvent::Beat { healthy });
        self.context.links.beat_all(self.ask.take());
        self.round(me);
        let silent = self.silent();
        self.lead(me, GrantorEvent::Silent(silent));
        self.lead(me, GrantorEvent::Tick);
        self.publish();
    }

    /// Peers that were heard before, and are heard on no path now. One that said good-bye is not missed.
    fn silent(&mut self) -> BTreeSet<ServerName> {
        let view = self.context.view.borrow().clone();
        let (silent, heard): (Vec<_>, Vec<_>) = view.peers.iter().partition(|(_, peer)| peer.is_silent());
        self.heard.extend(heard.into_iter().map(|(name, _)| name.clone()));
        let missed = |(name, peer): &(&ServerName, &PeerView)| {
            peer.gossip != GossipState::Left && self.heard.contains(*name)
        };
        silent.into_iter().filter(missed).map(|(name, _)| name.clone()).collect()
    }

    fn applied_changed(&mut self, me: &ActorRef<LeaseMsg>) {
        let applied = *self.context.applied.borrow();
        self.hold(me, HolderEvent::Applied(applied));
        self.lead(me, GrantorEvent::Committed(applied));
    }

    fn registry_changed(&mut self, me: &ActorRef<LeaseMsg>) {
        let registry = self.context.state();
        self.grantor.set_timing(self.context.timing());
        let up = registry.servers.iter().filter_map(|(name, server)| {
            let presence = &server.presence.as_ref()?.value;
            presence.up.then(|| (name.clone(), presence.incarnation))
        });
        let members: BTreeMap<ServerName, Incarnation> = up.collect();
        // R5: our own incarnation asks once the registry knows it, and while it has it as up.
        let mut mine = *self.context.incarnation.borrow();
        let early = planted::is(Planted::AnyIncarnation);
        if early {
            mine = mine.max(self.context.options.incarnation);
        }
        if early || mine.0 > 0 && members.get(self.context.me()) == Some(&mine) {
            self.hold(me, HolderEvent::Registered(mine));
        }
        self.lead(me, GrantorEvent::Fences(Fences::of(&registry)));
        self.lead(me, GrantorEvent::Members(members));
    }

    /// R1: asks the voters whether they still follow; the answer counts from this sending.
    fn round(&mut self, me: &ActorRef<LeaseMsg>) {
        let raft = self.context.raft.borrow().clone();
        let Some(raft) = raft.filter(|raft| raft.seems_leader()) else {
            if self.grantor.term().is_some() {
                self.lead(me, GrantorEvent::Deposed);
                self.context.tell("deposed", "cluster", "leads the cluster no more");
            }
            return;
        };
        self.beats += 1;
        if self.grantor.term().is_some() && !self.beats.is_multiple_of(BEATS_A_ROUND) {
            return;
        }
        let Ok(permit) = self.rounds.clone().try_acquire_owned() else { return };
        let (me, sent, limit) = (me.clone(), self.context.ports.clock.now(), self.context.timing().lease);
        tokio::spawn(async move {
            let round = tokio::time::timeout(limit, raft.confirm_leadership()).await;
            if let Ok(Ok(term)) = round {
                let _ = me.cast(LeaseMsg::Confirmed(sent, term));
            }
            drop(permit);
        });
    }

    /// R4: a grant names the last entry of the leader's log at the moment of the asking.
    fn ask_for_last_log(&self, me: &ActorRef<LeaseMsg>, server: ServerName, request: Request) {
        if self.grantor.term().is_none() {
            return;
        }
        let Some(raft) = self.context.raft.borrow().clone() else { return };
        let me = me.clone();
        tokio::spawn(async move {
            if let Some(last_log) = raft.last_log_index().await {
                let _ = me.cast(LeaseMsg::Asked(server, request, last_log));
            }
        });
    }

    fn hold(&mut self, me: &ActorRef<LeaseMsg>, event: HolderEvent) {
        let now = self.context.ports.clock.now();
        for action in self.holder.on(event, now) {
            match action {
                HolderAction::Ask(request) => {
                    let leader = self.context.raft_status.borrow().leader.clone();
                    match leader {
                        Some(leader) if leader == *self.context.me() => {
                            self.ask_for_last_log(me, leader, request);
                        }
                        Some(leader) => self.ask = Some((leader, request)),
                        None => {}
                    }
                }
                HolderAction::Renew(end) => {
                    self.context.ports.guard.renew(end);
                    let first = self.context.lease.borrow().is_none();
                    self.context.lease.send_replace(Some(end));
                    if first {
                        self.context.tell(
                            "lease-granted",
                            format!("server/{}", self.context.me()),
                            "holds a lease",
                        );
                    }
                }
            }
        }
    }

    fn lead(&mut self, me: &ActorRef<LeaseMsg>, event: GrantorEvent) {
        let now = self.context.ports.clock.now();
        for action in self.grantor.on(event, now) {
            match action {
                GrantorAction::Grant { to, grant } if to == *self.context.me() => {
                    let _ = me.cast(LeaseMsg::Granted(grant));
                }
                GrantorAction::Grant { to, grant } => {
                    if let Some((_, path)) = self.asked.get(&to) {
                        let message = LinkMessage::Granted(grant);
                        self.context.links.send_over(&self.context, &to, path, &message);
                    }
                }
                GrantorAction::Judge { server, incarnation, silent } => {
                    self.judge(me, server, incarnation, silent);
                }
                // Nobody fences itself. Another leader will, when it comes to that.
                GrantorAction::Fence { server, .. } if server == *self.context.me() => {}
                GrantorAction::Fence { server, incarnation, silent } => {
                    self.request_fence(me, server, incarnation, silent);
                }
            }
        }
    }

    /// R36: its groups are taken over once a device or an operator has confirmed its end.
    fn request_fence(
        &self,
        me: &ActorRef<LeaseMsg>,
        server: ServerName,
        incarnation: Incarnation,
        silent: Duration,
    ) {
        let because = format!("no lease request for {} ms", silent.as_millis());
        let text = format!("{server} sent no lease request for {} ms: it is fenced", silent.as_millis());
        self.context.tell("fence-requested", format!("server/{server}"), text);
        let command = Command::RequestFence { server: server.clone(), incarnation, because };
        self.propose_end(me, server, command, Reason::LeaseRanOut { silent });
    }

    fn judge(&self, me: &ActorRef<LeaseMsg>, server: ServerName, incarnation: Incarnation, silent: Duration) {
        let text = format!("{server} sent no lease request for {} ms: it is gone", silent.as_millis());
        self.context.tell("server-judged", format!("server/{server}"), text);
        // One that has fencing devices is judged only by what it said itself.
        let command = if is_guarded(&self.context.state(), &server) {
            Command::ServerStopped { server: server.clone(), incarnation }
        } else {
            Command::ServerGone { server: server.clone(), incarnation }
        };
        self.propose_end(me, server, command, Reason::LeaseRanOut { silent });
    }

    fn propose_end(&self, me: &ActorRef<LeaseMsg>, server: ServerName, command: Command, reason: Reason) {
        let (context, me) = (self.context.clone(), me.clone());
        let key = Key::Presence(server.clone());
        let read = vec![(key.clone(), context.state().revision_of(&key))];
        tokio::spawn(async move {
            let author = Author::Leader(context.me().clone());
            let outcome = propose(&context, author, command, Some(reason), read).await.map(|_| ());
            let _ = me.cast(LeaseMsg::Judged(server, outcome));
        });
    }

    /// Tells placement whether this server decides, and who is fit.
    fn publish(&self) {
        let now = self.context.ports.clock.now();
        let patience = self.context.timing().path_lost;
        let leading = self.grantor.term().map(|term| {
            let since =
                self.context.leading.borrow().as_ref().filter(|l| l.term == term).map_or(now, |l| l.since);
            Leading { term, since, fit: self.grantor.fit(now, patience).into_iter().collect() }
        });
        self.context.leading.send_if_modified(|old| {
            let changed = *old != leading;
            *old = leading;
            changed
        });
    }
}
