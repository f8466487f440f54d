//! SCSI-3 persistent reservations: every server of the cluster is registered with the shared disks
//! under its own key, and only who is registered may write. Fencing takes the target's key off; it
//! cannot put it back without being asked to, and whatever it had on its way is aborted.
//!
//! This protects the disks and nothing else: the target may run on, and must be cut off by its lease.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    FenceError,
    scsi::{Disk, Order, RealDisk, ScsiError, WRITE_EXCLUSIVE_REGISTRANTS_ONLY, keys, order, reservation},
};

/// A server's key at the shared disks: the same over all its paths and starts, another one for each
/// server and cluster.
#[must_use]
pub fn key_of(lineage: &str, server: &str) -> u64 {
    // FNV-1a: any well-mixed number will do, as long as it stays the same in every version.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in lineage.bytes().chain([0]).chain(server.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.max(1) // zero means: not registered
}

/// Registers this server with all disks, so that it may write to them.
///
/// # Errors
/// With the first disk that did not do it.
pub async fn register(disks: Vec<PathBuf>, own: u64, limit: Duration) -> Result<(), FenceError> {
    on_each(disks, limit, move |disk| let_in(disk, own)).await
}

/// Takes a server's key off all disks, and reads back that it is off.
///
/// # Errors
/// With the first disk that did not do it.
pub async fn cut_off(disks: Vec<PathBuf>, own: u64, target: u64, limit: Duration) -> Result<(), FenceError> {
    on_each(disks, limit, move |disk| shut_out(disk, own, target)).await
}

/// Whether all disks answer, know reservations, and have this server registered.
///
/// # Errors
/// With the first disk that does not.
pub async fn monitor(disks: Vec<PathBuf>, own: u64, limit: Duration) -> Result<(), FenceError> {
    let look = move |disk: &mut RealDisk| {
        let registered = keys(disk).map_err(|error| format!("its keys were not read: {error}"))?;
        if registered.contains(&own) { Ok(()) } else { Err("this server is not registered there".to_owned()) }
    };
    on_each(disks, limit, look).await
}

/// One disk after the other, on a thread of its own: a disk that hangs must not hold up anything else.
async fn on_each(
    disks: Vec<PathBuf>,
    limit: Duration,
    act: impl Fn(&mut RealDisk) -> Result<(), String> + Send + 'static,
) -> Result<(), FenceError> {
    let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    let all = tokio::task::spawn_blocking(move || {
        for path in disks {
            let fault = |why| FenceError::Disk { disk: path.clone(), why };
            let mut disk = open(&path, limit_ms).map_err(fault)?;
            act(&mut disk).map_err(fault)?;
        }
        Ok(())
    });
    match tokio::time::timeout(limit, all).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => {
            let source = std::io::Error::other(error);
            Err(FenceError::NotRun { what: "the reservation".into(), source })
        }
        Err(_) => {
            let what = "the reservation".to_owned();
            Err(FenceError::Timeout { what, limit, output: String::new() })
        }
    }
}

fn open(path: &Path, limit_ms: u32) -> Result<RealDisk, String> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| format!("it cannot be opened: {error}"))?;
    Ok(RealDisk { file, limit_ms })
}

fn let_in(disk: &mut impl Disk, own: u64) -> Result<(), String> {
    order(disk, Order::RegisterAndIgnoreExistingKey, own, 0)
        .map_err(|error| format!("this server was not registered: {error}"))?;
    reserve(disk, own)
}

/// Sees to it that only registered servers may write.
fn reserve(disk: &mut impl Disk, own: u64) -> Result<(), String> {
    match order(disk, Order::Reserve, own, 0) {
        // Somebody else was first: that serves as well, if it is the same kind.
        Ok(()) | Err(ScsiError::Conflict) => {}
        Err(error) => return Err(format!("it was not reserved: {error}")),
    }
    protected(disk)
}

fn protected(disk: &mut impl Disk) -> Result<(), String> {
    match reservation(disk).map_err(|error| format!("its reservation was not read: {error}"))? {
        Some(held) if held.kind == WRITE_EXCLUSIVE_REGISTRANTS_ONLY => Ok(()),
        Some(held) => Err(format!(
            "key {:#018x} holds a reservation of type {:#x} there, which is not ours",
            held.key, held.kind
        )),
        None => Err("nobody holds a reservation there: anybody may write".to_owned()),
    }
}

fn shut_out(disk: &mut impl Disk, own: u64, target: u64) -> Result<(), String> {
    let read = |disk: &mut _| keys(disk).map_err(|error| format!("its keys were not read: {error}"));
    if !read(disk)?.contains(&own) {
        order(disk, Order::RegisterAndIgnoreExistingKey, own, 0)
            .map_err(|error| format!("this server was not registered: {error}"))?;
    }
    reserve(disk, own)?;
    if read(disk)?.contains(&target) {
        order(disk, Order::PreemptAndAbort, own, target)
            .map_err(|error| format!("key {target:#018x} was not taken off: {error}"))?;
    }
    if read(disk)?.contains(&target) {
        return Err(format!("key {target:#018x} is still registered"));
    }
    protected(disk)
}

#[cfg(test)]
mod tests;
