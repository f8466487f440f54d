//! `tasuki witness`: one process that is a witness of several clusters. No guard, no groups.
//!
//! A *voter* is a Raft voter with a synced log. A *register* keeps the tie-break record of two
//! servers, and has no vote.
//!
//! | module | what |
//! |---|---|
//! | `folder` | a folder for each cluster; the lock |
//! | `record` | the record of one cluster, on the disk |
//! | `register`, `voter` | one cluster served, by its kind |
//! | `machine` | what a voter lacks of a server: guard, resources, looks |

mod error;
mod folder;
mod machine;
mod record;
mod register;
mod voter;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tasuki_core::config::Role;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    error::WitnessError,
    folder::{DEFAULT_FOLDER, Membership, WitnessFolder},
    record::RecordFile,
};

/// How often the folder is looked at for clusters that came or went.
const LOOK: Duration = Duration::from_secs(1);
/// Before a cluster that could not be served is tried again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// What is being served has so long to end.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Threads of the runtime: a witness does little, for many.
const WORKERS: usize = 2;

/// Why the service of one cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was asked to.
    Asked,
    /// Its place in the configuration has changed: it begins anew.
    Changed,
}

/// Serves every cluster of the folder until a signal says so.
#[must_use]
pub fn run(folder: &WitnessFolder) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(serve(folder));
    runtime.shutdown_timeout(END_WITHIN);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(code = error.code(), "{error}; {}", error.remedy());
            ExitCode::FAILURE
        }
    }
}

/// One cluster that is being served.
struct Served {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve(folder: &WitnessFolder) -> Result<(), WitnessError> {
    let _alone = folder.lock()?;
    let signals = |kind| signal(kind).map_err(WitnessError::files(folder.place()));
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut served: BTreeMap<PathBuf, Served> = BTreeMap::new();
    tracing::info!(folder = %folder.place().display(), "the witness starts");
    loop {
        match folder.clusters() {
            Ok(clusters) => follow(&mut served, clusters).await,
            Err(error) => tracing::warn!(code = error.code(), "{error}; {}", error.remedy()),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    follow(&mut served, Vec::new()).await;
    tracing::info!("the witness has ended");
    Ok(())
}

/// Ends what is not there any more, and begins what is new.
async fn follow(served: &mut BTreeMap<PathBuf, Served>, clusters: Vec<PathBuf>) {
    let gone: Vec<PathBuf> = served.keys().filter(|known| !clusters.contains(known)).cloned().collect();
    let gone: Vec<Served> = gone.iter().filter_map(|cluster| served.remove(cluster)).collect();
    gone.iter().for_each(|one| one.stop.cancel());
    for one in gone {
        if tokio::time::timeout(END_WITHIN, one.task).await.is_err() {
            tracing::warn!("the service of a cluster does not end in time");
        }
    }
    for cluster in clusters {
        served.entry(cluster).or_insert_with_key(|cluster| {
            let stop = CancellationToken::new();
            let task = tokio::spawn(keep_serving(cluster.clone(), stop.clone()));
            Served { stop, task }
        });
    }
}

/// One cluster, begun again whenever it ends by itself: the others must not suffer from it.
async fn keep_serving(folder: PathBuf, stop: CancellationToken) {
    let mut pause = AGAIN.0;
    while !stop.is_cancelled() {
        match serve_cluster(&folder, stop.clone()).await {
            Ok(End::Asked) => return,
            Ok(End::Changed) => pause = AGAIN.0,
            Err(error) => {
                let cluster = folder.display();
                tracing::error!(%cluster, code = error.code(), "{error}; {}", error.remedy());
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(AGAIN.1);
            }
        }
    }
}

async fn serve_cluster(folder: &Path, stop: CancellationToken) -> Result<End, WitnessError> {
    let membership = Membership::load(folder)?;
    let (cluster, name) = (membership.identity.cluster(), membership.identity.server());
    let role = membership.role();
    tracing::info!(cluster, %name, ?role, "the witness serves a cluster");
    match role {
        Role::Register { .. } => register::serve(&membership, stop).await,
        Role::Voter { .. } => voter::serve(membership, stop).await,
        Role::Server => {
            Err(WitnessError::OtherRole { name: name.to_string(), cluster: cluster.to_owned(), server: true })
        }
    }
}
