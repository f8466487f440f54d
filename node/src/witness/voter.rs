//! One cluster, in which this witness votes: Raft with a synced log, and heartbeats, by which the
//! servers know that it is there.

use std::{fs, sync::Arc};

use tasuki_actors::{NodeHandle, NodeOptions, ports::Ports};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{End, Membership, WitnessError, machine::NoMachine};
use crate::{
    app::bootstrap::Bootstrap,
    edge::{
        grpc::{bind_tcp, serve_tcp},
        peer::{Cuts, GrpcPeers, PeerSettings, UdpLinks, peer_service},
        system::SystemClock,
    },
    identity::next_incarnation,
    level,
};

pub(super) async fn serve(membership: Membership, stop: CancellationToken) -> Result<End, WitnessError> {
    let Membership { folder, identity, bootstrap } = &membership;
    let cluster = identity.cluster();
    let tree = |why: String| WitnessError::Tree { cluster: cluster.to_owned(), why };
    let config = bootstrap.config();
    let listeners = bind_tcp(&membership.sockets())?;
    let incarnation = next_incarnation(folder)?;
    let cuts = Cuts::from_environment();
    let links = Arc::new(UdpLinks::with_ports(
        identity,
        incarnation,
        membership.config().map(|own| own.addresses.clone()).unwrap_or_default(),
        config.settings.heartbeat_port,
        config.own_ports(),
        cuts.clone(),
    ));
    let settings = PeerSettings::from_timing(&config.settings.timing);
    let made = folder.join("registry.made");
    let options = NodeOptions {
        server: identity.server().clone(),
        raft_id: identity.raft_id(),
        lineage: identity.lineage().clone(),
        incarnation,
        store: folder.join("registry").into(),
        journal: None,
        config: config.clone(),
        role: membership.role(),
        founder: false,
        store_exists: made.exists(),
        speaks: level::spoken().map_err(tree)?,
    };
    let nothing = Arc::new(NoMachine);
    let ports = Ports {
        clock: Arc::new(SystemClock::new().map_err(|error| tree(format!("the clock: {error}")))?),
        peers: Arc::new(GrpcPeers::new(identity.clone(), settings, cuts.clone())),
        links: links.clone(),
        guard: nothing.clone(),
        agent: nothing.clone(),
        prober: nothing.clone(),
        tie_break: nothing.clone(),
        voting_files: nothing.clone(),
        fencer: nothing,
        profile: Arc::new(tasuki_actors::ports::NoProfile),
        volumes: Arc::new(tasuki_actors::ports::NoVolumes),
    };
    let (node, mut ended) = tasuki_actors::start(options, ports).await.map_err(tree)?;
    // From here on an empty store in this place is a lost one (R23).
    fs::write(&made, b"").map_err(WitnessError::files(&made))?;
    let routes = Routes::new(peer_service(node.clone(), identity, cuts));
    let shutdown = stop.child_token();
    let mut tcp = tokio::spawn(serve_tcp(listeners, identity.server_tls(), routes, shutdown.clone()));
    let end = tokio::select! {
        () = stop.cancelled() => Ok(End::Asked),
        () = follow_config(&membership, &node, &links) => Ok(End::Changed),
        _ = &mut ended => Err(tree("its actors have ended".into())),
        served = &mut tcp => match served {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(tree("the listener has ended".into())),
        },
    };
    shutdown.cancel();
    // A call that still waits for an answer must not keep the port from the next one.
    tcp.abort();
    node.abandon().await;
    end
}

/// Follows the configuration in the registry; returns when the witness has to listen elsewhere, or
/// is another kind of member now.
async fn follow_config(membership: &Membership, node: &NodeHandle, links: &UdpLinks) {
    let mut now = membership.clone();
    let mut registry = node.watch();
    while registry.changed().await.is_ok() {
        let state = registry.borrow_and_update().clone();
        let Some(config) = state.config().filter(|config| config != now.bootstrap.config()) else { continue };
        links.set_ports(config.own_ports());
        let Some(own) = config.servers.get(now.identity.server()).cloned() else {
            tracing::warn!(
                cluster = now.identity.cluster(),
                "the configuration has this witness no more; `tasuki witness leave` ends it here"
            );
            continue;
        };
        match &mut now.bootstrap {
            Bootstrap::Found { config: old } | Bootstrap::Join { config: old, .. } => *old = config,
        }
        if let Err(error) = now.bootstrap.save(&now.folder) {
            tracing::warn!(%error, "the configuration was not kept for the next start");
        }
        if now.sockets() != membership.sockets() || now.role() != membership.role() {
            return;
        }
        links.set_own(own.addresses);
    }
    std::future::pending().await // Raft is being restarted with all the rest
}
