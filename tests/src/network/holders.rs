//! Who holds a floating address, looked up on the servers themselves: the answers that a client
//! gets say nothing of a second holder whose frames did not arrive.

use std::{
    fmt,
    fs::File,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

use super::Lab;

/// A thread that looks at every server, again and again.
pub struct HolderProbe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Holders>>,
}

impl HolderProbe {
    /// Starts to look for `address` on all servers, each at every `every` (a few milliseconds).
    #[must_use]
    pub fn start(lab: &Arc<Lab>, address: IpAddr, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (lab, until) = (Arc::clone(lab), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut holders = Holders::default();
            while !until.load(Ordering::Relaxed) {
                let round = Instant::now();
                for server in 0..lab.size() {
                    holders.look(&lab, server, address);
                }
                std::thread::sleep(every.saturating_sub(round.elapsed()));
            }
            holders
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it: what was seen.
    #[must_use]
    pub fn finish(mut self) -> Holders {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(holders)) => holders,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Holders::default(),
        }
    }
}

impl Drop for HolderProbe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A time during which every look at one server found the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The server.
    pub server: String,
    /// When the first look that found it was over.
    pub from: Instant,
    /// When the last look that found it began: up to here it certainly was there.
    pub to: Instant,
    open: bool,
}

/// Who held the address when.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    runs: Vec<Run>,
    /// Looks that failed although the server was on; they count as "not there".
    failed: u32,
    looks: u64,
}

/// One server after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Who had the address.
    pub from: String,
    /// Who had it next.
    pub to: String,
    /// How long both certainly had it: zero, unless something is badly wrong.
    pub overlap: Duration,
    /// How long nobody had it, as far as was looked.
    pub gap: Duration,
}

impl fmt::Display for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let Self { from, to, overlap, gap } = self;
        write!(
            f,
            "{from} -> {to}: overlap {:.1} ms, gap {:.1} ms",
            milliseconds(*overlap),
            milliseconds(*gap)
        )
    }
}

impl Holders {
    /// All runs, by their beginning.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Looks made, and how many of them failed on a server that was on.
    #[must_use]
    pub fn looks(&self) -> (u64, u32) {
        (self.looks, self.failed)
    }

    /// Every change of holder, in order.
    #[must_use]
    pub fn hand_overs(&self) -> Vec<HandOver> {
        let hand_over = |pair: &[Run]| {
            let [old, new] = pair else { return None };
            (old.server != new.server).then(|| HandOver {
                from: old.server.clone(),
                to: new.server.clone(),
                overlap: overlap(old, new),
                gap: new.from.saturating_duration_since(old.to),
            })
        };
        self.runs.windows(2).filter_map(hand_over).collect()
    }

    /// The time during which more than one server had the address, summed over all pairs.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        let pairs = self.runs.iter().enumerate().flat_map(|(n, one)| {
            self.runs[n + 1..]
                .iter()
                .filter(|other| other.server != one.server)
                .map(|other| overlap(one, other))
        });
        pairs.sum()
    }

    fn look(&mut self, lab: &Lab, server: usize, address: IpAddr) {
        let before = Instant::now();
        let found = match init_of(lab, server) {
            Some(init) => {
                self.looks += 1;
                has_address(init, address).unwrap_or_else(|_| {
                    // It may have lost its power just now.
                    self.failed += u32::from(init_of(lab, server) == Some(init));
                    false
                })
            }
            None => false,
        };
        self.note(lab.name(server), found, before, Instant::now());
    }

    /// Takes one look at one server that lasted from `before` to `after`.
    pub(crate) fn note(&mut self, server: &str, found: bool, before: Instant, after: Instant) {
        let run = self.runs.iter_mut().rev().find(|run| run.open && run.server == server);
        match (run, found) {
            (Some(run), true) => run.to = before,
            (Some(run), false) => run.open = false,
            (None, true) => {
                self.runs.push(Run { server: server.to_owned(), from: after, to: after, open: true })
            }
            (None, false) => {}
        }
    }
}

fn overlap(one: &Run, other: &Run) -> Duration {
    one.to.min(other.to).saturating_duration_since(one.from.max(other.from))
}

pub(crate) fn init_of(lab: &Lab, server: usize) -> Option<i32> {
    // Without the lock: switching a server on or off holds it for long.
    match lab.servers[server].init.load(Ordering::Acquire) {
        0 => None,
        init => Some(init),
    }
}

fn has_address(init: i32, address: IpAddr) -> io::Result<bool> {
    Ok(addresses_of(init)?.contains(&address))
}

/// All addresses of a server's network. Enters it for one look only: whoever stays inside keeps it
/// alive after the machine is dead.
pub(crate) fn addresses_of(init: i32) -> io::Result<Vec<IpAddr>> {
    let outside = File::open("/proc/thread-self/ns/net")?;
    setns(File::open(format!("/proc/{init}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let found = nix::ifaddrs::getifaddrs().map(|all| {
        all.filter_map(|one| {
            let address = one.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
        })
        .collect()
    });
    setns(outside, CloneFlags::CLONE_NEWNET)?;
    Ok(found?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(looks: &[(&str, bool, u64)]) -> Holders {
        let start = Instant::now();
        let mut holders = Holders::default();
        for (server, found, at) in looks {
            let at = start + Duration::from_millis(*at);
            holders.note(server, *found, at, at + Duration::from_millis(1));
        }
        holders
    }

    #[test]
    fn a_hand_over_with_a_gap_has_no_overlap() {
        let holders = seen(&[
            ("kiki", true, 0),
            ("lala", false, 2),
            ("kiki", true, 10),
            ("lala", false, 12),
            ("kiki", false, 20),
            ("lala", true, 22),
            ("kiki", false, 30),
            ("lala", true, 32),
        ]);
        assert_eq!(holders.overlap(), Duration::ZERO);
        let hand_overs = holders.hand_overs();
        assert_eq!(hand_overs.len(), 1);
        assert_eq!(hand_overs[0].to_string(), "kiki -> lala: overlap 0.0 ms, gap 13.0 ms");
    }

    #[test]
    fn a_hand_over_between_two_looks_of_one_round_is_no_overlap() {
        let holders = seen(&[("kiki", true, 0), ("lala", true, 2), ("kiki", false, 10), ("lala", true, 12)]);
        assert_eq!(holders.overlap(), Duration::ZERO);
    }

    #[test]
    fn two_holders_at_one_time_are_an_overlap() {
        let holders = seen(&[("kiki", true, 0), ("lala", true, 2), ("kiki", true, 10), ("lala", true, 12)]);
        assert_eq!(holders.overlap(), Duration::from_millis(7));
        assert_eq!(holders.hand_overs()[0].overlap, Duration::from_millis(7));
    }

    #[test]
    fn coming_back_is_a_hand_over_of_its_own() {
        let holders = seen(&[
            ("kiki", true, 0),
            ("kiki", false, 10),
            ("lala", true, 12),
            ("lala", true, 20),
            ("lala", false, 30),
            ("kiki", true, 40),
            ("kiki", true, 50),
        ]);
        assert_eq!(holders.overlap(), Duration::ZERO);
        assert_eq!(holders.hand_overs().len(), 2);
    }
}
