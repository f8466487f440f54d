//! Copying in memory what a peer lacks, and comparing two copies.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tasuki_actors::ports::volumes::{VerifyReport, VolumeEvent};
use tasuki_core::{ids::ServerName, mirror::DiskState};

use super::{BLOCKS, Disks, Inner, Which};

/// For one block.
const EACH: Duration = Duration::from_millis(1);

/// Copies the union of what either side names (R30), then says so.
pub(super) async fn run(disks: Arc<Disks>, which: Which, life: u64, peer: ServerName, full: bool) {
    let there = (peer.clone(), which.1.clone());
    let todo: BTreeSet<usize> = {
        let mut inner = disks.inner();
        let all = || (0..BLOCKS).collect();
        let own = inner.copies.get(&which).map(|copy| copy.differing(&peer)).unwrap_or_default();
        let Some(copy) = inner.copies.get_mut(&there) else { return };
        copy.disk = DiskState::Inconsistent;
        if full { all() } else { own.union(&copy.differing(&which.0)).copied().collect() }
    };
    for block in todo {
        loop {
            tokio::time::sleep(EACH).await;
            let mut inner = disks.inner();
            let Some(live) = inner.open.get(&which).filter(|live| live.life == life) else { return };
            if live.resyncs.get(&peer).is_some_and(|(_, rests)| *rests) {
                continue;
            }
            if !disks.stands(&inner, &which, &peer) {
                return;
            }
            let Some(value) = inner.copies.get(&which).map(|copy| copy.blocks[block]) else { return };
            if let Some(copy) = inner.copies.get_mut(&there) {
                copy.blocks[block] = value;
            }
            inner.resynced += 1;
            break;
        }
    }
    let mut inner = disks.inner();
    if !disks.stands(&inner, &which, &peer) {
        return;
    }
    let Some(source) = inner.copies.get_mut(&which) else { return };
    source.dirty.remove(&peer);
    let history = source.history.clone();
    if let Some(copy) = inner.copies.get_mut(&there) {
        (copy.disk, copy.history, copy.crashed) = (DiskState::Consistent, history, false);
        copy.dirty.remove(&which.0);
        copy.log.clear();
    }
    if let Some(live) = inner.open.get_mut(&which).filter(|live| live.life == life) {
        let _gone = live.events.send(VolumeEvent::Synced { peer: peer.clone() });
        // This task is the last to know: it is forgotten, not aborted, when it returns.
        if let Some((task, _)) = live.resyncs.remove(&peer) {
            drop(inner);
            drop(task);
        }
    }
}

/// Compares all blocks at once.
pub(super) fn verify(inner: &mut Inner, which: &Which, peer: &ServerName, repair: bool) {
    let there = (peer.clone(), which.1.clone());
    let (Some(own), Some(theirs)) = (inner.copies.get(which), inner.copies.get(&there)) else { return };
    let differ: Vec<usize> =
        (0..BLOCKS).filter(|block| own.blocks[*block] != theirs.blocks[*block]).collect();
    if repair && let Some(copy) = inner.copies.get_mut(which) {
        copy.dirty.entry(peer.clone()).or_default().extend(&differ);
    }
    let report = VerifyReport {
        peer: Some(peer.clone()),
        compared: BLOCKS as u64 * 4096,
        different: differ.iter().map(|block| (*block as u64 * 4096, 4096)).collect(),
        repaired: repair,
        problem: None,
    };
    if let Some(live) = inner.open.get(which) {
        let _gone = live.events.send(VolumeEvent::Verified(report));
    }
}
