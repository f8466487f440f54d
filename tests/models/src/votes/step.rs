//! What can happen, and what comes of it.

use stateright::{Model, Property};

use super::{
    rules::{Bounds, LEASE, Rules},
    state::{Claim, Entry, Id, Log, MOST, NEVER, Record, Server, Set, What, World, bit, cable, is_quorum},
};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Tick,
    /// The machine loses its power; what it wrote is kept.
    Crash(Id),
    Restart(Id),
    /// The node alone is killed and starts again; what runs, runs on under the guard's lease.
    NodeRestart(Id),
    Cut(Id, Id),
    Heal,
    Pause(Id),
    Thaw(Id),
    /// A server asks for votes; `false`: it gets none that count, but its term is known.
    Elect(Id, bool),
    /// A leader sends its log; `false`: the answer is lost.
    Send(Id, Id, bool),
    Write(Id),
    /// A leader proposes other voters, or ends the change under way.
    Change(Id, Set),
    /// A leader that is alone sets the record to these.
    Align(Id, Set),
    /// The record is swapped to this server alone; `false`: it died before it knew.
    Claim(Id, bool),
    Freeze(Id),
    Forge(Id),
    /// The record is lost.
    Lose,
    /// A leader asks the others whether they still follow.
    Round(Id),
    /// A quorum answers the round under way.
    Answered(Id),
    /// A server asks, and a leader grants it a lease at once; the answer to another one is under way.
    Grant(Id, Id),
    /// The grant under way arrives.
    Granted(Id),
    /// A leader judges the group's owner lost.
    Judge(Id),
    /// A leader moves the group to itself, for an operator.
    Move(Id),
}

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Votes {
    pub rules: Rules,
    pub bounds: Bounds,
}

impl Votes {
    fn all(&self) -> Set {
        bit(self.bounds.servers) - 1
    }

    /// Whether the record lets a server claim (R14, R15, R17).
    fn may_claim(&self, world: &World, server: Id) -> bool {
        let it = &world.servers[server];
        let (old, new, _) = it.log.voters();
        let by_the_record = match world.record.blank {
            true => !self.rules.r17_blank_refuses && world.record.owners & !bit(server) == 0,
            false => world.record.owners & bit(server) != 0,
        };
        let uniform_or_sole = old == 0 || world.record.owners == bit(server);
        self.bounds.servers == 2
            && world.moves(server)
            && it.claim == Claim::Nothing
            && !(it.leads && old == 0 && new == bit(server))
            && by_the_record
            && uniform_or_sole
    }

    /// Whether it may ask for votes (the hold). Two servers only: it has read the record, or heard
    /// its owner.
    fn may_elect(&self, world: &World, server: Id) -> bool {
        let it = &world.servers[server];
        let (old, new, _) = it.log.voters();
        if (old | new) & bit(server) == 0 {
            return false;
        }
        !self.rules.hold
            || self.bounds.servers != 2
            || world.record.blank
            || world.record.owners & bit(server) != 0
            || world.record.owners == 0
    }

    fn append(&self, world: &mut World, leader: Id, what: What) {
        let it = &mut world.servers[leader];
        it.log.push(Entry { term: it.term, what });
        world.commit(leader);
    }

    fn room(&self, world: &World, server: Id) -> bool {
        world.servers[server].log.length < self.bounds.log
    }

    /// The leader that grants: each server that believes to be one.
    fn has_confirmed(&self, world: &World, leader: Id) -> bool {
        let confirmed = world.servers[leader].confirmed;
        match self.rules.r1_from_the_sending {
            true => confirmed + LEASE > world.clock(leader),
            false => confirmed > NEVER,
        }
    }

    /// When the lease ends that a leader grants now to a request sent then.
    fn end_of_grant(&self, world: &World, leader: Id, asked: i8) -> i8 {
        match self.rules.r1_from_the_sending {
            true => asked + LEASE - (world.clock(leader) - world.servers[leader].confirmed),
            false => asked + LEASE,
        }
    }

    fn has_committed_in_term(&self, server: &Server) -> bool {
        server.applied > 0 && server.log.entries()[usize::from(server.applied) - 1].term == server.term
    }

    fn steps_of_leader(&self, world: &World, server: Id, steps: &mut Vec<Step>) {
        let it = &world.servers[server];
        let (old, new, at) = it.log.voters();
        for other in (0..self.bounds.servers).filter(|other| *other != server) {
            if world.reach(server, other) {
                steps.push(Step::Send(server, other, true));
                if self.bounds.lost_answers {
                    steps.push(Step::Send(server, other, false));
                }
            }
            if world.servers[other].grant.is_none() && world.reach(server, other) {
                steps.push(Step::Grant(server, other));
            }
        }
        steps.push(Step::Grant(server, server));
        if it.round == NEVER && it.confirmed < world.clock(server) {
            steps.push(Step::Round(server));
        }
        if it.round > NEVER {
            steps.push(Step::Answered(server));
        }
        let owner = it.log.owner(it.log.length);
        if owner != server && self.has_committed_in_term(it) && self.room(world, server) {
            if world.clock(server) >= it.until[owner] {
                steps.push(Step::Judge(server));
            }
            if self.bounds.moves {
                steps.push(Step::Move(server));
            }
        }
        if !self.room(world, server) {
            return;
        }
        let writes = it.log.entries().iter().filter(|entry| entry.what == What::Write).count();
        if writes < usize::from(self.bounds.writes) {
            steps.push(Step::Write(server));
        }
        if self.bounds.servers == 2 && self.bounds.changes {
            let settled = it.applied >= at && self.has_committed_in_term(it);
            if settled {
                let next = if old != 0 {
                    new
                } else if new == self.all() {
                    bit(server)
                } else {
                    self.all()
                };
                steps.push(Step::Change(server, next));
            }
            steps.extend((1..=self.all()).map(|owners| Step::Align(server, owners)));
        }
    }
}

impl Model for Votes {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let all = self.all();
        let log = Log::of(&[Entry { term: 1, what: What::Voters { old: 0, new: all } }]);
        let server = |id: Id| Server {
            up: id < self.bounds.servers,
            paused: false,
            behind: 0,
            term: 1,
            leads: id == 0,
            log,
            applied: 1,
            known: if id == 0 { [1; MOST] } else { [0; MOST] },
            claim: Claim::Nothing,
            runs: id == 0,
            released: false,
            lease: if id == 0 { LEASE } else { NEVER },
            grant: None,
            round: NEVER,
            confirmed: if id == 0 { 0 } else { NEVER },
            until: if id == 0 { self.waits_until(0, LEASE) } else { [NEVER; MOST] },
            judged: 0,
        };
        let owners = if self.bounds.servers == 2 { all } else { 0 };
        vec![World {
            now: 0,
            servers: [server(0), server(1), server(2)],
            cut: 0,
            record: Record { number: 1, owners, blank: false },
            committed: log,
            crashes: 0,
            cuts: 0,
            pauses: 0,
            losses: 0,
            forgotten: false,
            shaken: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let bounds = &self.bounds;
        if world.now < bounds.time {
            steps.push(Step::Tick);
        }
        for server in 0..bounds.servers {
            let it = &world.servers[server];
            if !it.up {
                steps.push(Step::Restart(server));
                continue;
            }
            if world.crashes < bounds.crashes {
                steps.extend([Step::Crash(server), Step::NodeRestart(server)]);
            }
            if it.paused {
                steps.push(Step::Thaw(server));
                continue;
            }
            if world.pauses < bounds.pauses {
                steps.push(Step::Pause(server));
            }
            if it.claim == Claim::Nothing
                && !it.leads
                && it.term < bounds.term
                && self.may_elect(world, server)
            {
                steps.push(Step::Elect(server, true));
                if bounds.vain_elections {
                    steps.push(Step::Elect(server, false));
                }
            }
            match it.claim {
                Claim::Nothing if self.may_claim(world, server) && world.record.number < 5 => {
                    steps.extend([Step::Claim(server, true), Step::Claim(server, false)]);
                }
                Claim::Swapped { .. } if it.term < bounds.term => steps.push(Step::Freeze(server)),
                Claim::Frozen if self.room(world, server) => steps.push(Step::Forge(server)),
                _ => {}
            }
            if it.leads && it.claim == Claim::Nothing {
                self.steps_of_leader(world, server, steps);
            }
            if it.grant.is_some() {
                steps.push(Step::Granted(server));
            }
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            if other < bounds.servers && world.cuts < bounds.cuts && world.cut & cable(one, other) == 0 {
                steps.push(Step::Cut(one, other));
            }
        }
        if world.cut != 0 {
            steps.push(Step::Heal);
        }
        if bounds.servers == 2 && world.losses < bounds.losses {
            steps.push(Step::Lose);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = *before;
        match step {
            Step::Tick => {
                world.now += 1;
                for server in 0..self.bounds.servers {
                    if world.servers[server].paused && !self.rules.r38_pauses_count {
                        world.servers[server].behind += 1;
                    }
                    self.guard(&mut world, server);
                }
            }
            Step::Crash(server) => {
                world.crashes += 1;
                world.forget(server);
                let it = &mut world.servers[server];
                (it.up, it.paused, it.runs, it.lease) = (false, false, false, NEVER);
            }
            Step::Restart(server) => world.servers[server].up = true,
            Step::NodeRestart(server) => {
                world.crashes += 1;
                world.forget(server);
            }
            Step::Cut(one, other) => {
                world.cuts += 1;
                world.cut |= cable(one, other);
            }
            Step::Heal => world.cut = 0,
            Step::Pause(server) => {
                world.pauses += 1;
                world.servers[server].paused = true;
            }
            Step::Thaw(server) => {
                world.servers[server].paused = false;
                self.guard(&mut world, server);
            }
            Step::Elect(server, wins) => self.elect(&mut world, server, wins)?,
            Step::Send(leader, other, answered) => self.send(&mut world, leader, other, answered)?,
            Step::Write(leader) => self.append(&mut world, leader, What::Write),
            Step::Change(leader, next) => self.change(&mut world, leader, next)?,
            Step::Align(leader, owners) => self.align(&mut world, leader, owners)?,
            Step::Claim(server, knows) => {
                world.record = Record { number: world.record.number + 1, owners: bit(server), blank: false };
                if knows {
                    let it = &mut world.servers[server];
                    it.claim = Claim::Swapped { end: it.log.length };
                    it.follow();
                }
            }
            Step::Freeze(server) => {
                let freezes = self.rules.r16_freeze;
                let it = &mut world.servers[server];
                it.term += u8::from(freezes);
                it.claim = match (self.rules.r16_read_after_freeze, it.claim) {
                    (false, Claim::Swapped { end }) => {
                        // What came since is cut off.
                        let kept: Vec<Entry> =
                            it.log.entries()[..usize::from(end.min(it.log.length))].to_vec();
                        it.log = Log::of(&kept);
                        it.applied = it.applied.min(it.log.length);
                        Claim::Frozen
                    }
                    _ => Claim::Frozen,
                };
            }
            Step::Forge(server) => self.forge(&mut world, server),
            Step::Lose => {
                world.losses += 1;
                // An expiring record is one that everybody may take again.
                world.record = match self.rules.r14_never_expires {
                    true => Record { owners: 0, blank: true, ..world.record },
                    false => Record { owners: self.all(), ..world.record },
                };
            }
            Step::Round(leader) => world.servers[leader].round = world.clock(leader),
            Step::Answered(leader) => self.answered(&mut world, leader)?,
            Step::Grant(leader, to) => self.grant(&mut world, leader, to)?,
            Step::Granted(server) => {
                let (end, must) = world.servers[server].grant.take()?;
                world.hold(server, end, must);
            }
            Step::Judge(leader) => {
                let owner = world.servers[leader].log.owner(world.servers[leader].log.length);
                if self.rules.r4_judging_withholds {
                    world.servers[leader].judged |= bit(owner);
                }
                self.append(&mut world, leader, What::Owner { to: leader as u8 });
            }
            Step::Move(leader) => {
                let owner = world.servers[leader].log.owner(world.servers[leader].log.length);
                if self.rules.r13_released_first {
                    if !world.reach(leader, owner) || world.servers[owner].leads {
                        return None;
                    }
                    let it = &mut world.servers[owner];
                    (it.runs, it.released) = (false, true);
                }
                self.append(&mut world, leader, What::Owner { to: leader as u8 });
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two owners", |_, world: &World| {
                (0..MOST).filter(|server| world.acts(*server)).count() <= 1
            }),
            Property::always("what is committed is kept", |_, world: &World| !world.forgotten),
            Property::always("whom the record names is not shaken", |_, world: &World| !world.shaken),
            Property::sometimes("another server owns the group", |_, world: &World| {
                (1..MOST).any(|server| world.acts(server))
            }),
        ]
    }
}

impl Votes {
    /// What ends a lease: looked at whenever its server moves.
    fn guard(&self, world: &mut World, server: Id) {
        if world.moves(server) && world.clock(server) >= world.servers[server].lease {
            world.servers[server].runs = false;
        }
    }

    fn elect(&self, world: &mut World, server: Id, wins: bool) -> Option<()> {
        let term = world.servers[server].term + 1;
        let last = world.servers[server].log.last();
        let mut votes = bit(server);
        for other in 0..self.bounds.servers {
            if other == server || !world.reach(server, other) || world.servers[other].claim != Claim::Nothing
            {
                continue;
            }
            let alone = world.record.owners == bit(other) && !world.record.blank;
            let it = &mut world.servers[other];
            if it.term < term {
                let (_, voters, _) = it.log.voters();
                world.shaken |= it.leads && alone && voters == bit(other) && self.bounds.servers == 2;
                it.term = term;
                it.follow();
                if last >= it.log.last() {
                    votes |= bit(other);
                }
            }
        }
        let quorum = is_quorum(&world.servers[server].log, votes);
        if wins && !quorum {
            return None;
        }
        let clock = world.clock(server);
        let it = &mut world.servers[server];
        it.term = term;
        if wins {
            self.begin_to_lead(it, server, clock);
            if !self.room(world, server) {
                return None;
            }
            // Nothing of an older term counts as committed before this.
            self.append(world, server, What::Begin);
        }
        Some(())
    }

    fn begin_to_lead(&self, it: &mut Server, server: Id, clock: i8) {
        it.leads = true;
        it.known = [0; MOST];
        (it.round, it.confirmed, it.judged) = (NEVER, NEVER, 0);
        let until = if self.rules.r2_an_empty_table_waits { clock + LEASE } else { clock };
        it.until = self.waits_until(server, until);
    }

    /// For every other server.
    fn waits_until(&self, leader: Id, until: i8) -> [i8; MOST] {
        std::array::from_fn(
            |other| if other == leader || other >= self.bounds.servers { NEVER } else { until },
        )
    }

    fn send(&self, world: &mut World, leader: Id, other: Id, answered: bool) -> Option<()> {
        let from = world.servers[leader];
        let it = &mut world.servers[other];
        if it.claim != Claim::Nothing
            && (self.rules.r16_freeze || it.claim == Claim::Frozen)
            && it.term > from.term
        {
            return None;
        }
        if it.term > from.term {
            if !answered {
                return None;
            }
            let term = it.term;
            let deposed = &mut world.servers[leader];
            deposed.term = term;
            deposed.follow();
            return Some(());
        }
        // What it has applied would be overwritten.
        let applied = usize::from(it.applied);
        let kept = from.log.entries().get(..applied).is_some_and(|kept| kept == &it.log.entries()[..applied]);
        if !kept {
            world.forgotten = true;
            return Some(());
        }
        (it.term, it.log) = (from.term, from.log);
        it.follow();
        // What a claim had begun with is no longer there.
        let committed = from.applied;
        world.apply(other, committed);
        if answered {
            world.servers[leader].known[other] = from.log.length;
            world.commit(leader);
        }
        Some(())
    }

    fn change(&self, world: &mut World, leader: Id, next: Set) -> Option<()> {
        let (old, new, _) = world.servers[leader].log.voters();
        let record = world.record;
        // In every quorum before, meanwhile and after.
        let always = match (old, new) {
            (0, now) => now & next,
            _ => old & new,
        };
        let closed = record.blank || record.owners & !always == 0;
        if self.rules.r15_narrowed_first && !closed {
            return None;
        }
        let what = if old == 0 { What::Voters { old: new, new: next } } else { What::Voters { old: 0, new } };
        self.append(world, leader, what);
        Some(())
    }

    /// R15: narrowing is always right for a leader that is one; widening only to who is in every quorum.
    fn align(&self, world: &mut World, leader: Id, owners: Set) -> Option<()> {
        let it = &world.servers[leader];
        let (old, new, at) = it.log.voters();
        let record = world.record;
        if record.blank || owners == record.owners || record.number >= 5 {
            return None;
        }
        if self.rules.r15_by_a_confirmed_leader {
            let answering = (0..self.bounds.servers).filter(|other| {
                let it = &world.servers[*other];
                world.reach(leader, *other)
                    && it.term <= world.servers[leader].term
                    && it.claim == Claim::Nothing
            });
            if !is_quorum(&it.log, answering.fold(0, |set, other| set | bit(other))) {
                return None;
            }
        }
        let committed = it.applied >= at;
        let always = match self.rules.r15_widened_last {
            true if old != 0 => old & new,
            _ => new,
        };
        let grows = owners & !record.owners != 0;
        if grows && (owners & !always != 0 || (self.rules.r15_widened_last && !committed)) {
            return None;
        }
        world.record = Record { number: record.number + 1, owners, blank: false };
        Some(())
    }

    fn forge(&self, world: &mut World, server: Id) {
        let clock = world.clock(server);
        let it = &mut world.servers[server];
        it.claim = Claim::Nothing;
        // Elected at once, alone.
        it.term += u8::from(self.rules.r16_freeze);
        self.begin_to_lead(it, server, clock);
        self.append(world, server, What::Voters { old: 0, new: bit(server) });
    }

    fn answered(&self, world: &mut World, leader: Id) -> Option<()> {
        let it = world.servers[leader];
        let mut answers = bit(leader);
        for other in (0..self.bounds.servers).filter(|other| *other != leader) {
            let peer = &mut world.servers[other];
            let (claims, term) = (peer.claim, peer.term);
            if world.reach(leader, other) && term <= it.term && claims != Claim::Frozen {
                if term < it.term {
                    let follower = &mut world.servers[other];
                    follower.term = it.term;
                    follower.follow();
                }
                answers |= bit(other);
            }
        }
        if !is_quorum(&it.log, answers) {
            return None;
        }
        let clock = world.clock(leader);
        let it = &mut world.servers[leader];
        let sent = std::mem::replace(&mut it.round, NEVER);
        it.confirmed = if self.rules.r1_from_the_sending { sent } else { clock };
        Some(())
    }

    fn grant(&self, world: &mut World, leader: Id, to: Id) -> Option<()> {
        let asked = world.clock(to);
        // R3, and whom it has judged.
        let it = &world.servers[leader];
        if !self.has_confirmed(world, leader)
            || !self.has_committed_in_term(it)
            || it.judged & bit(to) != 0
            || world.servers[to].term > it.term
        {
            return None;
        }
        let end = self.end_of_grant(world, leader, asked);
        let must = if self.rules.r4_a_grant_names_the_log { it.log.length } else { 0 };
        let clock = world.clock(leader);
        if to == leader {
            let before = world.servers[leader].lease;
            world.hold(leader, end, must);
            return (world.servers[leader].lease > before).then_some(());
        }
        let until = &mut world.servers[leader].until[to];
        *until = (*until).max(clock + LEASE);
        world.servers[to].grant = Some((end, must));
        Some(())
    }
}
