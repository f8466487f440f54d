//! Where the others are: as the configuration says now, not as it said when they became members of
//! Raft. A server that moves is called at its new place from the moment on at which its configuration
//! is applied here; the transport keeps the old one as a last resort.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tasuki_core::{
    config::{ClusterConfig, profile::Profile},
    ids::{Revision, ServerName},
    registry::State,
};
use tokio::sync::watch;

use crate::{
    ohas::registry::{network::address_of, raft_actor::member_of},
    ports::{PeerAddress, PeerError, PeerMethod, PeerTransport},
};

/// A transport that looks up where a server is before it calls.
pub struct Directory {
    inner: Arc<dyn PeerTransport>,
    registry: watch::Receiver<Arc<State>>,
    adopted: Option<Arc<Profile>>,
    known: Mutex<Known>,
}

/// What was looked up last.
struct Known {
    /// By the profile of this number; `None` as the node was started.
    sequence: Option<Revision>,
    places: BTreeMap<ServerName, PeerAddress>,
}

impl Directory {
    /// Begins with the configuration that the node was started with, which the adopted profile has
    /// brought up to date.
    #[must_use]
    pub fn new(
        inner: Arc<dyn PeerTransport>,
        registry: watch::Receiver<Arc<State>>,
        adopted: Option<Arc<Profile>>,
        started_with: &ClusterConfig,
    ) -> Self {
        let known = Known { sequence: None, places: places(started_with) };
        Self { inner, registry, adopted, known: Mutex::new(known) }
    }

    /// Where a server is; where the caller believes it to be when no configuration names it.
    fn look_up(&self, to: &PeerAddress) -> PeerAddress {
        let registry = self.registry.borrow().clone();
        let sequence = Profile::sequence_of(&registry);
        let newer = self.adopted.as_ref().is_some_and(|adopted| adopted.sequence > sequence);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !newer
            && known.sequence != Some(sequence)
            && let Some(config) = registry.config()
        {
            *known = Known { sequence: Some(sequence), places: places(&config) };
        }
        known.places.get(&to.server).cloned().unwrap_or_else(|| to.clone())
    }
}

fn places(config: &ClusterConfig) -> BTreeMap<ServerName, PeerAddress> {
    config.servers.keys().map(|name| (name.clone(), address_of(&member_of(config, name)))).collect()
}

#[async_trait]
impl PeerTransport for Directory {
    async fn call(
        &self,
        to: &PeerAddress,
        method: PeerMethod,
        body: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, PeerError> {
        self.inner.call(&self.look_up(to), method, body, ttl).await
    }
}
