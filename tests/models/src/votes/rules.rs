//! The rules, each of which can be taken out, and how far everything goes.

use super::state::Time;

/// How long a lease lasts. Budget and clock margin are nothing here: all clocks are one.
pub const LEASE: Time = 2;

/// The rules. All of them hold in [`Rules::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// R1: a lease ends one lease after the leader sent the round that a quorum answered.
    pub r1_from_the_sending: bool,
    /// R2: a grant table that is born empty takes every server to hold a full lease.
    pub r2_an_empty_table_waits: bool,
    /// R4: who is judged is granted nothing any more, in the same step.
    pub r4_judging_withholds: bool,
    /// R4: a grant counts only once what was in the leader's log has been applied.
    pub r4_a_grant_names_the_log: bool,
    /// R13: an owner only after the old one has released the group.
    pub r13_released_first: bool,
    /// R14: the record never expires.
    pub r14_never_expires: bool,
    /// R15: the record is narrowed before the voters change.
    pub r15_narrowed_first: bool,
    /// R15: and widened to both only after {A, B} is committed (the release's order).
    pub r15_widened_last: bool,
    /// R15: only by a leader that has just committed.
    pub r15_by_a_confirmed_leader: bool,
    /// R16: a claim raises the term before it appends.
    pub r16_freeze: bool,
    /// R16: and reads where the log ends only after that.
    pub r16_read_after_freeze: bool,
    /// R17: a blank record is a refusal.
    pub r17_blank_refuses: bool,
    /// A server that comes back holds its tongue until it has read the record or heard its owner.
    pub hold: bool,
    /// R38: the clock of a lease counts a pause.
    pub r38_pauses_count: bool,
}

impl Rules {
    pub const ALL: Self = Self {
        r1_from_the_sending: true,
        r2_an_empty_table_waits: true,
        r4_judging_withholds: true,
        r4_a_grant_names_the_log: true,
        r13_released_first: true,
        r14_never_expires: true,
        r15_narrowed_first: true,
        r15_widened_last: true,
        r15_by_a_confirmed_leader: true,
        r16_freeze: true,
        r16_read_after_freeze: true,
        r17_blank_refuses: true,
        hold: true,
        r38_pauses_count: true,
    };
}

/// How much happens at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Two, with a tie-break record, or three.
    pub servers: usize,
    pub time: Time,
    pub term: u8,
    pub log: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub pauses: u8,
    /// Times that the record is lost (or expires, where it does).
    pub losses: u8,
    /// Clients' writes.
    pub writes: u8,
    /// Restarts of the node alone count as crashes; changes of voters are tried.
    pub changes: bool,
    /// Answers to the log get lost.
    pub lost_answers: bool,
    /// Servers ask for votes in vain.
    pub vain_elections: bool,
    /// Groups are moved by an operator.
    pub moves: bool,
}
