//! The streams between servers, as the data path has them.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tasuki_core::ids::{ServerName, VolumeName};
use tasuki_volume::path::{Dialer, Duplex, Packet, PacketSink, PacketSource, Reception, StreamEnded};

use crate::edge::peer::{Acceptor, Arrived, FrameSink, FrameSource, MirrorDialer};

#[async_trait]
impl PacketSink for FrameSink {
    async fn send(&mut self, packets: &mut Vec<Packet>) -> Result<(), StreamEnded> {
        for packet in packets.drain(..) {
            FrameSink::send(self, packet.header, packet.data)
                .await
                .map_err(|error| StreamEnded(error.to_string()))?;
        }
        Ok(())
    }
}

#[async_trait]
impl PacketSource for FrameSource {
    async fn next(&mut self) -> Result<Packet, StreamEnded> {
        match FrameSource::next(self).await {
            Ok(Some((header, data))) => Ok(Packet { header, data }),
            Ok(None) => Err(StreamEnded("the other end closed it".to_owned())),
            Err(error) => Err(StreamEnded(error.to_string())),
        }
    }
}

#[async_trait]
impl Dialer for MirrorDialer {
    async fn dial(
        &self,
        volume: &VolumeName,
        peer: &ServerName,
        at: &[SocketAddr],
    ) -> Result<Duplex, StreamEnded> {
        let dialled = MirrorDialer::dial(self, peer, at, volume).await;
        let (sink, source) = dialled.map_err(|error| StreamEnded(error.to_string()))?;
        Ok(Duplex { sink: Box::new(sink), source: Box::new(source) })
    }
}

/// Hands the streams that come to the volumes that are open.
pub(super) struct Receptionist {
    pub reception: Arc<Reception>,
    pub open: Arc<Mutex<BTreeSet<VolumeName>>>,
}

impl Acceptor for Receptionist {
    fn has(&self, volume: &VolumeName) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).contains(volume)
    }

    fn accept(&self, stream: Arrived) {
        let reception = self.reception.clone();
        tokio::task::spawn_local(async move {
            let Arrived { from, volume, sink, source } = stream;
            let duplex = Duplex { sink: Box::new(sink), source: Box::new(source) };
            let ended = reception.accept(duplex, Some(from.clone())).await;
            tracing::info!(%volume, primary = %from, why = %ended, "a stream of mirror data has ended");
        });
    }
}
