//! The stream beside a session's first one: what a resync sends does not stand before writes there.
//!
//! It is opened when the first resync of a session begins, ends with the session, and ends it. A peer
//! that knows of no such stream, or cannot be reached a second time, gets blocks behind the writes.

use std::net::SocketAddr;

use bytes::Bytes;
use tasuki_core::ids::ServerName;
use tokio::time::timeout;

use super::{Engine, Session, peers::GREETING};
use crate::path::{
    frame::{Body, Frame, Speech, decode, encode},
    stream::{Duplex, StreamEnded},
};

impl Engine {
    /// Opens it when it is wanted, and keeps it until it ends.
    pub async fn keep_beside(&self, peer: &ServerName, session: &Session, at: &[SocketAddr]) -> StreamEnded {
        let (mut duplex, lane) = loop {
            let wish = session.wished().await;
            match self.open_beside(peer, session, at, &wish.token).await {
                Ok(duplex) => break (duplex, session.begin_beside()),
                Err(why) => {
                    let volume = &self.copy.volume;
                    tracing::warn!(%volume, %peer, %why, "blocks of a resync go behind the writes");
                }
            }
        };
        tokio::select! {
            ended = lane.write_out(&mut *duplex.sink) => ended,
            ended = lane.read_in(&mut *duplex.source, |frame| session.take(self, &lane, frame)) => ended,
        }
    }

    async fn open_beside(
        &self,
        peer: &ServerName,
        session: &Session,
        at: &[SocketAddr],
        token: &Bytes,
    ) -> Result<Duplex, StreamEnded> {
        let body = Body::Beside {
            volume: self.copy.volume.clone(),
            primary: self.copy.server.clone(),
            token: token.to_vec(),
        };
        let greeting = Frame { epoch: session.epoch, number: 1, body, data: Bytes::new() };
        let opened = timeout(GREETING, async {
            let mut duplex = self.dialer.dial(&self.copy.volume, peer, at).await?;
            duplex.sink.send(&mut vec![encode(greeting, Speech::GREETING)]).await?;
            let answer = duplex.source.next().await?;
            match decode(answer) {
                Ok(Frame { body: Body::Answer { of: 1 }, number: 1, .. }) => Ok(duplex),
                Ok(_) => Err(StreamEnded("the answer to a second greeting was something else".to_owned())),
                Err(why) => Err(StreamEnded(why.to_string())),
            }
        });
        opened.await.unwrap_or_else(|_| Err(StreamEnded("it did not answer a second greeting".to_owned())))
    }
}
