//! Hosts on one switch, each in a network namespace of its own, for tests as root.

#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

/// Why such tests cannot run here, if so.
pub fn impossible() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces need root");
    }
    if !std::path::Path::new("/proc/sys/net/ipv6").exists() {
        return Some("this machine's kernel has no IPv6");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("the test's own set-up needs the `ip` command (iproute2)");
    }
    let Some(probe) = Namespace::new("probe") else {
        return Some("this machine does not permit network namespaces");
    };
    let words = ["-n", &probe.name, "link", "add", "br0", "type", "bridge"];
    let bridge = Command::new("ip").args(words).output();
    let made = bridge.is_ok_and(|done| done.status.success());
    (!made).then_some("this machine's kernel has no bridges")
}

/// Leaves the test, saying so, when namespaces are impossible here.
#[macro_export]
macro_rules! needs_namespaces {
    () => {
        if let Some(why) = netns::impossible() {
            println!("skipped, because {why}");
            return;
        }
    };
}

/// A network namespace; removed when dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new(role: &str) -> Option<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("tsk-{}-{}-{role}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let done = Command::new("ip").args(["netns", "add", &name]).output().ok()?;
        done.status.success().then(|| {
            let namespace = Self { name };
            namespace.ip("link set lo up");
            namespace
        })
    }

    /// Runs `ip` with these words in the namespace, which must succeed; its output.
    pub fn ip(&self, words: &str) -> String {
        let done = Command::new("ip").args(["-n", &self.name]).args(words.split(' ')).output().unwrap();
        assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs `work` on a thread inside the namespace, with a runtime whose threads are inside too.
    pub fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(work())
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Hosts on one switch. Host `n` (from 1) has `eth0` with 10.88.0.n/24 and fd88::n/64.
pub struct Switch {
    hub: Namespace,
    hosts: Vec<Namespace>,
}

impl Switch {
    pub fn with_hosts(count: usize) -> Self {
        let hub = Namespace::new("hub").unwrap();
        hub.ip("link add br0 type bridge");
        hub.ip("link set br0 up");
        let mut switch = Self { hub, hosts: Vec::new() };
        for n in 1..=count {
            let host = Namespace::new(&format!("host{n}")).unwrap();
            switch.hub.ip(&format!("link add port{n} type veth peer name eth0 netns {}", host.name));
            switch.hub.ip(&format!("link set port{n} master br0 up"));
            host.ip("link set eth0 up");
            host.ip(&format!("addr add 10.88.0.{n}/24 dev eth0"));
            host.ip(&format!("addr add fd88::{n}/64 dev eth0 nodad"));
            switch.hosts.push(host);
        }
        // A fresh veth has its carrier a moment later.
        for n in 1..=count {
            eventually("carrier", || switch.host(n).ip("link show eth0").contains("LOWER_UP"));
        }
        switch
    }

    pub fn host(&self, n: usize) -> &Namespace {
        &self.hosts[n - 1]
    }

    /// Pulls the cable of host `n` at the switch.
    pub fn cut(&self, n: usize) {
        self.hub.ip(&format!("link set port{n} down"));
    }

    /// Puts it back.
    pub fn heal(&self, n: usize) {
        self.hub.ip(&format!("link set port{n} up"));
    }

    /// The hardware address of host `n`, as text.
    pub fn mac(&self, n: usize) -> String {
        let text = self.host(n).ip("-o link show eth0");
        let mut words = text.split_whitespace();
        words.find(|word| *word == "link/ether").unwrap();
        words.next().unwrap().to_owned()
    }
}

/// Waits until `condition` holds; how long that took.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}
