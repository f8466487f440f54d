//! One picture, measured: what stops when on the losing side, what starts when on the winning side,
//! who leads, and what becomes of those that have nothing to do with it.

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Cluster, NAMES, await_some, await_true, floating, missing_servers, online,
    pictures::{Outcome, Picture},
};
use crate::network::presence::{Presence, PresenceProbe, Sought, control_group};

/// How often the servers are looked at.
const LOOK: Duration = Duration::from_millis(4);
/// How often each node is asked who leads.
const ASK: Duration = Duration::from_millis(150);
/// How long everything is watched before and after.
const CALM: Duration = Duration::from_millis(200);

/// What came of a picture.
#[derive(Clone, Debug)]
pub struct Parted {
    /// The picture.
    pub picture: Picture,
    /// From the cut until the last thing that had to stop had stopped.
    pub stopped: Option<Duration>,
    /// From the cut until the first thing was started elsewhere.
    pub started: Option<Duration>,
    /// The shortest time, of all groups that moved, from its stop to its start, in milliseconds.
    pub gap: Option<f64>,
    /// Two servers certainly had something of one group for so long.
    pub overlap: Duration,
    /// The servers on which something stopped.
    pub interrupted: BTreeSet<usize>,
    /// The servers that were to notice nothing and did.
    pub shaken: BTreeSet<usize>,
    /// How often another server led, from the cut until all was whole.
    pub leader_changes: usize,
    /// How many terms that took.
    pub terms: u64,
    /// From the mending until all was whole and at home.
    pub healed: Duration,
}

impl Cluster {
    /// Lets the cluster fall apart, waits for what must come of it, mends it, and waits until
    /// everything is as before.
    ///
    /// # Errors
    /// When something that must always hold did not; with the last words of the nodes.
    pub fn fall_apart(&self, picture: &Picture) -> io::Result<Parted> {
        let done = self.part_and_mend(picture).and_then(|parted| match parted.broken() {
            None => Ok(parted),
            Some(what) => Err(io::Error::other(format!("{parted}\n{what}"))),
        });
        done.map_err(|error| {
            // A cluster that is not mended would fail everything after it.
            let _either_way_it_is_reported = self.lab().part(&[]);
            io::Error::other(format!("{picture}: {error}\n{}", self.last_words(60)))
        })
    }

    fn part_and_mend(&self, picture: &Picture) -> io::Result<Parted> {
        self.await_whole()?;
        let order = self.leader_first()?;
        let probe = PresenceProbe::start(self.lab(), self.sought(), LOOK);
        let leaders = Leaders::watch(self);
        std::thread::sleep(CALM);
        self.lab().part(&picture.placed(&order))?;
        let cut = Instant::now();
        let detect = self.make().detect;
        match &picture.outcome {
            Outcome::Wins(winners) => {
                let winners: Vec<usize> = winners.iter().map(|position| order[*position]).collect();
                await_true("everything on the winning side", || Ok(self.all_run_on(&winners)))?;
                await_true("end of what ran on the losing side", || {
                    Ok((0..self.size())
                        .all(|server| winners.contains(&server) || !self.anything_runs(server)))
                })?;
                std::thread::sleep(detect * 2);
            }
            Outcome::One => {
                await_true("everything on one of the two", || {
                    let alone = |server: usize| self.all_run_on(&[server]) && !self.anything_runs(1 - server);
                    Ok((0..2).any(alone))
                })?;
                std::thread::sleep(detect * 2);
            }
            Outcome::Nobody => {
                await_true("end of everything", || {
                    Ok((0..self.size()).all(|server| !self.anything_runs(server)))
                })?;
                std::thread::sleep(detect * 2);
            }
            // Long enough for everything that must not happen, twice.
            Outcome::Aside(_) => std::thread::sleep(detect * 8),
        }
        let mending = Instant::now();
        self.lab().part(&[])?;
        self.await_whole()?;
        let healed = mending.elapsed();
        std::thread::sleep(CALM);
        let (presence, leaders) = (probe.finish(), leaders.finish());
        Ok(self.judge(picture, &order, &presence, &leaders, (cut, mending), healed))
    }

    /// The servers in the order of a picture's positions.
    fn leader_first(&self) -> io::Result<Vec<usize>> {
        let leader = await_some("a leader", || {
            Ok(self.status().ok().and_then(|status| self.lab().number(&status.leader)))
        })?;
        let others = (0..self.size()).filter(|server| *server != leader);
        Ok(std::iter::once(leader).chain(others).collect())
    }

    fn sought(&self) -> Vec<Sought> {
        let sought = |home| Sought {
            group: Self::group_of(home),
            address: floating(home),
            resource: format!("web-{}", NAMES[home]),
        };
        (0..self.size()).map(sought).collect()
    }

    /// Every group is online on one of these servers, as one of them sees it with a quorum.
    fn all_run_on(&self, servers: &[usize]) -> bool {
        let seen = servers.iter().find_map(|server| {
            let status = self.calls().status(&self.data(*server)).ok()?;
            status.confirmed.then_some(status)
        });
        let on_one = |name: &str| self.lab().number(name).is_some_and(|server| servers.contains(&server));
        seen.is_some_and(|status| status.groups.iter().all(|group| online(group) && on_one(&group.server)))
    }

    fn anything_runs(&self, server: usize) -> bool {
        let Some(groups) = control_group(self.lab(), server) else { return false };
        let inside = std::fs::read_dir(groups).into_iter().flatten().flatten();
        inside.map(|entry| entry.path().join("cgroup.events")).any(|events| {
            std::fs::read_to_string(events).is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
        })
    }

    fn judge(
        &self,
        picture: &Picture,
        order: &[usize],
        presence: &Presence,
        leaders: &[(u64, String)],
        (cut, mending): (Instant, Instant),
        healed: Duration,
    ) -> Parted {
        let (mut stopped, mut started, mut gap) = (None, None, None);
        let mut interrupted = BTreeSet::new();
        for (home, name) in NAMES.iter().enumerate().take(self.size()) {
            let runs = presence.runs(&Self::group_of(home));
            let here = |run: &&crate::network::holders::Run| run.server == *name;
            let ended = runs.iter().filter(here).filter(|run| run.from < cut && run.to < mending);
            let Some(end) = ended.map(|run| run.to).max() else { continue };
            interrupted.insert(home);
            stopped = stopped.max(Some(end));
            let elsewhere = runs.iter().filter(|run| !here(run) && run.from > cut && run.from < mending);
            if let Some(start) = elsewhere.map(|run| run.from).min() {
                started = Some(started.map_or(start, |known: Instant| known.min(start)));
                let between = signed_ms(end, start);
                gap = Some(gap.map_or(between, |known: f64| known.min(between)));
            }
        }
        let shaken = match &picture.outcome {
            Outcome::Wins(winners) => {
                winners.iter().map(|it| order[*it]).filter(|it| interrupted.contains(it)).collect()
            }
            Outcome::One | Outcome::Nobody | Outcome::Aside(_) => BTreeSet::new(),
        };
        Parted {
            picture: picture.clone(),
            stopped: stopped.map(|at| at.saturating_duration_since(cut)),
            started: started.map(|at| at.saturating_duration_since(cut)),
            gap,
            overlap: presence.overlap(),
            interrupted,
            shaken,
            leader_changes: leaders.windows(2).filter(|pair| pair[0].1 != pair[1].1).count(),
            terms: match (leaders.first(), leaders.last()) {
                (Some((first, _)), Some((last, _))) => last - first,
                _ => 0,
            },
            healed,
        }
    }

    /// Nothing is wrong with the servers, whatever runs on them.
    #[must_use]
    pub fn servers_are_whole(&self) -> bool {
        self.status().is_ok_and(|status| missing_servers(&status).is_none())
    }
}

impl Parted {
    /// What did not hold that must always hold.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        if !self.overlap.is_zero() {
            return Some(format!("two servers had something of one group for {:?}", self.overlap));
        }
        if let Some(gap) = self.gap.filter(|gap| *gap < 0.0) {
            return Some(format!("a group was started {:.1} ms before it had stopped elsewhere", -gap));
        }
        if !self.shaken.is_empty() {
            return Some(format!("{:?} should have noticed nothing", self.shaken));
        }
        match self.picture.outcome {
            Outcome::Aside(most) if self.interrupted.len() > most => {
                Some(format!("more than {most} put aside: {:?}", self.interrupted))
            }
            Outcome::One if self.interrupted.len() != 1 => {
                Some(format!("one should have stopped, and it was {:?}", self.interrupted))
            }
            Outcome::Wins(_) | Outcome::One | Outcome::Aside(_) if self.leader_changes > 1 => {
                Some(format!("the leader changed {} times", self.leader_changes))
            }
            _ => None,
        }
    }

    /// The head of a table of these.
    #[must_use]
    pub fn head() -> String {
        format!(
            "{:<22} {:>10} {:>10} {:>8} {:>8} {:>7} {:>6} {:>8}",
            "picture", "stopped", "started", "gap", "aside", "leaders", "terms", "whole"
        )
    }
}

impl fmt::Display for Parted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
        };
        let gap = self.gap.map_or_else(|| "-".to_owned(), |gap| format!("{gap:.0} ms"));
        write!(
            f,
            "{:<22} {:>10} {:>10} {gap:>8} {:>8} {:>7} {:>6} {:>6.1} s",
            self.picture,
            ms(self.stopped),
            ms(self.started),
            self.interrupted.len(),
            self.leader_changes,
            self.terms,
            self.healed.as_secs_f64(),
        )
    }
}

fn signed_ms(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64() * 1e3,
        None => -(from - to).as_secs_f64() * 1e3,
    }
}

/// Asks every node, again and again, who leads in which term.
struct Leaders {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<(u64, String)>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Leaders {
    fn watch(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let watch = |server: usize| {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            let (calls, data) = (cluster.calls().clone(), cluster.data(server));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Whom a quorum has confirmed: a candidate's term is nobody's.
                    if let Ok(status) = calls.status(&data)
                        && status.confirmed
                        && !status.leader.is_empty()
                    {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.insert((status.term, status.leader));
                    }
                    std::thread::sleep(ASK);
                }
            })
        };
        let threads = (0..cluster.size()).map(watch).collect();
        Self { stop, seen, threads }
    }

    /// Who led, by term.
    fn finish(self) -> Vec<(u64, String)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().cloned().collect()
    }
}
