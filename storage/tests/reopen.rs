//! What a store says when it is opened again: by another process, by another server, in another
//! format, with something missing.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use common::{append, entry, entry_of_size, log_id, proposal};
use futures::StreamExt;
use openraft::{
    RaftLogReader, RaftSnapshotBuilder,
    storage::{RaftLogStorage, RaftStateMachine},
};
use tasuki_core::{
    ids::{Lineage, RaftId},
    registry::Key,
};
use tasuki_storage::{
    OpenOptions, RegistryStore, StoreError, open,
    raft_types::{SnapshotMeta, Vote},
    registry::{Expected, Identity, StateMachine, keys},
};

fn reopen(dir: &Path) -> Result<RegistryStore, StoreError> {
    open(dir, &OpenOptions::default())
}

fn refusal(dir: &Path, options: &OpenOptions) -> StoreError {
    open(dir, options).err().expect("the store is refused")
}

fn sled_of(dir: &Path) -> sled::Db {
    let config = sled::Config::new().path(dir.join("registry.sled")).flush_every_ms(None);
    // The opener before may be just closing; the store itself waits in the same way.
    loop {
        match config.open() {
            Ok(db) => return db,
            Err(why) => assert!(why.to_string().contains("could not acquire lock"), "{why}"),
        }
        std::thread::yield_now();
    }
}

async fn apply(machine: &mut StateMachine, indexes: std::ops::Range<u64>) {
    machine
        .apply(futures::stream::iter(indexes.map(|i| Ok((entry_of_size(i, 1), None)))).boxed())
        .await
        .unwrap();
}

async fn snapshot(machine: &mut StateMachine) {
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("in use by another process"), "{why}");
    let closing = store.closing();
    drop(store);
    closing.await;
    reopen(dir.path()).unwrap();
}

#[tokio::test]
async fn the_store_of_another_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kiki = Identity { server: "kiki".into(), lineage: Lineage::new("l1"), raft_id: RaftId(1) };
    let store = reopen(dir.path()).unwrap();
    assert_eq!(store.identity().unwrap(), None);
    store.bind_identity(&kiki).unwrap();
    store.bind_identity(&kiki).unwrap();
    let lala = Identity { server: "lala".into(), ..kiki.clone() };
    assert!(matches!(store.bind_identity(&lala), Err(StoreError::OtherServer { .. })));
    drop(store);

    let wants = |server: &str, lineage: Option<&str>, raft_id: Option<u64>| OpenOptions {
        expected: Some(Expected {
            server: server.into(),
            lineage: lineage.map(Lineage::new),
            raft_id: raft_id.map(RaftId),
        }),
        ..Default::default()
    };
    for other in [wants("lala", None, None), wants("kiki", Some("l2"), None), wants("kiki", None, Some(2))] {
        assert_eq!(refusal(dir.path(), &other).code(), "TSK-1203");
    }
    let store = open(dir.path(), &wants("kiki", Some("l1"), Some(1))).unwrap();
    assert_eq!(store.identity().unwrap(), Some(kiki));
}

#[test]
fn an_empty_folder_is_refused_to_a_server_that_has_voted() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions { must_exist: true, ..Default::default() };
    assert_eq!(refusal(dir.path(), &options).code(), "TSK-1207");
}

#[tokio::test]
async fn a_store_of_format_0_is_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("registry.sled")).unwrap();
    let db = sled_of(dir.path());
    let (log, meta) = (db.open_tree("raft_log").unwrap(), db.open_tree("raft_meta").unwrap());
    for index in 3..40 {
        log.insert(u64::to_be_bytes(index), serde_json::to_vec(&entry(index)).unwrap()).unwrap();
    }
    meta.insert("vote", serde_json::to_vec(&Vote::new(7, 2)).unwrap()).unwrap();
    meta.insert("committed", serde_json::to_vec(&log_id(30)).unwrap()).unwrap();
    meta.insert("purged", serde_json::to_vec(&log_id(2)).unwrap()).unwrap();
    db.flush().unwrap();
    drop((log, meta, db));
    // The snapshot that allowed the purge.
    let snapshots = tempfile::tempdir().unwrap();
    {
        let mut machine = reopen(snapshots.path()).unwrap().machine;
        apply(&mut machine, 0..3).await;
        snapshot(&mut machine).await;
    }
    fs::rename(snapshots.path().join("snapshots"), dir.path().join("snapshots")).unwrap();

    // Twice: upgraded, and then found in the current format.
    for _ in 0..2 {
        let mut log = reopen(dir.path()).unwrap().log;
        assert_eq!(log.try_get_log_entries(..).await.unwrap(), (3..40).map(entry).collect::<Vec<_>>());
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, 2)));
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(30)));
        assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(2)));
    }
    let db = sled_of(dir.path());
    assert!(!db.tree_names().iter().any(|name| name.as_ref() == b"raft_log"), "the old log is gone");
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(reopen(dir.path()).unwrap());
    let db = sled_of(dir.path());
    db.open_tree("meta").unwrap().insert("format", &(keys::FORMAT + 1).to_be_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("has format 2, this version of Tasuki knows formats up to 1"), "{why}");
}

/// sled itself would call the store corrupt from then on.
#[tokio::test]
async fn a_start_up_that_was_interrupted_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut reopen(dir.path()).unwrap().log, 0..20).await.unwrap();
    drop(sled_of(dir.path()));
    for torn in [&b""[..], b"half a snapshot of sled"] {
        fs::write(dir.path().join("registry.sled/snap.FFFFFFFFFFFFFFFF.generating"), torn).unwrap();
        let mut log = reopen(dir.path()).unwrap().log;
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 20);
    }
}

#[tokio::test]
async fn a_hole_in_the_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut reopen(dir.path()).unwrap().log, 0..20).await.unwrap();
    let key = |index: u64, part: u16| [&index.to_be_bytes()[..], &part.to_be_bytes()].concat();
    let remove = |index, part| {
        let db = sled_of(dir.path());
        let log = db.open_tree("log").unwrap();
        let was = log.remove(key(index, part)).unwrap().expect("there is such a part");
        db.flush().unwrap();
        was
    };
    // Entry 5 has several parts.
    let was = remove(5, 2);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("log entry 5: some of its parts are missing"), "{why}");
    let db = sled_of(dir.path());
    db.open_tree("log").unwrap().insert(key(5, 2), was).unwrap();
    drop(db);
    drop(reopen(dir.path()).unwrap());

    remove(7, 0);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("entry 7 is missing, entry 8 is there"), "{why}");
}

/// The older program of a cluster that has left its level behind.
#[tokio::test]
async fn an_entry_with_words_that_are_not_known_is_of_a_newer_version_and_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = reopen(dir.path()).unwrap().log;
    append(&mut log, 0..3).await.unwrap();
    let known = serde_json::to_string(&entry(2)).unwrap();
    let newer = known.replace("issue_token", "issue_wish");
    assert_ne!(known, newer);
    let length = u32::try_from(newer.len()).unwrap().to_be_bytes();
    let whole = [&length[..], &crc32fast::hash(newer.as_bytes()).to_be_bytes(), newer.as_bytes()].concat();
    drop(log);
    let db = sled_of(dir.path());
    let key = [&2u64.to_be_bytes()[..], &0u16.to_be_bytes()].concat();
    db.open_tree("log").unwrap().insert(key, whole).unwrap().expect("there was an entry");
    db.flush().unwrap();
    drop(db);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert_eq!(why.code(), "TSK-1841");
    assert!(why.to_string().contains("entry 2 of the log (unknown variant `issue_wish`"), "{why}");
}

/// It could be read, by leaving out what is not known; and would not be the same any more.
#[tokio::test]
async fn a_snapshot_of_a_higher_level_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = reopen(dir.path()).unwrap().machine;
    let mut state = serde_json::to_value(&**machine.watch().borrow()).unwrap();
    state["a_newer_word"] = 1.into();
    let meta = SnapshotMeta { last_log_id: Some(log_id(5)), ..SnapshotMeta::default() };
    machine.install_snapshot(&meta, serde_json::to_vec(&state).unwrap()).await.unwrap();
    state["level"] = serde_json::json!({ "value": 1000, "created": 1, "modified": 1, "at": 0 });
    let refused = machine.install_snapshot(&meta, serde_json::to_vec(&state).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("it is at level 1000, and this program reads"), "{refused}");
}

#[tokio::test]
async fn a_snapshot_brings_the_state_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = reopen(dir.path()).unwrap();
    apply(&mut store.machine, 0..5).await;
    assert_eq!((*store.applied.borrow(), store.state.borrow().tokens.len()), (4, 5));
    snapshot(&mut store.machine).await;
    apply(&mut store.machine, 5..6).await;
    let watched = store.state.clone();
    drop(store);

    let mut store = reopen(dir.path()).unwrap();
    assert_eq!(*store.applied.borrow(), 4, "what is newer than the snapshot comes from the log");
    apply(&mut store.machine, 5..6).await;
    assert_eq!(**store.state.borrow(), **watched.borrow());
    assert!(store.state.borrow().keys().contains(&Key::Token("token-5".to_owned())));
    assert_eq!(proposal(5, 1).command.to_string(), "issue join token token-5");
}

/// Two snapshots, the log shortened after each as Raft does; then the newest is torn.
#[tokio::test]
async fn a_torn_snapshot_falls_back_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = reopen(dir.path()).unwrap();
    append(&mut store.log, 0..30).await.unwrap();
    for covered in [0..10, 10..20, 20..25] {
        let last = log_id(covered.end - 1);
        apply(&mut store.machine, covered).await;
        snapshot(&mut store.machine).await;
        store.log.purge(last).await.unwrap();
    }
    let whole = store.state.borrow().clone();
    drop(store);
    let mut files: Vec<_> =
        fs::read_dir(dir.path().join("snapshots")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "the last two are kept: {files:?}");
    let tear = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    };

    tear(&files[1]);
    let mut store = reopen(dir.path()).unwrap();
    assert_eq!(*store.applied.borrow(), 19);
    let log = store.log.get_log_state().await.unwrap();
    assert_eq!((log.last_purged_log_id, log.last_log_id), (Some(log_id(19)), Some(log_id(29))));
    assert_eq!(store.log.try_get_log_entries(20..25).await.unwrap().len(), 5, "the log since then is there");
    apply(&mut store.machine, 20..25).await;
    assert_eq!(**store.state.borrow(), *whole);
    drop(store);

    // With no snapshot left there is nothing to go on from, and that is said.
    tear(&files[0]);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("no readable snapshot reaches entry 19"), "{why}");
}

/// After a snapshot from the leader, our own older entries may never have been committed: they
/// must not serve when that snapshot cannot be read.
#[tokio::test]
async fn entries_that_a_snapshot_from_the_leader_replaced_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = reopen(dir.path()).unwrap();
    append(&mut store.log, 0..10).await.unwrap();
    let upto = openraft::LogId::new(2.into(), 7);
    store.log.purge(upto).await.unwrap();
    assert_eq!(store.log.try_get_log_entries(..).await.unwrap().len(), 2);
    drop(store);
    let why = refusal(dir.path(), &OpenOptions::default());
    assert!(why.to_string().contains("no readable snapshot reaches entry 7"), "{why}");
}
