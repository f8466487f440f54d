//! What openraft does when the disk is full, and that the way on works: `Fatal`, shut down, drop,
//! open again. One server, so that nobody else can help.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use common::{Mount, proposal};
use openraft::{
    Config, RaftNetworkFactory, RaftNetworkV2, ServerState,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use tasuki_core::registry::Key;
use tasuki_storage::{
    OpenOptions, RegistryStore, open,
    raft_types::{Member, Raft, Registry, Snapshot, Vote},
};

/// There is nobody to talk to.
struct Alone;

fn nobody() -> Unreachable<Registry> {
    Unreachable::new(&std::io::Error::other("there is no other server"))
}

impl RaftNetworkFactory<Registry> for Alone {
    type Network = Self;

    async fn new_client(&mut self, _: u64, _: &Member) -> Self {
        Self
    }
}

impl RaftNetworkV2<Registry> for Alone {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Registry>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Registry>, RPCError<Registry>> {
        Err(RPCError::Unreachable(nobody()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<Registry>,
        _: RPCOption,
    ) -> Result<VoteResponse<Registry>, RPCError<Registry>> {
        Err(RPCError::Unreachable(nobody()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Registry>, StreamingError<Registry>> {
        Err(StreamingError::Unreachable(nobody()))
    }
}

async fn start(dir: &Path) -> (Raft, RegistryStore) {
    let store = open(dir, &OpenOptions::default()).unwrap();
    let config = Config {
        election_timeout_min: 150,
        election_timeout_max: 300,
        heartbeat_interval: 50,
        ..Default::default()
    };
    let config = Arc::new(config.validate().unwrap());
    let raft = Raft::new(1, config, Alone, store.log.clone(), store.machine.clone()).await.unwrap();
    if !raft.is_initialized().await.unwrap() {
        raft.initialize(BTreeMap::from([(1, Member::default())])).await.unwrap();
    }
    raft.wait(Some(Duration::from_secs(20))).state(ServerState::Leader, "leads").await.unwrap();
    (raft, store)
}

async fn stop(raft: Raft, store: RegistryStore) {
    let closing = store.closing();
    // It reports the storage error once more; there is nothing to do about it here.
    drop(raft.shutdown().await);
    drop((raft, store));
    tokio::time::timeout(Duration::from_secs(20), closing).await.expect("Raft lets go of the store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_goes_on_when_the_store_is_opened_again() {
    let disk = match Mount::new(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"]) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped, because no small file system can be mounted: {why}"),
    };
    let (dir, filler) = (disk.path().join("store"), disk.path().join("filler"));
    let (raft, store) = start(&dir).await;

    let mut acknowledged = Vec::new();
    fs::write(&filler, vec![0; 4 << 20]).unwrap();
    let why = loop {
        let id = acknowledged.len() as u64;
        match raft.client_write(proposal(id, 20_000)).await {
            Ok(_) => acknowledged.push(id),
            Err(why) => break why,
        }
    };
    println!("{} writes acknowledged, then: {why}", acknowledged.len());
    assert!(why.to_string().contains("TSK-1206"), "{why}");
    assert!(!acknowledged.is_empty());
    assert!(raft.client_write(proposal(9000, 1)).await.is_err(), "Raft stays fatal");
    stop(raft, store).await;

    fs::remove_file(&filler).unwrap();
    let (raft, store) = start(&dir).await;
    raft.client_write(proposal(9001, 1)).await.unwrap();
    let state = store.state.borrow().clone();
    for id in acknowledged {
        assert!(state.tokens.contains_key(&format!("token-{id}")), "write {id} was acknowledged and is lost");
    }
    assert!(state.keys().contains(&Key::Token("token-9001".to_owned())));

    // And over an ordinary restart, with a snapshot and a shortened log.
    raft.trigger().snapshot().await.unwrap();
    let applied = *store.applied.borrow();
    let covers = |m: &openraft::RaftMetrics<Registry>| m.snapshot.is_some_and(|last| last.index >= applied);
    raft.wait(Some(Duration::from_secs(20))).metrics(covers, "snapshot").await.unwrap();
    stop(raft, store).await;
    let (raft, store) = start(&dir).await;
    assert_eq!(*store.state.borrow().clone(), *state);
    stop(raft, store).await;
}
