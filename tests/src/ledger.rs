//! The client of `ledger` (`src/bin/ledger.rs`), outside the cluster: it remembers what was
//! acknowledged, and when.

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::network::Lab;

/// A server that does not take a connection is tried again after this.
const CONNECT: Duration = Duration::from_millis(300);
/// Whoever does not answer within this may have lost its power: the next line is tried.
const ANSWER: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Writer {
    acknowledged: Arc<Mutex<Vec<(Instant, u64)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writer {
    /// Begins to write from the laboratory's client.
    #[must_use]
    pub fn start(lab: Arc<Lab>, target: SocketAddr) -> Self {
        let acknowledged = Arc::new(Mutex::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, ended) = (acknowledged.clone(), stop.clone());
        let thread = thread::spawn(move || lab.client().on_network(|| write(target, &kept, &ended)));
        Self { acknowledged, stop, thread: Some(thread) }
    }

    /// How many lines were acknowledged so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until so many more are acknowledged.
    ///
    /// # Errors
    /// When they are not within `limit`.
    pub fn wait_for(&self, more: usize, limit: Duration) -> io::Result<()> {
        let (began, wanted) = (Instant::now(), self.count() + more);
        while self.count() < wanted {
            if began.elapsed() > limit {
                return Err(io::Error::other(format!("no {more} more lines within {limit:?}")));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The longest time without an acknowledgement since then.
    #[must_use]
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let all = self.lock();
        let times = all.iter().map(|(at, _)| *at);
        let before = times.clone().take_while(|at| *at < since).last().unwrap_or(since);
        let after: Vec<Instant> = std::iter::once(before).chain(times.filter(|at| *at >= since)).collect();
        after.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// What of the first `acknowledged` lines does not stand in the ledger: later ones may have been
    /// acknowledged after it was read.
    #[must_use]
    pub fn missing(&self, ledger: &str, acknowledged: usize) -> Vec<u64> {
        let there: BTreeSet<u64> = ledger.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let all = self.lock();
        let first = all.iter().take(acknowledged).map(|(_, number)| *number);
        first.filter(|number| !there.contains(number)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn write(target: SocketAddr, kept: &Mutex<Vec<(Instant, u64)>>, stop: &AtomicBool) {
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        if let Ok(true) = one(target, number) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), number));
        }
        thread::sleep(PAUSE);
    }
}

fn one(target: SocketAddr, number: u64) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&target, CONNECT)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    let line = format!("{number}\n");
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer == line)
}
