//! What a cluster costs when nothing happens, and what a write to its registry costs.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tasuki_proto::v1::{self as wire, cluster_client::ClusterClient};

use super::{Cluster, GROUP, SERVERS, calls::channel, round::boot_clock};
use crate::{
    client::{Client, Pace},
    network::Process,
    numbers::Times,
};

/// What one process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Share of one core, in percent.
    pub cpu: f64,
    /// Resident memory, in kibibytes.
    pub resident: u64,
}

/// Guard and node of each server, over `span`.
///
/// # Errors
/// When one of them ends meanwhile.
pub fn idle(cluster: &Cluster, span: Duration) -> io::Result<Vec<(Usage, Usage)>> {
    let mut all = Vec::new();
    for server in 0..SERVERS.len() {
        all.push([cluster.guard(server)?, cluster.node(server)?]);
    }
    let used = |process: &Process| cpu_time(process.pid);
    let before: Vec<_> = all.iter().map(|pair| pair.each_ref().map(used)).collect();
    let began = Instant::now();
    std::thread::sleep(span);
    let passed = began.elapsed();
    let mut usages = Vec::new();
    for (pair, before) in all.iter().zip(before) {
        let mut usage = [Usage::default(); 2];
        for ((process, before), usage) in pair.iter().zip(before).zip(&mut usage) {
            let used = used(process)?.saturating_sub(before?);
            usage.cpu = used.as_secs_f64() / passed.as_secs_f64() * 100.0;
            usage.resident = resident(process.pid)?;
        }
        let [guard, node] = usage;
        usages.push((guard, node));
    }
    Ok(usages)
}

/// Writes to the registry, one after another, through the node of `server`, and as many plain
/// appends with `fdatasync` in the same folder.
///
/// # Errors
/// When a write is refused.
pub fn writes(cluster: &Cluster, server: usize, count: usize) -> io::Result<(Times, Times)> {
    let registry = cluster.calls().block_on(async {
        let mut client = ClusterClient::new(channel(&cluster.data(server)).await?);
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            // One entry in the log, and no secret but a random one.
            let request = wire::IssueTokenRequest { server: String::new(), valid_seconds: 1 };
            let began = Instant::now();
            client.issue_token(request).await?;
            times.push(began.elapsed());
        }
        Ok::<_, tonic::Status>(times)
    });
    let registry = registry.map_err(|status| io::Error::other(status.message().to_owned()))?;
    Ok((Times::new(registry), Times::new(appends(cluster.lab().folder(), count)?)))
}

fn appends(folder: &Path, count: usize) -> io::Result<Vec<Duration>> {
    let mut file = File::create(folder.join("appended"))?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&[7; 256])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Processes that keep cores busy, at ordinary priority; dropped, they end.
pub struct Busy(Vec<Child>);

impl Busy {
    /// So many.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut all = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            all.0.push(command.spawn()?);
        }
        Ok(all)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Killed or ended: both are over.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What happened although nothing had failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// The service answered from another process.
    pub failovers: usize,
    /// A server was called gone.
    pub judged: usize,
    /// A server had to stop what ran, or was about to, because its lease ended.
    pub leases: usize,
    /// Another leader was elected.
    pub elections: usize,
    /// All paths to a server were called lost.
    pub paths: usize,
    /// The longest time without an answer.
    pub longest: Duration,
}

impl Alarms {
    /// Nobody would have noticed anything.
    #[must_use]
    pub fn none(&self) -> bool {
        self.failovers + self.judged + self.leases == 0
    }
}

/// Watches a whole cluster to which nothing is done.
///
/// # Errors
/// When it is not whole before, or the service does not answer.
pub fn false_alarms(cluster: &Cluster, span: Duration) -> io::Result<Alarms> {
    cluster.await_whole()?;
    let nodes = || -> io::Result<Vec<i32>> {
        (0..SERVERS.len()).map(|server| Ok(cluster.node(server)?.pid)).collect()
    };
    let before = nodes()?;
    let events = cluster.calls().events((0..SERVERS.len()).map(|server| cluster.data(server)));
    let client = Client::start(cluster.lab().client(), cluster.target(), Pace::default())?;
    let began = boot_clock();
    std::thread::sleep(span);
    let history = client.finish();
    let seen = events.so_far();
    // A node whose lease ended was killed by its guard and is another process now.
    let stood_down = nodes()?.iter().zip(&before).filter(|(now, then)| now != then).count();
    let count = |kinds: &[&str]| {
        let late = seen.iter().filter(|event| event.boot_ns > began);
        late.filter(|event| kinds.contains(&event.kind.as_str())).count()
    };
    let group = format!("group/{GROUP}");
    let starts = seen.iter().filter(|event| event.kind == "group-starting" && event.object == group).count();
    Ok(Alarms {
        failovers: history.answered().len().saturating_sub(1).max(starts),
        judged: count(&["server-judged"]),
        leases: stood_down + count(&["verdict-stand-down"]),
        elections: count(&["leading"]),
        paths: count(&["path-lost"]),
        longest: history.longest_gap().map_or(span, |gap| gap.length()),
    })
}

fn cpu_time(pid: i32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    // User and system time: fields 14 and 15, of which the third comes first here.
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux says ticks of 10 ms to user space, whatever its timer does.
    Ok(Duration::from_millis(ticks * 10))
}

fn resident(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS"))
}
