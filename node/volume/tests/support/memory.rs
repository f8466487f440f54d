//! A volume in memory, for tests of what stands in front of one: counts, fails and freezes on demand,
//! and answers side by side.

#![allow(dead_code)] // each test uses a part of it

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use tasuki_volume::block::{BlockError, Door, Request};
use tokio::sync::{mpsc, watch};

/// What a volume was asked.
#[derive(Debug, Default)]
pub struct Counts {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub durable: AtomicU64,
    pub flushes: AtomicU64,
    pub trims: AtomicU64,
    pub zeroes: AtomicU64,
    pub longest: AtomicU64,
}

/// A volume in memory.
#[derive(Clone)]
pub struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    pub counts: Arc<Counts>,
    fails: Arc<AtomicBool>,
    frozen: Arc<watch::Sender<bool>>,
    waiting: Arc<AtomicU64>,
}

impl Memory {
    /// Serves so many bytes of zeroes on the current runtime.
    pub fn serve(size: usize) -> (Self, Door) {
        let (requests, mut asked) = mpsc::channel(128);
        let memory = Self {
            bytes: Arc::new(Mutex::new(vec![0; size])),
            counts: Arc::default(),
            fails: Arc::default(),
            frozen: Arc::new(watch::channel(false).0),
            waiting: Arc::default(),
        };
        let served = memory.clone();
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                // Answers need not come in the order of the questions.
                tokio::spawn(served.clone().answer(request));
            }
        });
        (memory, Door { size: size as u64, block: 4096, requests })
    }

    /// From now on every request fails.
    pub fn fail(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }

    /// From now on no request is answered, until it thaws.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Requests that have come and are not answered.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.expect("the volume lives");
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let fails = self.fails.load(Ordering::SeqCst).then_some(BlockError::Io);
        let counts = &self.counts;
        let one = |count: &AtomicU64| count.fetch_add(1, Ordering::SeqCst);
        let span = |offset: u64, length: u64| offset as usize..(offset + length) as usize;
        // Who asked may be gone: that is no concern of a volume.
        match request {
            Request::Read { offset, length, answer } => {
                one(&counts.reads);
                let data = Bytes::copy_from_slice(&self.bytes()[span(offset, u64::from(length))]);
                let _gone = answer.send(fails.map_or(Ok(data), Err));
            }
            Request::Write { offset, data, durable, answer } => {
                one(&counts.writes);
                counts.durable.fetch_add(u64::from(durable), Ordering::SeqCst);
                counts.longest.fetch_max(data.len() as u64, Ordering::SeqCst);
                if fails.is_none() {
                    self.bytes()[span(offset, data.len() as u64)].copy_from_slice(&data);
                }
                let _gone = answer.send(fails.map_or(Ok(()), Err));
            }
            Request::Flush { answer } => {
                one(&counts.flushes);
                let _gone = answer.send(fails.map_or(Ok(()), Err));
            }
            Request::Trim { offset, length, answer, .. } => {
                one(&counts.trims);
                self.bytes()[span(offset, length)].fill(0);
                let _gone = answer.send(fails.map_or(Ok(()), Err));
            }
            Request::Zero { offset, length, answer, .. } => {
                one(&counts.zeroes);
                self.bytes()[span(offset, length)].fill(0);
                let _gone = answer.send(fails.map_or(Ok(()), Err));
            }
        }
    }
}
