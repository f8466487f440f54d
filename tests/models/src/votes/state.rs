//! What is there: servers with a log, a vote and a lease; cables; the tie-break record. Everything is
//! small and of one size, so that millions of states can be kept.

/// A server's number, from 0.
pub type Id = usize;
/// A set of servers, one bit each.
pub type Set = u8;
/// A time, in ticks.
pub type Time = i8;

/// At most so many servers.
pub const MOST: usize = 3;
/// The longest log.
pub const LOG: usize = 6;
/// Before every time: nothing was ever sent, confirmed or granted.
pub const NEVER: Time = -9;

pub fn bit(server: Id) -> Set {
    1 << server
}

/// One log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub term: u8,
    pub what: What,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Nothing here.
    Nothing,
    /// These vote; while a change is under way, a quorum of `old` is needed too.
    Voters { old: Set, new: Set },
    /// A leader's first entry.
    Begin,
    /// A client's write.
    Write,
    /// The group belongs to `to`: its owner was judged lost, or released it.
    Owner { to: u8 },
}

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    entries: [Entry; LOG],
    pub length: u8,
}

impl Log {
    pub fn of(first: &[Entry]) -> Self {
        let mut log = Self { entries: [Entry { term: 0, what: What::Nothing }; LOG], length: 0 };
        first.iter().for_each(|entry| log.push(*entry));
        log
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries[usize::from(self.length)] = entry;
        self.length += 1;
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries[..usize::from(self.length)]
    }

    pub fn is_full(&self) -> bool {
        usize::from(self.length) == LOG
    }

    /// Who is more up to date: the term of the last entry, then the length.
    pub fn last(&self) -> (u8, u8) {
        (self.entries().last().map_or(0, |entry| entry.term), self.length)
    }

    /// The voters by the last entry that names them, committed or not, and up to which length that is.
    pub fn voters(&self) -> (Set, Set, u8) {
        let named = self.entries().iter().enumerate().rev().find_map(|(at, entry)| match entry.what {
            What::Voters { old, new } => Some((old, new, at as u8 + 1)),
            _ => None,
        });
        named.unwrap_or((0, 0, 0))
    }

    /// Who owns the group after the first `applied` entries; the first server before.
    pub fn owner(&self, applied: u8) -> Id {
        let entries = &self.entries()[..usize::from(applied.min(self.length))];
        let owner = entries.iter().rev().find_map(|entry| match entry.what {
            What::Owner { to } => Some(usize::from(to)),
            _ => None,
        });
        owner.unwrap_or(0)
    }
}

pub fn is_quorum(log: &Log, answered: Set) -> bool {
    let most = |set: Set| set == 0 || (set & answered).count_ones() * 2 > set.count_ones();
    let (old, new, _) = log.voters();
    new != 0 && most(old) && most(new)
}

/// How far a claim of the tie-break has come (R16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Nothing,
    /// The record names this server alone. `end`: where its log ended then.
    Swapped {
        end: u8,
    },
    /// Its term is raised: from here it acknowledges nothing of an older leader.
    Frozen,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub up: bool,
    /// Stands still: frozen from outside.
    pub paused: bool,
    /// What its clock is behind, where a pause stops it.
    pub behind: Time,
    pub term: u8,
    pub leads: bool,
    pub log: Log,
    /// What it knows to be committed, and has applied.
    pub applied: u8,
    /// On the leader: how much of its log each server is known to have.
    pub known: [u8; MOST],
    pub claim: Claim,
    /// Something of the group runs here.
    pub runs: bool,
    /// It has released the group and starts nothing under that ownership.
    pub released: bool,
    /// The end of its lease, by its own clock, as the guard has it.
    pub lease: Time,
    /// A grant under way to it: the lease's end, and what it must have applied.
    pub grant: Option<(Time, u8)>,
    /// On the leader: when the round under way was sent.
    pub round: Time,
    /// On the leader: when the last round was sent that a quorum answered.
    pub confirmed: Time,
    /// On the leader: when each other server's lease has certainly ended.
    pub until: [Time; MOST],
    /// On the leader: whom it has judged lost.
    pub judged: Set,
}

/// The tie-break record. Voters that it does not name cannot claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub number: u8,
    /// Who may go on alone; nobody: the majority decides.
    pub owners: Set,
    /// It was lost, and a new one is empty.
    pub blank: bool,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub now: Time,
    pub servers: [Server; MOST],
    /// Cables that are cut, by the sum of the numbers of their ends.
    pub cut: u8,
    pub record: Record,
    /// What was ever committed.
    pub committed: Log,
    /// Faults so far.
    pub crashes: u8,
    pub cuts: u8,
    pub pauses: u8,
    pub losses: u8,
    /// Something committed was overwritten.
    pub forgotten: bool,
    /// A server that the record does not name has deposed the one that it names alone.
    pub shaken: bool,
}

impl World {
    pub fn clock(&self, server: Id) -> Time {
        self.now - self.servers[server].behind
    }

    /// Whether it does what an owner does, at this moment.
    pub fn acts(&self, server: Id) -> bool {
        let it = &self.servers[server];
        it.up && !it.paused && it.runs && self.clock(server) < it.lease
    }

    pub fn moves(&self, server: Id) -> bool {
        self.servers[server].up && !self.servers[server].paused
    }

    /// Whether what one says reaches the other, and is answered.
    pub fn reach(&self, one: Id, other: Id) -> bool {
        one == other || (self.moves(one) && self.moves(other) && self.cut & cable(one, other) == 0)
    }

    /// Looks how far the leader's log is committed.
    pub fn commit(&mut self, leader: Id) {
        let it = self.servers[leader];
        for length in it.applied + 1..=it.log.length {
            if it.log.entries()[usize::from(length) - 1].term != it.term {
                continue;
            }
            let have = (0..MOST).filter(|other| *other == leader || it.known[*other] >= length);
            if is_quorum(&it.log, have.fold(0, |set, other| set | bit(other))) {
                self.apply(leader, length);
            }
        }
    }

    /// A server learns that so much of its log is committed.
    pub fn apply(&mut self, server: Id, length: u8) {
        let clock = self.clock(server);
        let it = &mut self.servers[server];
        if length <= it.applied {
            return;
        }
        let before = it.log.owner(it.applied);
        it.applied = length;
        let owner = it.log.owner(length);
        if owner != server {
            it.runs = false;
        }
        if owner != before {
            it.released = false;
        }
        it.start(server, clock);
        let here = &it.log.entries()[..usize::from(length)];
        let known = self.committed.entries();
        let both = here.len().min(known.len());
        if here[..both] != known[..both] {
            self.forgotten = true;
        }
        if here.len() > known.len() {
            self.committed = Log::of(here);
        }
    }

    /// What only memory holds is gone.
    pub fn forget(&mut self, server: Id) {
        let it = &mut self.servers[server];
        it.follow();
        it.claim = Claim::Nothing;
        it.applied = 0;
        it.grant = None;
    }

    /// A grant arrives: it counts if so much has been applied.
    pub fn hold(&mut self, server: Id, end: Time, must: u8) {
        let clock = self.clock(server);
        let it = &mut self.servers[server];
        if must <= it.applied && !it.released {
            it.lease = it.lease.max(end);
        }
        it.start(server, clock);
    }
}

impl Server {
    /// It leads no more, or never did: what only a leader knows is gone.
    pub fn follow(&mut self) {
        self.leads = false;
        self.known = [0; MOST];
        (self.round, self.confirmed, self.judged) = (NEVER, NEVER, 0);
        self.until = [NEVER; MOST];
    }

    /// The owner starts what it owns as soon as it holds a lease.
    fn start(&mut self, me: Id, clock: Time) {
        let owns = self.applied > 0 && self.log.owner(self.applied) == me;
        self.runs |= owns && !self.released && clock < self.lease;
    }
}

/// The cable between two servers.
pub fn cable(one: Id, other: Id) -> u8 {
    1 << (one + other)
}
