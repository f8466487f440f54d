//! The synchronisation agent: a thread that watches whether the synchronisation service moves (O9).
//!
//! It shares nothing with the runtime that it watches: no executor, no lock, no disk. So it may have
//! real-time priority (round robin), and the guard, which hears its signs of life, notices when it
//! hangs itself. Should it ever panic it begins again at once.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use tasuki_core::{membership::hang::Watched, time::Timestamp};
use tasuki_system::{clock, guard::GuardClient, scheduling};

use super::SystemGuard;

/// The thread's name, as `ps -L` and `top -H` show it.
const NAME: &str = "sync-agent";
/// A lease longer than this is looked at this often all the same.
const LONGEST: Duration = Duration::from_millis(250);

/// Starts it; it ends with the process.
///
/// # Errors
/// When there is no thread to be had.
pub fn start(guard: &Arc<SystemGuard>) -> io::Result<()> {
    let watched = guard.clone();
    let body = move || {
        let real_time = scheduling::watcher_in_time();
        tracing::info!(real_time, "the synchronisation agent watches");
        loop {
            let once = AssertUnwindSafe(|| watch(&watched));
            if catch_unwind(once).is_err() {
                tracing::error!("the synchronisation agent is started again");
            }
        }
    };
    thread::Builder::new().name(NAME.to_owned()).stack_size(256 * 1024).spawn(body).map(drop)
}

fn watch(guard: &SystemGuard) {
    let client = guard.client();
    loop {
        let lease = guard.lease();
        client.alive(Watched::Agent);
        if let Some(silent) = hang(client.last_alive(Watched::Sync), clock::now(), lease) {
            tell(&client, silent);
        }
        thread::sleep((lease / 8).min(LONGEST));
    }
}

/// For how long the service has not moved, if that is too long. Before its first beat it is
/// starting, which may take as long as reading a registry takes.
fn hang(last: Option<Timestamp>, now: Timestamp, lease: Duration) -> Option<Duration> {
    let silent = now.since(last?);
    (silent >= lease).then_some(silent)
}

fn tell(client: &GuardClient, silent: Duration) {
    // First the guard: a log may block.
    client.hangs(&format!("{} did not move for {} ms", Watched::Sync, silent.as_millis()));
    tracing::error!(?silent, "the synchronisation service hangs (TSK-1509)");
    // The guard kills this process now; there is nothing more to watch.
    thread::sleep(LONGEST);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o9_a_service_hangs_once_it_has_moved_and_then_not_for_a_lease() {
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        let lease = Duration::from_millis(800);
        assert_eq!(hang(None, at(100_000), lease), None);
        assert_eq!(hang(Some(at(100)), at(899), lease), None);
        assert_eq!(hang(Some(at(100)), at(900), lease), Some(lease));
    }
}
