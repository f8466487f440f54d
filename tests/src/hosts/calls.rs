//! Calls to the nodes over their local sockets, from outside the machines: a socket in the file
//! system is the same one in every network namespace. What cannot be reached says so in words.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tasuki_proto::v1::{
    self as wire, cluster_client::ClusterClient, event_client::EventClient, group_client::GroupClient,
    registry_client::RegistryClient, server_client::ServerClient,
};
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// No question takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// An events' stream that broke is asked for again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// Callers share one small runtime.
#[derive(Clone)]
pub struct Calls {
    runtime: Arc<Runtime>,
}

impl Calls {
    /// A runtime of one thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("calls")
            .enable_all()
            .build()?;
        Ok(Self { runtime: Arc::new(runtime) })
    }

    /// Runs a future of calls to its end.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The cluster as the node of this data folder sees it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn status(&self, data: &Path) -> io::Result<wire::ClusterStatusResponse> {
        self.call(async {
            ClusterClient::new(channel(data).await?).status(wire::ClusterStatusRequest {}).await
        })
    }

    /// A one-time token for one server.
    ///
    /// # Errors
    /// When the node does not answer or there is no quorum.
    pub fn token(&self, data: &Path, server: &str) -> io::Result<String> {
        let request = wire::IssueTokenRequest { server: server.to_owned(), valid_seconds: 600 };
        let answer =
            self.call(async { ClusterClient::new(channel(data).await?).issue_token(request).await })?;
        Ok(answer.token)
    }

    /// Wants a group on a server.
    ///
    /// # Errors
    /// When it is refused.
    pub fn move_group(&self, data: &Path, group: &str, to: &str) -> io::Result<u64> {
        let (group, to) = (group.to_owned(), to.to_owned());
        let request = wire::MoveGroupRequest { group, to, ..Default::default() };
        let answer = self.call(async { GroupClient::new(channel(data).await?).r#move(request).await })?;
        Ok(answer.revision)
    }

    /// Sets a group's failure counters to zero.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reset_group(&self, data: &Path, group: &str) -> io::Result<u64> {
        let request = wire::ResetGroupRequest { group: group.to_owned() };
        let answer = self.call(async { GroupClient::new(channel(data).await?).reset(request).await })?;
        Ok(answer.revision)
    }

    /// Asks a server to hand over and stop.
    ///
    /// # Errors
    /// When it is refused.
    pub fn shut_down(&self, data: &Path, server: &str) -> io::Result<u64> {
        let after = wire::AfterStop::Nothing.into();
        let request = wire::ServerShutdownRequest { server: server.to_owned(), after };
        let answer = self.call(async { ServerClient::new(channel(data).await?).shutdown(request).await })?;
        Ok(answer.revision)
    }

    /// The last changes of the registry.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn history(&self, data: &Path, limit: u32) -> io::Result<Vec<wire::Change>> {
        let request = wire::HistoryRequest { prefix: String::new(), limit, name: String::new() };
        let answer = self.call(async { RegistryClient::new(channel(data).await?).history(request).await })?;
        Ok(answer.changes)
    }

    /// Collects every event of the nodes of these data folders, until dropped. A node that ends is
    /// asked again when it is back; what it said of its start may be missed.
    #[must_use]
    pub fn events(&self, data: impl IntoIterator<Item = PathBuf>) -> Events {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        for data in data {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            self.runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // Its end says that the node has ended.
                    let _ = follow(&data, &stop, &seen).await;
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Events { stop, seen }
    }

    fn call<T>(&self, work: impl Future<Output = Result<tonic::Response<T>, Status>>) -> io::Result<T> {
        self.runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, work).await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(io::Error::other(status.message().to_owned())),
                Err(_) => Err(io::Error::other("no answer in time")),
            }
        })
    }
}

/// Connects to the node of a data folder.
///
/// # Errors
/// When none runs there.
pub async fn channel(data: &Path) -> Result<Channel, Status> {
    let socket = data.join("tasuki.sock");
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        }))
        .await
        .map_err(|error| Status::unavailable(format!("{}: {error:?}", data.display())))
}

async fn follow(data: &Path, stop: &AtomicBool, seen: &Mutex<Vec<wire::EventRecord>>) -> Result<(), Status> {
    let mut client = EventClient::new(channel(data).await?);
    let mut events = client.watch(wire::WatchEventsRequest { object: String::new() }).await?.into_inner();
    while let Some(event) = events.message().await? {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// What nodes said happened.
pub struct Events {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<wire::EventRecord>>>,
}

impl Events {
    /// All so far, by the boot clock, which every machine of a laboratory shares.
    #[must_use]
    pub fn so_far(&self) -> Vec<wire::EventRecord> {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by_key(|event| event.boot_ns);
        all
    }

    /// Forgets all so far.
    pub fn clear(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
