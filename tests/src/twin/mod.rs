//! A cluster in one process: the real actors, core, Raft and store over a network, guards and
//! resources in memory. Faster and more cruel than processes; time is real.

mod lateness;
mod looks;
mod machine;
mod patience;
mod power;
pub mod register;
mod shared;
pub mod volumes;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tasuki_actors::{NodeHandle, NodeOptions, handle::RegistryError, ports::Ports};
use tasuki_core::{
    config::{
        Automatic, Cardinality, ClusterConfig, ClusterSettings, ExecConfig, FinalAction, GroupConfig,
        HeartbeatPath, MonitorConfig, MonitorKind, MonitorTiming, Network, NetworkUse, PlacementPolicy,
        RecoveryConfig, RecoveryTarget, ResourceConfig, ResourceDefinition, ResourceKind, ServerConfig,
        StartFailurePolicy, Startup,
    },
    ids::{GroupName, Incarnation, Lineage, RaftId, Revision, ServerName},
    registry::{
        Author, Command, State,
        state::{GroupState, Target},
    },
    timing::Timing,
};
use tempfile::TempDir;

pub use self::{
    lateness::Lateness,
    machine::{Happening, Machine},
    patience::{holds_in_time, in_time, patiently, patiently_at, too_late, until},
};
use self::{shared::Shared, volumes::Disks, wire::Wire};

/// The names of the servers, in order of their number.
pub const NAMES: [&str; 5] = ["kiki", "lala", "mimi", "nana", "pipi"];

/// A cluster in this process.
pub struct Twin {
    wire: Arc<Wire>,
    machines: BTreeMap<ServerName, Arc<Machine>>,
    nodes: Mutex<BTreeMap<ServerName, NodeHandle>>,
    config: ClusterConfig,
    folder: TempDir,
    shared: Arc<Shared>,
    register: Arc<register::Register>,
    disks: Arc<Disks>,
    incarnations: Mutex<BTreeMap<ServerName, u64>>,
    /// The newest revision that was seen, and of which lineage.
    seen: Mutex<(Option<Lineage>, Revision)>,
    /// Time is real here: clusters that ran side by side would take it from one another.
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

fn turns() -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: std::sync::OnceLock<Arc<tokio::sync::Mutex<()>>> = std::sync::OnceLock::new();
    TURNS.get_or_init(Arc::default).clone()
}

/// A configuration with one group `web` of one program, on all servers.
#[must_use]
pub fn config(servers: usize, detect: Duration) -> ClusterConfig {
    let names: Vec<ServerName> = NAMES[..servers].iter().map(|name| ServerName::from(*name)).collect();
    let group = GroupConfig {
        comment: String::new(),
        servers: names.clone(),
        startup: Startup::Always,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        resources: BTreeMap::from([("service".into(), program())]),
        ..GroupConfig::default()
    };
    let address = |network: u8, server: usize| {
        std::net::IpAddr::from([127, 9, network, u8::try_from(server).unwrap_or(u8::MAX)])
    };
    let server = |n: usize| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number: u32::try_from(n + 1).unwrap_or(u32::MAX),
        comment: String::new(),
        addresses: BTreeMap::from([
            ("inter".into(), address(1, n + 1)),
            ("public".into(), address(2, n + 1)),
        ]),
    };
    let network = |n: u8, uses| Network { subnet: std::net::IpAddr::from([127, 9, n, 0]), prefix: 24, uses };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "twin".into(),
            comment: String::new(),
            timing: Timing::from_detect(detect),
            startup_wait: Duration::from_secs(2),
            networks: BTreeMap::from([
                ("inter".into(), network(1, vec![NetworkUse::Interconnect])),
                ("public".into(), network(2, vec![NetworkUse::Public])),
            ]),
            heartbeats: vec![
                HeartbeatPath::Lan { network: "inter".into() },
                HeartbeatPath::Lan { network: "public".into() },
            ],
            port: 1,
            heartbeat_port: 2,
        },
        servers: names.iter().enumerate().map(|(n, name)| (name.clone(), server(n))).collect(),
        groups: BTreeMap::from([("web".into(), group)]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

/// An asynchronous program, that is tried once more where it failed.
#[must_use]
pub fn program() -> ResourceConfig {
    let exec = ExecConfig {
        wait: false,
        start_timeout: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(5),
        ..ExecConfig::of(vec!["service".into()])
    };
    ResourceConfig {
        on_start_failure: StartFailurePolicy { retries: 1, failovers: 1, last: FinalAction::None },
        ..ResourceConfig::of(ResourceKind::Exec(exec))
    }
}

/// A program outside every group, with one instance, on these servers in this order.
#[must_use]
pub fn singleton(on: &[&str]) -> ResourceDefinition {
    ResourceDefinition {
        type_name: "exec".into(),
        resource: program(),
        attributes: BTreeMap::new(),
        cardinality: Cardinality::Number(1),
        placement: PlacementPolicy::Restricted,
        hosting_members: on.iter().map(|name| ServerName::from(*name)).collect(),
        server_pools: Vec::new(),
        load: 1,
        auto_start: Startup::Always,
        enabled: true,
        failover: Automatic::Auto,
        failback: Automatic::Manual,
        start: Vec::new(),
        stop: Vec::new(),
    }
}

/// A monitor that looks often, on every server, whatever runs; its findings have no restart and one
/// failover.
#[must_use]
pub fn monitor(kind: MonitorKind, target: RecoveryTarget) -> MonitorConfig {
    MonitorConfig {
        comment: String::new(),
        kind,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(100),
        retries: 0,
        start_delay: Duration::ZERO,
        timing: MonitorTiming::Always,
        target: None,
        nice: 0,
        servers: Vec::new(),
        recovery: RecoveryConfig { target, restarts: 0, failovers: 1, last: FinalAction::None },
    }
}

impl Twin {
    /// Founds a cluster and lets all its servers join.
    ///
    /// # Panics
    /// When it does not form.
    pub async fn form(config: ClusterConfig) -> Self {
        let servers: Vec<ServerName> = config
            .servers_by_number()
            .iter()
            .filter(|(_, server)| server.role.may_vote()) // one that keeps the record is no node
            .map(|(name, _)| (*name).clone())
            .collect();
        let folder = TempDir::new().expect("a folder for the stores");
        let machines = servers.iter().map(|s| (s.clone(), Arc::new(Machine::new(s.clone()))));
        let wire = Arc::new(Wire::default());
        let twin = Self {
            disks: Arc::new(Disks::new(wire.clone())),
            wire,
            machines: machines.collect(),
            nodes: Mutex::default(),
            config,
            folder,
            shared: Arc::default(),
            register: Arc::default(),
            incarnations: Mutex::default(),
            seen: Mutex::new((None, Revision(0))),
            _turn: turns().lock_owned().await,
        };
        twin.shared.power.plug(twin.wire.clone(), twin.machines.clone());
        for (server, machine) in &twin.machines {
            machine.has_disks(server, &twin.disks);
        }
        let founder = servers[0].clone();
        twin.boot(&founder).await;
        twin.until("the registry is founded", |state| state.lineage.is_some()).await;
        for server in &servers[1..] {
            let handle = twin.node(&founder).expect("the founder runs");
            let by = || Author::Operator("twin".into());
            let (id, digest) = (server.to_string(), "digest".to_owned());
            let expires = tasuki_core::time::WallTime(u64::MAX);
            let issue = Command::IssueToken { id: id.clone(), digest: digest.clone(), server: None, expires };
            handle.propose(by(), issue, None, Vec::new()).await.expect("a token");
            let join = Command::Join { token: id, digest, server: server.clone() };
            handle.propose(by(), join, None, Vec::new()).await.expect("a place");
            twin.boot(server).await;
        }
        twin
    }

    /// Starts the node of a server (again).
    ///
    /// # Panics
    /// When it does not start.
    pub async fn boot(&self, server: &ServerName) {
        let number = self.config.servers[server].number;
        let incarnation = {
            let mut all = self.incarnations.lock().unwrap_or_else(PoisonError::into_inner);
            let count = all.entry(server.clone()).or_default();
            *count += 1;
            *count
        };
        let machine = self.machines[server].clone();
        machine.switch_on();
        let options = || NodeOptions {
            server: server.clone(),
            raft_id: RaftId(u64::from(number)),
            lineage: Lineage::new("twin"),
            incarnation: Incarnation(incarnation),
            store: self.folder.path().join(format!("{server}")).into(),
            journal: Some(self.folder.path().join(format!("{server}-journal"))),
            config: self.config.clone(),
            role: self.config.servers[server].role,
            founder: number == 1,
            store_exists: incarnation > 1,
            speaks: tasuki_core::registry::level::Spoken::here("twin"),
        };
        let ports = || Ports {
            clock: machine.clone(),
            peers: self.wire.transport(server),
            links: self.wire.socket(server),
            guard: machine.clone(),
            agent: machine.clone(),
            prober: machine.clone(),
            tie_break: self.register.reached_from(server),
            voting_files: self.shared.clone(),
            fencer: self.shared.clone(),
            profile: Arc::new(tasuki_actors::ports::NoProfile),
            volumes: self.disks.of(server),
        };
        // The node before lets its store go a little after its actors have ended.
        let opened = async {
            loop {
                match tasuki_actors::start(options(), ports()).await {
                    Ok((handle, _ended)) => return handle,
                    Err(error) if error.to_string().contains("TSK-1201") => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(error) => panic!("the node starts: {error}"),
                }
            }
        };
        let handle = in_time("its store is let go", opened).await;
        machine.runs(&handle);
        self.wire.plug(server, handle.clone());
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), handle);
    }

    /// The node of a server, if it runs.
    #[must_use]
    pub fn node(&self, server: &ServerName) -> Option<NodeHandle> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned()
    }

    /// The machine of a server.
    #[must_use]
    pub fn machine(&self, server: &ServerName) -> Arc<Machine> {
        self.machines[server].clone()
    }

    /// The tie-break record.
    #[must_use]
    pub fn register(&self) -> &register::Register {
        &self.register
    }

    /// The disks of mirrored volumes.
    #[must_use]
    pub fn disks(&self) -> &Arc<Disks> {
        &self.disks
    }

    /// The fencing devices.
    #[must_use]
    pub fn power(&self) -> &power::Power {
        &self.shared.power
    }

    /// The node process dies; its resources and its guard go on.
    pub async fn kill_node(&self, server: &ServerName) {
        let handle = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
        self.wire.unplug(server);
        self.machines[server].node_dies();
        if let Some(handle) = handle {
            handle.abandon().await;
        }
    }

    /// The machine dies with everything on it.
    pub async fn kill_machine(&self, server: &ServerName) {
        self.machines[server].lose_power();
        self.kill_node(server).await;
    }

    /// Cuts every cable of these servers to all others.
    pub fn isolate(&self, servers: &[ServerName]) {
        self.wire.isolate(servers);
    }

    /// A voting file fails for everybody, or works again.
    pub fn break_file(&self, file: &str, broken: bool) {
        self.shared.break_file(std::path::Path::new(file), broken);
    }

    /// Cuts one network between all.
    pub fn cut_network(&self, network: &str) {
        self.wire.cut_network(network);
    }

    /// Heals all cables.
    pub fn heal(&self) {
        self.wire.heal();
    }

    /// Waits until the registry, as some running node has applied it, is as asked. What is older than
    /// what was seen before says nothing: it is from before what the test has just done.
    ///
    /// # Panics
    /// When it is not so within half a minute.
    pub async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                if !self.nodes().is_empty() {
                    let newest = self.newest();
                    if self.goes_on(&newest) && holds(&newest) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        if waited.await.is_err() {
            let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            for handle in nodes.values() {
                let state = handle.state();
                eprintln!("{:?}\n{:#?}", handle.status(), state.groups);
                for change in state.history.iter().rev().take(15).rev() {
                    eprintln!("  {} {} {:?}", change.revision, change.what, change.reason);
                }
            }
            too_late(&what);
        }
    }

    /// Whether a state is not older than any that was seen here: when the node that was furthest is
    /// killed, the others may not have applied yet what it had.
    fn goes_on(&self, state: &State) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let older = seen.0 == state.lineage && state.revision < seen.1;
        if !older {
            *seen = (state.lineage.clone(), state.revision);
        }
        !older
    }

    /// Waits until a group is online on one of these servers.
    pub async fn until_online(&self, group: &str, on: &[ServerName]) {
        self.until(&format!("{group} is online on one of {on:?}"), |state| {
            online_on(state, group).is_some_and(|server| on.contains(&server))
        })
        .await;
    }

    /// Waits until every configured server is up, votes as it should, and would be given a group: one whose
    /// lease is not renewed yet is passed over, also where somebody names it.
    pub async fn until_whole(&self) {
        self.until("all servers are up", |state| {
            let mut servers = state.servers.values().filter(|s| s.config.value.role.may_vote());
            servers.all(|s| s.presence.as_ref().is_some_and(|p| p.value.up))
        })
        .await;
        // R20: one, two, or an odd number. Who is cut off or killed before all vote may be one too many.
        let servers = self.machines.len();
        let votes = if servers > 2 && servers.is_multiple_of(2) { servers - 1 } else { servers };
        let all_vote = async {
            // No change of them is under way any more, either: it would wait for who is killed now.
            let settled = |node: &NodeHandle| {
                let voters = node.context().raft.borrow().as_ref().and_then(|raft| raft.voters());
                voters.is_some_and(|voters| {
                    voters.committed && matches!(&voters.configs[..], [one] if one.len() == votes)
                })
            };
            while !self.nodes().iter().all(settled) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        in_time(&format!("{votes} servers vote"), all_vote).await;
        let all_fit = async {
            let run = |server: &&ServerName| self.config.servers[*server].role.runs_groups();
            let wanted: BTreeSet<ServerName> = self.machines.keys().filter(run).cloned().collect();
            let knows = |node: &NodeHandle| {
                let leading = node.context().leading.borrow();
                leading.as_ref().is_some_and(|leading| leading.fit.is_superset(&wanted))
            };
            while !self.nodes().iter().any(knows) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        in_time("the lease of every server is renewed", all_fit).await;
    }

    /// All nodes that run.
    fn nodes(&self) -> Vec<NodeHandle> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The registry as whoever is furthest has applied it.
    #[must_use]
    pub fn newest(&self) -> Arc<State> {
        let states = self.nodes().into_iter().map(|node| node.state());
        states.max_by_key(|state| state.revision).unwrap_or_default()
    }

    /// Where a group is online.
    #[must_use]
    pub fn online(&self, group: &str) -> Option<ServerName> {
        online_on(&self.newest(), group)
    }

    /// Moves a group, and waits until it is online there. Once more where it went elsewhere: on a busy
    /// machine the lease requests of the one that it shall go to may have been late at that moment, and then
    /// it is not fit.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn move_to(&self, group: &str, to: &ServerName) {
        let name = GroupName::from(group);
        let epoch = |state: &State| state.groups[&name].ownership.value.epoch;
        for _ in 0..10 {
            let before = epoch(&self.newest());
            let command = Command::MoveGroup { group: name.clone(), to: Some(to.clone()), force: false };
            self.command(to, command).await;
            let moved = |state: &State| epoch(state) > before && online_on(state, group).is_some();
            self.until(&format!("{group} has moved"), moved).await;
            if self.online(group).as_ref() == Some(to) {
                return;
            }
        }
        too_late(&format_args!("{group} does not stay on {to}"));
    }

    /// Fails if two machines ever ran the same resource at the same time.
    ///
    /// # Panics
    /// When two did.
    pub fn assert_one_owner_at_a_time(&self) {
        machine::assert_never_two(self.machines.values());
    }

    /// All other servers.
    #[must_use]
    pub fn others(&self, server: &ServerName) -> Vec<ServerName> {
        self.machines.keys().filter(|other| *other != server).cloned().collect()
    }

    /// An operator's command by way of one server: once more where it certainly was not done, because on a
    /// busy machine the leader may just have changed.
    ///
    /// # Panics
    /// When it is refused, when it is not known what became of it, or when nobody has led for half a minute.
    pub async fn command(&self, through: &ServerName, command: Command) {
        let node = self.node(through).expect("who is asked runs");
        let done = async {
            loop {
                let author = Author::Operator("twin".into());
                match node.propose(author, command.clone(), None, Vec::new()).await {
                    Err(RegistryError::NoQuorum(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                    outcome => return outcome,
                }
            }
        };
        in_time("somebody leads", done).await.expect("it is done");
    }

    /// The registry as a quorum has it, asked through this server: waits for a quorum.
    ///
    /// # Panics
    /// When there is none within half a minute, or the server does not run.
    pub async fn read(&self, through: &ServerName) -> Arc<State> {
        let node = self.node(through).expect("who is asked runs");
        let read = async {
            loop {
                match node.read().await {
                    Err(RegistryError::NoQuorum(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                    outcome => return outcome,
                }
            }
        };
        in_time("a quorum answers", read).await.expect("it is read")
    }

    /// Who leads, as most nodes see it.
    #[must_use]
    pub fn leader(&self) -> Option<ServerName> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.values().map(NodeHandle::status).max_by_key(|s| s.raft.term).and_then(|s| s.raft.leader)
    }
}

/// Where a group is online.
#[must_use]
pub fn online_on(state: &State, group: &str) -> Option<ServerName> {
    let entry = state.groups.get(&group.into())?;
    let report = &entry.report.as_ref()?.value;
    let current = report.epoch == entry.ownership.value.epoch && entry.target.value == Target::Online;
    let owner = entry.ownership.value.owner.as_ref()?;
    (current && report.state == GroupState::Online && report.server == *owner).then(|| owner.clone())
}

/// All distinct servers of a list.
#[must_use]
pub fn servers(names: &[&str]) -> Vec<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect::<BTreeSet<_>>().into_iter().collect()
}
