//! One fault, measured: by a client outside, and by a probe on every server.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{
    Cluster, GROUP, LIMIT, SERVERS, await_some,
    fault::{Expectation, Fault},
};
use crate::{
    client::{Answer, Client, History, Pace},
    network::holders::{HolderProbe, Holders},
};

/// How often a probe looks at each server.
const LOOK: Duration = Duration::from_millis(3);
/// How long everything is watched before the fault, and after it is over.
const CALM: Duration = Duration::from_millis(200);

/// One fault and what came of it.
#[derive(Clone, Debug)]
pub struct Round {
    /// The fault.
    pub fault: Fault,
    /// When it struck: nanoseconds of the boot clock.
    pub struck: u64,
    /// When the first answer came that shows that it is over; the same clock.
    pub back: u64,
    /// Who answered before.
    pub before: Answer,
    /// Who answers now.
    pub after: Answer,
    /// The longest time without an answer that it brought.
    pub outage: Duration,
    /// Questions that were not answered.
    pub failed: usize,
    /// Questions that got something else than an answer or silence: the client noticed.
    pub refused: usize,
    /// How long two servers certainly held the address.
    pub overlap: Duration,
    /// How often two instances of the service answered in turn.
    pub overlapping_answers: usize,
    /// How long after the fault the last server was seen with the address, before it was free.
    pub held: Option<Duration>,
    /// Servers that have left the cluster meanwhile, or came back as another incarnation.
    pub left: Vec<String>,
    /// From the mending until everything was whole again.
    pub healed: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let Self { fault, before, after, failed, .. } = self;
        write!(
            f,
            "{fault}: outage {:.1} ms, {}/{} -> {}/{}, {failed} questions unanswered, overlap {:.1} ms, whole {:.1} s after",
            ms(self.outage),
            before.server,
            before.pid,
            after.server,
            after.pid,
            ms(self.overlap),
            self.healed.as_secs_f64(),
        )?;
        match self.held {
            Some(held) => write!(f, ", address given up after {:.1} ms", ms(held)),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Lets a fault happen to the whole cluster, waits until the service is back and everything
    /// whole again, and says what was seen meanwhile.
    ///
    /// # Errors
    /// When something that must always hold did not: two holders of the address, a service that did
    /// not come back or should not have noticed, a cluster that did not heal. With the last words of
    /// the nodes.
    pub fn suffer(&self, fault: Fault) -> io::Result<Round> {
        self.measure(fault)
            .and_then(|round| match round.broken() {
                None => Ok(round),
                Some(what) => Err(io::Error::other(format!("{round}\n{what}"))),
            })
            .map_err(|error| io::Error::other(format!("{fault}: {error}\n{}", self.last_words(40))))
    }

    fn measure(&self, fault: Fault) -> io::Result<Round> {
        self.await_whole()?;
        let (active, leader) = self.arrange(fault)?;
        // Failures of the rounds before must not add up.
        self.calls().reset_group(&self.data(active), GROUP)?;
        let members = self.incarnations()?;
        let probe = HolderProbe::start(self.lab(), self.address(), LOOK);
        let client = Client::start(self.lab().client(), self.target(), Pace::default())?;
        let came = |what: &str, sample: Option<crate::client::Sample>| {
            let answer = sample.and_then(|sample| Some((sample.outcome.ok()?, sample.ended)));
            answer.ok_or_else(|| io::Error::other(format!("{what} within {LIMIT:?}")))
        };
        let (before, _) = came("no answer before", client.wait_for(LIMIT, |_| true))?;
        if before.server != SERVERS[active] {
            return Err(io::Error::other(format!("{} answers, {} owns", before.server, SERVERS[active])));
        }
        std::thread::sleep(CALM);

        let (struck, struck_boot) = (Instant::now(), boot_clock());
        fault.strike(self, active, leader)?;
        let watched = self.make().detect * 3;
        let mended;
        let (after, over) = match fault.expectation() {
            Expectation::Unnoticed | Expectation::AnyInstance => {
                // Long enough for everything that must not happen.
                std::thread::sleep(watched);
                mended = Instant::now();
                fault.mend(self, active, leader)?;
                came("no answer after", client.wait_for(LIMIT, |_| true))?
            }
            Expectation::StoppedAndBack => {
                fault.await_stop(self, active)?;
                std::thread::sleep(watched);
                mended = Instant::now();
                fault.mend(self, active, leader)?;
                came("no answer after", client.wait_for(LIMIT, |_| true))?
            }
            Expectation::Restarted | Expectation::OtherInstance | Expectation::OtherServer => {
                let other = |answer: &Answer| *answer != before;
                let back = came("no other answer", client.wait_for(LIMIT, other))?;
                // The old holder's lease ends well before that.
                std::thread::sleep(watched);
                mended = Instant::now();
                fault.mend(self, active, leader)?;
                back
            }
        };
        let back = struck_boot + u64::try_from((over - struck).as_nanos()).unwrap_or(u64::MAX);
        self.await_whole()?;
        let healed = mended.elapsed();
        std::thread::sleep(CALM);
        let (history, holders) = (client.finish(), probe.finish());
        let now = self.incarnations()?;
        let left = now.into_iter().zip(members).filter(|(now, then)| now != then);
        Ok(Round {
            fault,
            struck: struck_boot,
            back,
            outage: history.outage(struck, over).map_or(Duration::ZERO, |gap| gap.length()),
            failed: history.failed(),
            refused: refused(&history),
            overlap: holders.overlap(),
            overlapping_answers: history.overlaps().len(),
            held: given_up(&holders, struck),
            left: left.map(|((server, _), _)| server).collect(),
            after: last_answer(&history).unwrap_or(after),
            before,
            healed,
        })
    }

    fn incarnations(&self) -> io::Result<Vec<(String, u64)>> {
        let servers = self.status()?.servers;
        Ok(servers.into_iter().map(|server| (server.name, server.incarnation)).collect())
    }

    /// Has the active server lead, or another one, where the fault asks for it.
    fn arrange(&self, fault: Fault) -> io::Result<(usize, usize)> {
        let now = || await_some("active server and leader", || Ok(self.active_and_leader().ok()));
        let (active, leader) = now()?;
        match fault.wants_leading() {
            Some(true) if active != leader => self.move_to(leader)?,
            Some(false) if active == leader => self.move_to(super::fault::standby(leader))?,
            _ => return Ok((active, leader)),
        }
        self.await_whole()?;
        now()
    }
}

impl Round {
    /// What did not hold that must always hold.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let same_server = self.before.server == self.after.server;
        let same = self.before == self.after;
        if !self.overlap.is_zero() {
            return Some(format!("two servers held the address for {:?}", self.overlap));
        }
        if self.overlapping_answers > 0 {
            return Some("an older instance answered after a newer one".to_owned());
        }
        if self.fault.keeps_members() && !self.left.is_empty() {
            return Some(format!("{} left the cluster", self.left.join(" and ")));
        }
        let (holds, what) = match self.fault.expectation() {
            Expectation::Unnoticed => (same && self.refused == 0, "the service noticed"),
            Expectation::Restarted => (same_server && !same, "the service should have been restarted there"),
            Expectation::OtherInstance => (!same, "the service should have been started anew"),
            Expectation::OtherServer => (!same_server, "the service should have gone elsewhere"),
            Expectation::StoppedAndBack => (!same && self.held.is_some(), "the service should have stopped"),
            Expectation::AnyInstance => (true, ""),
        };
        (!holds).then(|| what.to_owned())
    }
}

/// The boot clock, which every machine of a laboratory shares, in nanoseconds.
#[must_use]
pub fn boot_clock() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// Silence is what a client on a poor network or a busy machine sees too.
fn refused(history: &History) -> usize {
    let refused =
        |outcome: &Result<Answer, String>| outcome.as_ref().is_err_and(|error| error != "no answer in time");
    history.samples().iter().filter(|sample| refused(&sample.outcome)).count()
}

fn last_answer(history: &History) -> Option<Answer> {
    history.samples().iter().rev().find_map(|sample| sample.outcome.clone().ok())
}

/// When the server that held the address at the fault was seen with it for the last time.
fn given_up(holders: &Holders, struck: Instant) -> Option<Duration> {
    let last = holders.runs().last()?;
    let held = holders.runs().iter().find(|run| run.from <= struck && run.to >= struck)?;
    (held != last).then(|| held.to - struck)
}
