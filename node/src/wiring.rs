//! Where everything meets: builds ports and tree, serves, and ends in order. The only file that
//! knows all the parts.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tasuki_actors::{NodeHandle, NodeOptions, ports::Clock, ports::Ports};
use tasuki_core::{
    config::{ClusterConfig, ClusterSettings},
    ids::NetworkName,
};
use tasuki_storage::votes;
use tasuki_system::{guard, layout::Layout, scheduling};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::ServerTlsConfig};

use crate::{
    app::{App, bootstrap::Bootstrap, wall_now},
    edge::{
        grpc::{PeerFleet, ServeError, bind_tcp, bind_uds, routes, serve_tcp, serve_uds},
        peer::{Cuts, GrpcPeers, HeartbeatPaths, PeerSettings, peer_service},
        system::{
            SystemAgent, SystemClock, SystemFencer, SystemGuard, SystemProber, SystemVolumes, sync_agent,
        },
    },
    identity::{Identity, next_incarnation},
    level,
    local_registry::{LocalError, LocalRegistry},
    profile::{self, FileKeeper, ProfileError},
    witness::WitnessError,
};

/// Threads of the runtime. What blocks runs elsewhere.
const WORKERS: usize = 2;
/// Between two looks at a new address that could not be listened at.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Not started by a guard, or the guard is gone.
    #[error(transparent)]
    Guard(#[from] guard::GuardError),
    /// The identity is missing, damaged or somebody else's.
    #[error("{code}: {0}; {remedy}", code = .0.code(), remedy = .0.remedy())]
    Identity(#[from] crate::identity::IdentityError),
    /// The data folder lacks what the first start needs.
    #[error(
        "{0} is missing or damaged ({1}); run `tasuki cluster init` or `tasuki cluster join` for this data folder"
    )]
    Bootstrap(PathBuf, String),
    /// The configuration has this server as a witness.
    #[error("{code}: {0}; {remedy}", code = .0.code(), remedy = .0.remedy())]
    Witness(#[from] WitnessError),
    /// The local registry is damaged, for example.
    #[error("{code}: {0}; {remedy}", code = .0.code(), remedy = .0.remedy())]
    Local(#[from] LocalError),
    /// This server is no member any more, for example.
    #[error("{code}: {0}; {remedy}", code = .0.code(), remedy = .0.remedy())]
    Profile(#[from] ProfileError),
    /// It is held back at a level that is none.
    #[error("{0}")]
    Level(String),
    /// A port is in use, for example.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A part of the tree did not start.
    #[error("the node does not start: {0}")]
    Tree(String),
    /// The system refused something.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// `tasuki node`: runs until the guard ends it. Must be called before there is a second thread.
#[must_use]
pub fn run(data: &Path, run: &Path) -> ExitCode {
    if let Err(error) = guard::die_with_parent() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    // The synchronisation service shares this process: it must be scheduled when others are busy.
    let locked = scheduling::keep_touched_memory();
    // Before the first of the threads that inherit this one's share, which whoever starts Tasuki chose.
    scheduling::thread_in_time();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .on_thread_start(|| {
            scheduling::thread_in_time(); // as far as permitted
        })
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(async {
        tracing::info!(locked_memory = locked, "the node starts");
        serve(data, run).await
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(data: &Path, run: &Path) -> Result<(), NodeError> {
    let guard = Arc::new(SystemGuard::connect()?);
    let identity = Identity::load(data)?;
    let bootstrap = load_bootstrap(data)?;
    let mut config = bootstrap.config().clone();
    refuse_witness(&config, &identity)?;
    let mut local = LocalRegistry::open(data, identity.server(), wall_now())?;
    let adopted = profile::adopt(data, &identity, &mut local, &mut config).await?;
    let timing = config.settings.timing.clone();
    guard.set_times(&timing, config.settings.on_hang);
    sync_agent::start(&guard).map_err(|e| NodeError::System("the synchronisation agent", e))?;

    let incarnation = next_incarnation(data)?;
    let clock = Arc::new(SystemClock::new().map_err(|e| NodeError::System("the clock", e))?);
    let layout = Layout::open(data, run).map_err(|e| NodeError::System("the run folder", e))?;
    let prober = Arc::new(SystemProber::new(layout.clone(), clock.boot_id()));
    let cuts = Cuts::from_environment();
    cuts.set_configured(&config);
    let volumes = SystemVolumes::start(&identity, &timing, cuts.clone(), &layout)
        .map_err(|e| NodeError::System("the mirror's listener", e))?;
    let volumes = Arc::new(volumes);
    let agent = Arc::new(SystemAgent::new(layout, clock.boot_id(), timing.lease * 2));
    let own = own_addresses(&config, &identity);
    let doors = sockets(&config, &own);
    let listeners = bind_tcp(&doors)?;
    let links = Arc::new(HeartbeatPaths::new(&identity, incarnation, &config, cuts.clone()));
    let peers = Arc::new(GrpcPeers::new(identity.clone(), PeerSettings::from_timing(&timing), cuts.clone()));

    let store = data.join("registry");
    let made = data.join("registry.made");
    let options = NodeOptions {
        server: identity.server().clone(),
        raft_id: identity.raft_id(),
        lineage: identity.lineage().clone(),
        incarnation,
        store: store.into(),
        journal: Some(journal_of(data)),
        role: config.servers.get(identity.server()).map_or_else(Default::default, |server| server.role),
        config: config.clone(),
        founder: matches!(bootstrap, Bootstrap::Found { .. }),
        store_exists: made.exists(),
        speaks: level::spoken().map_err(NodeError::Level)?,
    };
    let slot = votes::slot_of(identity.raft_id().0);
    let files = Arc::new(votes::Files::new(identity.lineage().clone(), slot, timing.lease / 2));
    let ports = Ports {
        clock,
        peers,
        links: links.clone(),
        guard: guard.clone(),
        agent: agent.clone(),
        prober,
        tie_break: Arc::new(crate::edge::system::SystemRegister::new(
            &identity,
            &timing,
            cuts.clone(),
            files.clone(),
        )),
        voting_files: Arc::new(crate::edge::system::SystemVotingFiles::new(files.clone(), timing.detect)),
        fencer: Arc::new(SystemFencer::new(identity.server().clone(), identity.lineage().clone())),
        profile: Arc::new(FileKeeper::new(data.to_owned(), identity.clone(), local, adopted)),
        volumes: volumes.clone(),
    };
    let (node, mut ended) = tasuki_actors::start(options, ports).await.map_err(NodeError::Tree)?;
    agent.disks().connect(identity.server().clone(), node.mirrors());
    // From here on an empty store in this place is a lost one (R23).
    fs::write(&made, b"").map_err(|e| NodeError::System("the data folder", e))?;

    let fleet = Arc::new(PeerFleet::new(identity.clone()));
    let app = App::new(Arc::new(node.clone()), fleet, Arc::new(identity.clone()), data.to_owned())
        .with_votes(Arc::new(crate::edge::system::SystemVotes::new(files)))
        .with_mirrors(Arc::new(node.mirrors()))
        .with_files(Arc::new(crate::edge::system::ExtFiles));
    let (faces, _health) =
        routes(app, identity.lineage().clone()).await.map_err(|e| NodeError::Tree(e.to_string()))?;
    let everything: Routes = faces.clone().add_service(peer_service(node.clone(), &identity, cuts));
    let shutdown = CancellationToken::new();
    let local = bind_uds(&data.join("tasuki.sock"))?;
    let tls = identity.server_tls();
    let tcp = tokio::spawn(serve_tcp(listeners, tls.clone(), everything.clone(), shutdown.clone()));
    let moved = tokio::spawn(follow_addresses(
        node.clone(),
        identity.clone(),
        doors,
        tls,
        everything,
        shutdown.clone(),
    ));
    let uds = tokio::spawn(serve_uds(local, faces, shutdown.clone()));
    let follow = tokio::spawn(follow_config(
        data.to_owned(),
        bootstrap,
        config,
        node.clone(),
        links,
        Timed { guard: guard.clone(), agent, volumes },
    ));

    tokio::select! {
        () = guard.stop_requested() => {
            tracing::info!("asked to stop");
            node.stop().await;
            node.left().await;
        }
        () = node.left() => {}
        _ = &mut ended => return Err(NodeError::Tree("the actor tree has ended".into())),
        served = tcp => return Err(served.map_or_else(
            |error| NodeError::Tree(error.to_string()),
            |served| served.map_or_else(NodeError::Serve, |()| NodeError::Tree("the listener has ended".into())),
        )),
        served = uds => return Err(NodeError::Tree(format!("the local socket has ended: {served:?}"))),
    }
    shutdown.cancel();
    follow.abort();
    moved.abort();
    Ok(())
}

/// A witness has no guard, and is served by `tasuki witness`.
fn refuse_witness(config: &ClusterConfig, identity: &Identity) -> Result<(), WitnessError> {
    if config.servers.get(identity.server()).is_none_or(|server| server.role.runs_groups()) {
        return Ok(());
    }
    let (name, cluster) = (identity.server().to_string(), identity.cluster().to_owned());
    Err(WitnessError::OtherRole { name, cluster, server: false })
}

/// The folder of the journal of decisions, which `tasuki replay --offline` reads too.
#[must_use]
pub fn journal_of(data: &Path) -> PathBuf {
    data.join("journal")
}

fn load_bootstrap(data: &Path) -> Result<Bootstrap, NodeError> {
    let place = Bootstrap::path(data);
    match Bootstrap::load(data) {
        Ok(Some(bootstrap)) => Ok(bootstrap),
        Ok(None) => Err(NodeError::Bootstrap(place, "there is none".into())),
        Err(error) => Err(NodeError::Bootstrap(place, error.to_string())),
    }
}

fn own_addresses(config: &ClusterConfig, identity: &Identity) -> BTreeMap<NetworkName, IpAddr> {
    config.servers.get(identity.server()).map(|server| server.addresses.clone()).unwrap_or_default()
}

fn sockets(config: &ClusterConfig, own: &BTreeMap<NetworkName, IpAddr>) -> Vec<SocketAddr> {
    let mut sockets: Vec<SocketAddr> =
        own.values().map(|address| SocketAddr::new(*address, config.settings.port)).collect();
    sockets.sort();
    sockets.dedup();
    sockets
}

/// What goes by the cluster's times.
struct Timed {
    guard: Arc<SystemGuard>,
    agent: Arc<SystemAgent>,
    volumes: Arc<SystemVolumes>,
}

impl Timed {
    fn set(&self, settings: &ClusterSettings) {
        let timing = &settings.timing;
        self.guard.set_times(timing, settings.on_hang);
        self.agent.set_two_leases(timing.lease * 2);
        self.volumes.set_times(timing);
    }
}

/// Follows the configuration in the registry: times and addresses take effect, and the next start
/// begins with it.
async fn follow_config(
    data: PathBuf,
    mut bootstrap: Bootstrap,
    mut present: ClusterConfig,
    node: NodeHandle,
    links: Arc<HeartbeatPaths>,
    timed: Timed,
) {
    let mut registry = node.watch();
    let mut seen = None;
    while registry.changed().await.is_ok() {
        let now = registry.borrow_and_update().clone();
        let version = Some((now.config_revision(), now.servers.len(), now.groups.len()));
        if seen == version {
            continue;
        }
        seen = version;
        // What was adopted at the start holds until the registry here has caught up with it.
        if node.context().newer_profile(&now).is_some() {
            continue;
        }
        let Some(config) = now.config().filter(|config| *config != present) else { continue };
        present = config.clone();
        timed.set(&config.settings);
        links.configure(&config);
        match &mut bootstrap {
            Bootstrap::Found { config: old } | Bootstrap::Join { config: old, .. } => *old = config,
        }
        if let Err(error) = bootstrap.save(&data) {
            tracing::warn!(%error, "the configuration was not kept for the next start");
        }
    }
}

/// Listens at every new address or port of this server as soon as the registry has it. The old ones
/// stay open until the node ends: whoever has not heard of the change yet finds this server there.
async fn follow_addresses(
    node: NodeHandle,
    identity: Identity,
    mut open: Vec<SocketAddr>,
    tls: ServerTlsConfig,
    routes: Routes,
    shutdown: CancellationToken,
) {
    let mut registry = node.watch();
    let mut retry = tokio::time::interval(BIND_AGAIN);
    loop {
        tokio::select! {
            changed = registry.changed() => if changed.is_err() { return },
            _ = retry.tick() => {}
        }
        let now = registry.borrow_and_update().clone();
        if now.settings.is_none() || node.context().newer_profile(&now).is_some() {
            continue;
        }
        let config = node.context().config();
        for socket in sockets(&config, &own_addresses(&config, &identity)) {
            if open.contains(&socket) {
                continue;
            }
            match bind_tcp(&[socket]) {
                Ok(listeners) => {
                    tracing::info!("listening at {socket} too, as the configuration says now");
                    open.push(socket);
                    let serving = serve_tcp(listeners, tls.clone(), routes.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serving.await {
                            tracing::error!("{error}");
                        }
                    });
                }
                Err(error) => tracing::error!("{error}"),
            }
        }
    }
}
