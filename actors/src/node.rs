//! (being written)
#![allow(missing_docs, clippy::unused_async)]
use std::sync::Arc;

use bytes::Bytes;
use tasuki_core::{ids::*, membership::view::View, reason::Reason, registry::*};
use tokio::sync::{broadcast, watch};

use crate::{handle::*, ports::*};

pub struct Inner;

impl Inner {
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        unimplemented!()
    }
    pub async fn read(&self) -> Result<Arc<State>, RegistryError> {
        unimplemented!()
    }
    pub async fn propose(
        &self,
        _: Author,
        _: Command,
        _: Option<Reason>,
        _: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        unimplemented!()
    }
    pub fn view(&self) -> Arc<View> {
        unimplemented!()
    }
    pub fn status(&self) -> NodeStatus {
        unimplemented!()
    }
    pub fn events(&self) -> broadcast::Receiver<Event> {
        unimplemented!()
    }
    pub async fn serve_peer(&self, _: &ServerName, _: PeerMethod, _: Bytes) -> Result<Bytes, PeerError> {
        unimplemented!()
    }
    pub async fn tree(&self) -> String {
        unimplemented!()
    }
    pub async fn stop(&self) {
        unimplemented!()
    }
}
