//! The tie-break record of a cluster in memory, as each server reaches it: cut off, unclear, or
//! lost, as tests say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{RegisterError, RegisterPlace, Swap, TieBreakRegister};
use tasuki_core::{ids::ServerName, membership::tie_break::Record};

/// The places where there may be a record.
#[derive(Default)]
pub struct Register {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<String, Record>,
    swaps: Vec<(ServerName, Record)>,
    cut: BTreeSet<ServerName>,
    unclear: u32,
    cut_after_swap: bool,
}

fn key(place: &RegisterPlace) -> String {
    match place {
        RegisterPlace::Witness(witness) => witness.server.to_string(),
        RegisterPlace::Files(files) => format!("{files:?}"),
    }
}

impl Register {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, where there is only one.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.inner().records.values().next_back().cloned()
    }

    /// Every swap that was done, and by whom.
    #[must_use]
    pub fn swaps(&self) -> Vec<(ServerName, Record)> {
        self.inner().swaps.clone()
    }

    /// These servers reach it no more.
    pub fn cut(&self, servers: &[ServerName]) {
        self.inner().cut.extend(servers.iter().cloned());
    }

    /// All reach it again.
    pub fn heal(&self) {
        self.inner().cut.clear();
    }

    /// The next swaps are done, and their answers are lost.
    pub fn lose_answers(&self, count: u32) {
        self.inner().unclear = count;
    }

    /// Whoever swaps next reaches it no more from then on, and hears nothing of the swap.
    pub fn cut_after_swap(&self) {
        self.inner().cut_after_swap = true;
    }

    /// What keeps it has lost it.
    pub fn wipe(&self) {
        self.inner().records.clear();
    }

    /// The way of one server to it.
    #[must_use]
    pub fn reached_from(self: &Arc<Self>, server: &ServerName) -> Arc<dyn TieBreakRegister> {
        Arc::new(Way { register: self.clone(), from: server.clone() })
    }
}

struct Way {
    register: Arc<Register>,
    from: ServerName,
}

impl Way {
    async fn reach(&self) -> Result<(), RegisterError> {
        if !self.register.inner().cut.contains(&self.from) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // as long as the real one waits
        Err(RegisterError::Unreachable("no way to it".into()))
    }
}

#[async_trait]
impl TieBreakRegister for Way {
    async fn read(&self, place: &RegisterPlace) -> Result<Option<Record>, RegisterError> {
        self.reach().await?;
        Ok(self.register.inner().records.get(&key(place)).cloned())
    }

    async fn swap(
        &self,
        place: &RegisterPlace,
        from: Option<&Record>,
        to: &Record,
    ) -> Result<Swap, RegisterError> {
        self.reach().await?;
        let mut inner = self.register.inner();
        let known = inner.records.get(&key(place)).cloned();
        if known.as_ref() != from {
            return Ok(Swap::Other(known));
        }
        inner.records.insert(key(place), to.clone());
        inner.swaps.push((self.from.clone(), to.clone()));
        let cut = std::mem::take(&mut inner.cut_after_swap);
        if cut {
            inner.cut.insert(self.from.clone());
        }
        if cut || inner.unclear > 0 {
            inner.unclear = inner.unclear.saturating_sub(1);
            return Err(RegisterError::Unreachable("the answer is lost".into()));
        }
        Ok(Swap::Done)
    }
}
