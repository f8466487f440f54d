//! A registry in memory behind the real service layer and the real gRPC face, and golden files.
#![allow(dead_code, clippy::unwrap_used)]

pub mod engine;
pub mod program;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tasuki::{
    app::{App, AppError, Authority, Fleet, Node, ports::LocalCheck},
    identity::{Identity, Token, Welcome},
};
use tasuki_actors::handle::{Accepted, Event, NodeStatus, RaftStatus, RegistryError};
use tasuki_core::{
    config::{
        Automatic, ClusterConfig, ClusterSettings, ExecConfig, FinalAction, GroupConfig, HeartbeatPath,
        Network, NetworkUse, ResourceConfig, ResourceKind, ServerConfig, StartFailurePolicy, Startup,
        StopFailurePolicy,
    },
    ids::{BootId, Epoch, Incarnation, Lineage, RaftId, Revision, ServerName, Term},
    membership::view::{GossipState, PathState, PathView, PeerView, View},
    reason::Reason,
    registry::{
        Author, Command, Key, Proposal, Reply, State, apply,
        state::{GroupReport, GroupState, ResourceReport, ResourceState, StartEvent},
    },
    time::{Timestamp, WallTime},
    timing::Timing,
};
use tokio::sync::{broadcast, watch};

/// When everything happens in these tests.
pub const AT: WallTime = WallTime(1_795_309_323_004);

/// Compares with `tests/golden/NAME`; `UPDATE=1` writes it.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE=1 rewrites it", path.display());
}

/// Three servers, two networks, one group.
pub fn config() -> ClusterConfig {
    let networks = ["interconnect", "public"];
    let uses = [NetworkUse::Interconnect, NetworkUse::Public];
    let server = |number: u8| ServerConfig {
        role: Default::default(),
        domain: None,
        fencing: Vec::new(),
        number: number.into(),
        comment: String::new(),
        addresses: BTreeMap::from([
            ("interconnect".into(), IpAddr::from([127, 0, 1, number])),
            ("public".into(), IpAddr::from([127, 0, 2, number])),
        ]),
    };
    let app = ResourceConfig {
        comment: String::new(),
        depends_on: None,
        on_start_failure: StartFailurePolicy { retries: 1, failovers: 1, last: FinalAction::None },
        on_stop_failure: StopFailurePolicy { retries: 0, last: FinalAction::None },
        kind: ResourceKind::Exec(ExecConfig {
            start: vec!["/bin/true".into()],
            stop: None,
            wait: true,
            user: None,
            directory: None,
            environment: BTreeMap::new(),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
            watch: false,
            check: None,
            read_only: false,
        }),
        ..ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())))
    };
    ClusterConfig {
        settings: ClusterSettings {
            votes: Default::default(),
            fences: BTreeMap::new(),
            on_hang: Default::default(),
            name: "demo".into(),
            comment: String::new(),
            timing: Timing::from_detect(Duration::from_secs(1)),
            startup_wait: Duration::from_secs(10),
            networks: networks
                .into_iter()
                .zip(uses)
                .enumerate()
                .map(|(n, (name, network_use))| {
                    let subnet = IpAddr::from([127, 0, u8::try_from(n).unwrap() + 1, 0]);
                    (name.into(), Network { subnet, prefix: 24, uses: vec![network_use] })
                })
                .collect(),
            heartbeats: networks.map(|name| HeartbeatPath::Lan { network: name.into() }).to_vec(),
            port: 29001,
            heartbeat_port: 29002,
        },
        servers: BTreeMap::from([
            ("kiki".into(), server(1)),
            ("lala".into(), server(2)),
            ("mimi".into(), server(3)),
        ]),
        groups: BTreeMap::from([(
            "web".into(),
            GroupConfig {
                comment: String::new(),
                servers: vec!["kiki".into(), "lala".into()],
                startup: Startup::Always,
                failover: Automatic::Auto,
                failback: Automatic::Manual,
                resources: BTreeMap::from([("app".into(), app)]),
                ..GroupConfig::default()
            },
        )]),
        types: BTreeMap::new(),
        pools: BTreeMap::new(),
        resources: BTreeMap::new(),
        monitors: BTreeMap::new(),
    }
}

/// A registry, commanded by hand.
#[derive(Clone, Default)]
pub struct Registry(pub State);

impl Registry {
    /// Founded by kiki, which has started.
    pub fn founded() -> Self {
        let mut registry = Self::default();
        let lineage = Lineage::new("l1");
        registry.must(
            Author::Operator("root".into()),
            None,
            Command::Initialise { lineage, config: config(), founder: "kiki".into() },
        );
        registry.start("kiki", 1);
        registry
    }

    /// Founded, with lala joined and started, and web online on kiki.
    pub fn running() -> Self {
        let mut registry = Self::founded();
        registry.join("lala");
        registry.start("lala", 1);
        registry.own("web", "kiki", Reason::ClusterStarted);
        registry
    }

    pub fn must(&mut self, author: Author, reason: Option<Reason>, command: Command) -> Accepted {
        self.command(author, AT, reason, command).unwrap()
    }

    pub fn command(
        &mut self,
        author: Author,
        at: WallTime,
        reason: Option<Reason>,
        command: Command,
    ) -> Result<Accepted, RegistryError> {
        let lineage = self.0.lineage.clone();
        let proposal = Proposal { id: None, author, at, lineage, read: Vec::new(), reason, command };
        match apply(&mut self.0, &proposal) {
            Reply::Applied { revision, raft_id } => Ok(Accepted { revision, raft_id }),
            Reply::Refused(refusal) => Err(refusal.into()),
        }
    }

    pub fn start(&mut self, server: &str, incarnation: u64) {
        let boot = BootId::new(format!("boot-{server}"));
        let incarnation = Incarnation(incarnation);
        self.must(
            Author::Server(server.into()),
            None,
            Command::ServerStarted { server: server.into(), incarnation, boot },
        );
    }

    pub fn join(&mut self, server: &str) {
        let id = format!("t-{server}");
        let token = Command::IssueToken {
            id: id.clone(),
            digest: "d".into(),
            server: None,
            expires: WallTime(AT.0 + 1000),
        };
        self.must(Author::Operator("root".into()), None, token);
        let join = Command::Join { token: id, digest: "d".into(), server: server.into() };
        self.must(Author::Server(server.into()), None, join);
    }

    /// Gives a group to a server, which says that it runs.
    pub fn own(&mut self, group: &str, server: &str, reason: Reason) {
        let epoch = self.0.groups[&group.into()].ownership.value.epoch.next();
        let assign =
            Command::Assign { group: group.into(), server: server.into(), epoch, event: StartEvent::Start };
        self.must(Author::Leader("kiki".into()), Some(reason), assign);
        self.report(group, server, epoch, GroupState::Online, ResourceState::Online, "");
    }

    pub fn report(
        &mut self,
        group: &str,
        server: &str,
        epoch: Epoch,
        state: GroupState,
        resource: ResourceState,
        detail: &str,
    ) {
        let said = ResourceReport { state: resource, detail: detail.into(), since: AT };
        let config = &self.0.groups[&group.into()].config.as_ref().unwrap().value;
        let report = GroupReport {
            epoch,
            server: server.into(),
            state,
            resources: config.resources.keys().map(|name| (name.clone(), said.clone())).collect(),
            failed: None,
        };
        self.must(Author::Server(server.into()), None, Command::Report { group: group.into(), report });
    }
}

/// What kiki sees when every path to `heard` is normal.
pub fn view(heard: &[&str]) -> View {
    let peers = ["lala", "mimi"].map(|peer| {
        let up = heard.contains(&peer);
        let path = |latency| PathView {
            state: if up { PathState::Normal } else { PathState::Error },
            latency: Duration::from_micros(latency),
            loss_percent: if up { 0 } else { 100 },
            ..PathView::default()
        };
        let paths = BTreeMap::from([("interconnect".into(), path(210)), ("public".into(), path(340))]);
        let gossip = if up { GossipState::Alive } else { GossipState::Dead };
        (ServerName::from(peer), PeerView { gossip, paths })
    });
    View { peers: peers.into_iter().collect() }
}

/// Kiki, which leads the voters.
pub fn node_status(voters: &[&str]) -> NodeStatus {
    NodeStatus {
        server: "kiki".into(),
        lineage: Some(Lineage::new("l1")),
        incarnation: Incarnation(1),
        lease_end: Some(Timestamp(5_800_000_000)),
        now: Timestamp(5_000_000_000),
        raft: RaftStatus {
            leader: Some("kiki".into()),
            term: Term(3),
            voters: voters.iter().map(|name| ServerName::from(*name)).collect(),
            learners: Vec::new(),
            last_log: 9,
            applied: 9,
        },
        tie_break: None,
    }
}

/// A node without a cluster behind it.
pub struct FakeNode {
    registry: Mutex<Registry>,
    states: watch::Sender<Arc<State>>,
    events: broadcast::Sender<Event>,
    quorum: bool,
    obliging: bool,
}

impl FakeNode {
    /// With a quorum; `obliging` ones let groups follow what operators want at once.
    pub fn new(registry: Registry, obliging: bool) -> Arc<Self> {
        Self::with(registry, true, obliging)
    }

    pub fn without_quorum(registry: Registry) -> Arc<Self> {
        Self::with(registry, false, false)
    }

    fn with(registry: Registry, quorum: bool, obliging: bool) -> Arc<Self> {
        let states = watch::Sender::new(Arc::new(registry.0.clone()));
        Arc::new(Self {
            registry: Mutex::new(registry),
            states,
            events: broadcast::Sender::new(64),
            quorum,
            obliging,
        })
    }

    pub fn emit(&self, kind: &str, object: &str, text: &str) {
        let event = Event {
            at: AT,
            boot: Timestamp(1),
            server: "kiki".into(),
            object: object.into(),
            kind: kind.into(),
            text: text.into(),
            revision: None,
        };
        let _ = self.events.send(event);
    }

    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    /// What owners and the leader would do.
    fn oblige(registry: &mut Registry) {
        let names: Vec<_> = registry.0.groups.keys().cloned().collect();
        for name in names {
            let ownership = registry.0.groups[&name].ownership.value.clone();
            if let (Some(owner), Some(_)) = (ownership.owner, ownership.release) {
                let epoch = ownership.epoch;
                let released = Command::Released { group: name.clone(), epoch, server: owner.clone() };
                registry.must(Author::Server(owner), None, released);
            }
            // What the configuration no longer has is gone once it is released.
            let Some((entry, config)) =
                registry.0.groups.get(&name).and_then(|e| Some((e, e.config.as_ref()?)))
            else {
                continue;
            };
            let wanted = entry.target.value == tasuki_core::registry::state::Target::Online;
            if let (None, Some(vacated), true) =
                (&entry.ownership.value.owner, entry.ownership.value.vacated.clone(), wanted)
            {
                let servers = &config.value.servers;
                let first =
                    || servers.iter().find(|server| registry.0.presence(server).is_some_and(|p| p.up));
                let Some(to) = vacated.to.as_ref().or_else(first).cloned() else { continue };
                registry.own(name.as_str(), to.as_str(), vacated.reason);
            }
        }
    }
}

#[async_trait]
impl Node for FakeNode {
    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.states.subscribe()
    }

    async fn read(&self) -> Result<Arc<State>, RegistryError> {
        if self.quorum {
            Ok(self.states.borrow().clone())
        } else {
            Err(RegistryError::NoQuorum("1 of 3 voters answers".into()))
        }
    }

    async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        if !self.quorum {
            return Err(RegistryError::NoQuorum("1 of 3 voters answers".into()));
        }
        let mut registry = self.registry.lock().unwrap();
        if let Some((key, then)) = read.into_iter().find(|(key, then)| registry.0.revision_of(key) != *then) {
            let now = registry.0.revision_of(&key);
            return Err(tasuki_core::registry::Refusal::MovedOn { key, then, now }.into());
        }
        let accepted = registry.command(author, tasuki::app::wall_now(), reason, command)?;
        if self.obliging {
            Self::oblige(&mut registry);
        }
        self.states.send_replace(Arc::new(registry.0.clone()));
        Ok(accepted)
    }

    fn view(&self) -> Arc<View> {
        Arc::new(view(if self.quorum { &["lala"] } else { &[] }))
    }

    fn status(&self) -> NodeStatus {
        node_status(&["kiki", "lala", "mimi"])
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn tree(&self) -> String {
        "ohas\n  sync\n".into()
    }
}

/// Other servers that can work with everything, or cannot.
pub struct FakeFleet(pub Result<LocalCheck, String>);

#[async_trait]
impl Fleet for FakeFleet {
    async fn check_there(
        &self,
        _: &ServerName,
        _: &[IpAddr],
        _: u16,
        _: &str,
        _: Revision,
    ) -> Result<LocalCheck, String> {
        self.0.clone()
    }
}

/// For tests that nobody joins in.
pub struct NoAuthority;

impl Authority for NoAuthority {
    fn new_token(&self) -> Result<Token, AppError> {
        Err(AppError::Failed("no authority here".into()))
    }

    fn issue(
        &self,
        _: &ServerName,
        _: RaftId,
        _: &[IpAddr],
        _: &[u8],
        _: Incarnation,
    ) -> Result<Welcome, AppError> {
        Err(AppError::Failed("no authority here".into()))
    }
}

/// The service layer over a fake node.
pub fn app(node: Arc<FakeNode>, fleet: Result<LocalCheck, String>) -> App {
    App::new(node, Arc::new(FakeFleet(fleet)), Arc::new(NoAuthority), PathBuf::from("/"))
}

/// The service layer with a real identity.
pub fn app_of(node: Arc<FakeNode>, identity: Identity) -> App {
    App::new(node, Arc::new(FakeFleet(Err("nobody".into()))), Arc::new(identity), PathBuf::from("/"))
}
