//! What runs where, looked up on the servers themselves: for each group, who holds its floating
//! address, and who has a process of it. A thread looks at everything again and again.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Lab,
    holders::{Holders, Run, addresses_of, init_of},
};

/// A group to look for.
#[derive(Clone, Debug)]
pub struct Sought {
    /// Its name.
    pub group: String,
    /// Its floating address.
    pub address: IpAddr,
    /// The resource that is a process.
    pub resource: String,
}

/// Where each group was when.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// By group: who held its address.
    pub addresses: BTreeMap<String, Holders>,
    /// By group: who had processes of it. Frozen ones are processes too.
    pub processes: BTreeMap<String, Holders>,
}

impl Presence {
    /// Every run of a group, of address and processes, by its beginning.
    #[must_use]
    pub fn runs(&self, group: &str) -> Vec<Run> {
        let both = [&self.addresses, &self.processes];
        let mut runs: Vec<Run> = both
            .iter()
            .filter_map(|all| all.get(group))
            .flat_map(|holders| holders.runs().to_vec())
            .collect();
        runs.sort_by_key(|run| run.from);
        runs
    }

    /// The time during which two servers certainly had something of one group.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        let of_group = |group: &String| {
            let runs = self.runs(group);
            let pairs = runs.iter().enumerate().flat_map(|(n, one)| {
                let others = runs[n + 1..].iter().filter(|other| other.server != one.server);
                others.map(|other| one.to.min(other.to).saturating_duration_since(one.from.max(other.from)))
            });
            pairs.max().unwrap_or_default()
        };
        self.addresses.keys().map(of_group).max().unwrap_or_default()
    }
}

/// The thread.
pub struct PresenceProbe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Presence>>,
}

impl PresenceProbe {
    /// Starts to look for these groups on all servers, each at every `every` (a few milliseconds).
    #[must_use]
    pub fn start(lab: &Arc<Lab>, sought: Vec<Sought>, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (lab, until) = (Arc::clone(lab), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut presence = Presence::default();
            while !until.load(Ordering::Relaxed) {
                let round = Instant::now();
                for server in 0..lab.size() {
                    look(&mut presence, &lab, server, &sought);
                }
                std::thread::sleep(every.saturating_sub(round.elapsed()));
            }
            presence
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it: what was seen.
    #[must_use]
    pub fn finish(mut self) -> Presence {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(presence)) => presence,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Presence::default(),
        }
    }
}

impl Drop for PresenceProbe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(presence: &mut Presence, lab: &Lab, server: usize, sought: &[Sought]) {
    let before = Instant::now();
    // A look that failed is no look.
    let found = init_of(lab, server).map_or(Some(Vec::new()), |init| addresses_of(init).ok());
    let after = Instant::now();
    let name = lab.name(server);
    for one in sought {
        if let Some(found) = &found {
            let holders = presence.addresses.entry(one.group.clone()).or_default();
            holders.note(name, found.contains(&one.address), before, after);
        }
        let before = Instant::now();
        let runs = has_process(lab, server, one);
        let holders = presence.processes.entry(one.group.clone()).or_default();
        holders.note(name, runs, before, Instant::now());
    }
}

/// Whether the resource's control group has a process in it; the kernel keeps count.
fn has_process(lab: &Lab, server: usize, sought: &Sought) -> bool {
    let Some(group) = control_group(lab, server) else { return false };
    let events = group.join(format!("{}.{}", sought.group, sought.resource)).join("cgroup.events");
    fs::read_to_string(events).is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// Where a server's guard keeps its control groups, where there are any.
#[must_use]
pub fn control_group(lab: &Lab, server: usize) -> Option<PathBuf> {
    let folder = fs::metadata(lab.data_dir(server)).ok()?;
    let name = format!("tasuki/{:x}-{:x}", folder.dev(), folder.ino());
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    roots.into_iter().map(|root| root.join(&name)).find(|path| path.join("cgroup.procs").exists())
}
