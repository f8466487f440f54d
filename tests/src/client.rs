//! A client outside the cluster that asks the floating address again and again, over a fresh
//! connection each time, and remembers who answered when. What it did not get is an outage,
//! whatever the servers believe.

pub mod history;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};

pub use self::history::{Gap, History, Overlap};
use crate::network::Machine;

/// What the demonstration service says of itself, as one line of JSON in the answer's body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Answer {
    /// The server it runs on.
    pub server: String,
    /// Its process there.
    #[serde(default)]
    pub pid: u64,
    /// The ownership it was started under.
    #[serde(default)]
    pub epoch: u64,
}

/// One question and what became of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was asked.
    pub asked: Instant,
    /// When it was answered or given up.
    pub ended: Instant,
    /// Who answered, or why nobody did.
    pub outcome: Result<Answer, String>,
}

/// What is said of a question that was given up: by the clock of a machine that may be busy, so it
/// proves nothing. Every other reason is somebody's answer.
pub const TOO_LATE: &str = "no answer in time";

impl Sample {
    /// Whether it was refused, cut off, or answered by somebody else, and not only given up.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.outcome.as_ref().is_err_and(|why| why != TOO_LATE)
    }
}

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A question starts this long after the one before, answered or not.
    pub every: Duration,
    /// And is given up after this. Shorter than the second after which TCP repeats a lost SYN.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_millis(5), patience: Duration::from_millis(250) }
    }
}

/// A client at work, on a thread of its own.
pub struct Client {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts to ask for `http://target/` from the network of `machine`.
    ///
    /// # Errors
    /// When the machine's network cannot be entered.
    pub fn start(machine: &Machine, target: SocketAddr, pace: Pace) -> io::Result<Self> {
        // A thread started inside stays inside.
        machine.on_network(|| Self::start_here(target, pace))?
    }

    /// The same from the network that the calling thread is in.
    ///
    /// # Errors
    /// When there is no thread or runtime to be had.
    pub fn start_here(target: SocketAddr, pace: Pace) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (until, into) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || runtime.block_on(ask_until(&until, &into, target, pace)))?;
        Ok(Self { stop, samples, thread: Some(thread) })
    }

    /// What has been seen so far.
    #[must_use]
    pub fn so_far(&self) -> History {
        History::new(lock(&self.samples).clone())
    }

    /// Waits for an answer to a question asked from now on that satisfies `accept`, at most this
    /// long.
    #[must_use]
    pub fn wait_for(&self, limit: Duration, accept: impl Fn(&Answer) -> bool) -> Option<Sample> {
        let start = Instant::now();
        let mut looked_at = lock(&self.samples).len();
        while start.elapsed() < limit {
            {
                let samples = lock(&self.samples);
                let fits =
                    |sample: &&Sample| sample.asked >= start && sample.outcome.as_ref().is_ok_and(&accept);
                if let Some(found) = samples[looked_at..].iter().find(fits) {
                    return Some(found.clone());
                }
                looked_at = samples.len();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Ends it: all that was seen.
    #[must_use]
    pub fn finish(mut self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        History::new(std::mem::take(&mut *lock(&self.samples)))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn ask_until(stop: &AtomicBool, samples: &Arc<Mutex<Vec<Sample>>>, target: SocketAddr, pace: Pace) {
    let mut ticks = interval(pace.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let samples = Arc::clone(samples);
        // Side by side: a question that hangs must not hide that the next one would be answered.
        tokio::spawn(async move {
            let asked = Instant::now();
            let outcome = match timeout(pace.patience, ask(target)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(TOO_LATE.to_owned()),
            };
            lock(&samples).push(Sample { asked, ended: Instant::now(), outcome });
        });
    }
}

async fn ask(target: SocketAddr) -> Result<Answer, String> {
    let read = async {
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.take(1 << 16).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer = read.await.map_err(|error: io::Error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map_or(text.as_ref(), |(_, body)| body);
    serde_json::from_str(body.trim()).map_err(|_| format!("not an answer of the service: {:?}", body.trim()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
