//! What applies the log: the state of `tasuki-core`, in memory, published once per batch.
//!
//! It is not written to the disk. After a restart it is the last snapshot, and Raft applies the
//! committed log from there again; `apply` in core is deterministic, so it comes out the same.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use tasuki_core::registry::{self, Reply, State, level::KNOWN};
use tokio::{sync::watch, task};

use super::{
    Flush,
    engine::Engine,
    snapshot::{Shelf, StoredSnapshot},
};
use crate::{
    StoreError,
    raft_types::{LogId, Registry, Snapshot, SnapshotMeta, StoredMembership},
};

/// The registry's state machine. Clones share it.
#[derive(Clone)]
pub struct StateMachine {
    shared: Arc<Shared>,
}

struct Shared {
    held: Mutex<Held>,
    state: watch::Sender<Arc<State>>,
    applied: watch::Sender<u64>,
    shelf: Shelf,
    flush: Flush,
    /// Keeps the store's lock while snapshots may still be written.
    _engine: Option<Arc<Engine>>,
}

#[derive(Clone, Default)]
struct Held {
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    pub(crate) fn new(
        shelf: Shelf,
        snapshot: Option<StoredSnapshot>,
        engine: Option<Arc<Engine>>,
        flush: Flush,
    ) -> Result<Self, StoreError> {
        let held = match snapshot {
            None => Held::default(),
            Some(StoredSnapshot { meta, data }) => restore(&meta, &data).map_err(|e| {
                let dir = engine.as_ref().map(|engine| engine.dir().to_owned()).unwrap_or_default();
                StoreError::NewerEntries { dir, what: format!("the snapshot's state ({e})") }
            })?,
        };
        let (state, _) = watch::channel(Arc::clone(&held.state));
        let (applied, _) = watch::channel(index(held.applied));
        let held = Mutex::new(held);
        Ok(Self { shared: Arc::new(Shared { held, state, applied, shelf, flush, _engine: engine }) })
    }

    /// Follows the state; it changes once per applied batch.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.shared.state.subscribe()
    }

    /// Follows the index of the last applied entry; zero before the first. Changes after the
    /// state does.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, held: Held) {
        let (state, applied) = (Arc::clone(&held.state), index(held.applied));
        *self.held() = held;
        self.shared.state.send_if_modified(|shown| {
            let changed = !Arc::ptr_eq(shown, &state);
            *shown = state;
            changed
        });
        self.shared.applied.send_replace(applied);
    }
}

impl RaftStateMachine<Registry> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let held = self.held();
        Ok((held.applied, held.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Registry>, io::Error>> + Unpin + OptionalSend,
    {
        let mut held = self.held().clone();
        let mut replies = Vec::new();
        let mut ended = Ok(());
        while let Some(next) = entries.next().await {
            let (entry, responder) = match next {
                Ok(next) => next,
                Err(e) => {
                    ended = Err(e);
                    break;
                }
            };
            let reply = match &entry.payload {
                // The state behind the watch stays as it is: the first change of a batch copies it.
                EntryPayload::Normal(proposal) => registry::apply(Arc::make_mut(&mut held.state), proposal),
                EntryPayload::Blank => nothing_changed(&held.state),
                EntryPayload::Membership(membership) => {
                    held.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    nothing_changed(&held.state)
                }
            };
            held.applied = Some(entry.log_id);
            replies.extend(responder.map(|responder| (responder, reply)));
        }
        // Published before it is answered: who has the answer finds it in the state. And answered
        // also when the log could not be read further, or the callers would wait for ever.
        self.publish(held);
        for (responder, reply) in replies {
            responder.send(reply);
        }
        ended
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let Held { state, applied, membership } = self.held().clone();
        let meta = SnapshotMeta { last_log_id: applied, last_membership: membership };
        SnapshotBuilder { state, meta, shelf: self.shared.shelf.clone(), flush: self.shared.flush }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Vec<u8>) -> Result<(), io::Error> {
        let held = restore(meta, &data)?;
        let snapshot = StoredSnapshot { meta: meta.clone(), data };
        put(&self.shared.shelf, self.shared.flush, snapshot).await?;
        self.publish(held);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let newest = self.shared.shelf.newest()?;
        Ok(newest.map(|StoredSnapshot { meta, data }| Snapshot { meta, snapshot: data }))
    }
}

/// Writes a snapshot of the state as it was when the builder was made.
pub struct SnapshotBuilder {
    state: Arc<State>,
    meta: SnapshotMeta,
    shelf: Shelf,
    flush: Flush,
}

impl RaftSnapshotBuilder<Registry> for SnapshotBuilder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let data = serde_json::to_vec(&*self.state)?;
        let snapshot = StoredSnapshot { meta: self.meta.clone(), data };
        put(&self.shelf, self.flush, snapshot.clone()).await?;
        Ok(Snapshot { meta: snapshot.meta, snapshot: snapshot.data })
    }
}

/// Syncing a file takes as long as the disk wants: not on a thread that others need.
async fn put(shelf: &Shelf, flush: Flush, snapshot: StoredSnapshot) -> io::Result<()> {
    match (shelf, flush) {
        (Shelf::Disk(_), Flush::Grouped) => {
            let shelf = shelf.clone();
            task::spawn_blocking(move || shelf.put(&snapshot)).await.map_err(io::Error::other)??;
        }
        _ => shelf.put(&snapshot)?,
    }
    Ok(())
}

fn restore(meta: &SnapshotMeta, data: &[u8]) -> io::Result<Held> {
    Ok(Held {
        state: Arc::new(known(serde_json::from_slice(data)?)?),
        applied: meta.last_log_id,
        membership: meta.last_membership.clone(),
    })
}

/// A program that knows fewer words could read some states of a newer one by leaving out what it does
/// not know, and would no longer agree with the others.
fn known(state: State) -> io::Result<State> {
    let level = state.level();
    if level <= KNOWN {
        return Ok(state);
    }
    let what = format!("it is at level {level}, and this program reads {KNOWN}");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Raft's own entries need an answer too: the revision as it is.
fn nothing_changed(state: &State) -> Reply {
    Reply::Applied { revision: state.revision, raft_id: None }
}

fn index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |id| id.index)
}
