//! A primary's side: streams to the servers that keep copies.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hyper_util::rt::TokioIo;
use tasuki_core::ids::{ServerName, VolumeName};
use tasuki_proto::v1::{MirrorFrame, mirror_client::MirrorClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tower::service_fn;

use super::{
    FRAME_LIMIT, FrameSink, FrameSource, HTTP2_FRAME, QUEUE, StreamSettings, WINDOW, Way,
    cut_watch::CutWatch, ended, said, socket::Socket,
};
use crate::{
    edge::peer::{Cuts, path::words},
    identity::Identity,
};

/// Calls the servers that keep copies.
#[derive(Clone)]
pub struct MirrorDialer {
    identity: Identity,
    cuts: Arc<Cuts>,
    settings: Arc<Mutex<StreamSettings>>,
}

impl MirrorDialer {
    /// Calls nobody yet.
    #[must_use]
    pub fn new(identity: Identity, settings: StreamSettings, cuts: Arc<Cuts>) -> Self {
        Self { identity, cuts, settings: Arc::new(Mutex::new(settings)) }
    }

    /// After a change of the cluster's times; for streams that begin from now on.
    pub fn set_times(&self, settings: StreamSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> StreamSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream to the copy of `volume` on `peer`, on a connection of its own, at the first of these
    /// places that answers. The connection belongs to the runtime that this is called on.
    ///
    /// # Errors
    /// When nobody answers there, or who answers refuses.
    pub async fn dial(
        &self,
        peer: &ServerName,
        at: &[SocketAddr],
        volume: &VolumeName,
    ) -> io::Result<(FrameSink, FrameSource)> {
        let mut last = io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{peer} has no address on the mirror network"),
        );
        for place in at {
            match self.dial_at(peer, *place, volume).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn dial_at(
        &self,
        peer: &ServerName,
        at: SocketAddr,
        volume: &VolumeName,
    ) -> io::Result<(FrameSink, FrameSource)> {
        let settings = self.settings();
        let watch = CutWatch::new(self.cuts.clone(), peer.clone(), at, settings);
        let dialled = async {
            if watch.is_cut() {
                std::future::pending::<()>().await;
            }
            let other = |error: tonic::transport::Error| io::Error::other(format!("{at}: {}", words(&error)));
            let channel = Endpoint::from_shared(format!("https://{at}"))
                .map_err(other)?
                .connect_timeout(settings.connect)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_frame_size(HTTP2_FRAME)
                .http2_keep_alive_interval(settings.beat)
                .keep_alive_timeout(settings.silence)
                .keep_alive_while_idle(true)
                .tls_config(self.identity.client_tls(peer).timeout(settings.connect))
                .map_err(other)?
                .connect_with_connector(service_fn(move |_| async move {
                    Socket::connect(at).await.map(TokioIo::new)
                }))
                .await
                .map_err(other)?;
            let mut client = MirrorClient::new(channel)
                .max_decoding_message_size(FRAME_LIMIT)
                .max_encoding_message_size(FRAME_LIMIT);
            let (queue, frames) = mpsc::channel(QUEUE);
            let lineage = self.identity.lineage().to_string();
            let first = MirrorFrame { lineage, volume: volume.to_string(), ..MirrorFrame::default() };
            queue.send(first).await.map_err(|_| ended())?;
            let answered = client.stream(ReceiverStream::new(frames)).await;
            let frames =
                answered.map_err(|status| io::Error::other(format!("{at}: {}", said(&status))))?.into_inner();
            Ok((
                FrameSink { way: Way::There(queue), watch: watch.clone() },
                FrameSource { frames, watch: watch.clone() },
            ))
        };
        // Connection, TLS handshake, and the answer.
        tokio::time::timeout(settings.connect * 3, dialled)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("{at} does not answer"))))
    }
}
