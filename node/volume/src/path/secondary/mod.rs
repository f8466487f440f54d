//! The secondary's side: who is let in, and what is done with frames.
//!
//! A copy answers one primary at a time. Whoever is let in has the newest epoch that this copy knows,
//! and it is on the disk before the answer goes out; the stream of an older one has ended by then, and
//! what it had sent is finished or dropped (R31).

mod beside;
mod frames;
pub mod saved;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tasuki_core::{
    ids::{Epoch, Generation, ServerName, VolumeName},
    mirror::{
        handshake::{Hello, Unwelcome, Welcome, answer},
        history::Compared,
    },
};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use self::beside::Beside;
use super::{
    Volume,
    copy::{Copy, DiskError},
    events::VolumeEvent,
    frame::{Body, Frame, Speech, decode, encode},
    options::{Shared, lacks},
    stream::{Duplex, StreamEnded},
};

/// A caller says who it is within this time.
const GREETING: Duration = Duration::from_secs(10);

/// Answers primaries for all volumes of this server; what the listener on the mirror port has.
#[derive(Default)]
pub struct Reception {
    volumes: Mutex<BTreeMap<VolumeName, Weak<Volume>>>,
}

impl Reception {
    /// Primaries of this volume are answered from here on, until it is closed or dropped.
    pub fn add(&self, name: VolumeName, volume: &Arc<Volume>) {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.insert(name, Arc::downgrade(volume));
    }

    /// They are not answered any more.
    pub fn remove(&self, name: &VolumeName) {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Answers whoever calls, and serves him until the stream ends. `caller` is who the stream says he
    /// is, where it is known: nobody else may call himself primary over it.
    pub async fn accept(&self, mut duplex: Duplex, caller: Option<ServerName>) -> StreamEnded {
        let first = match timeout(GREETING, duplex.source.next()).await {
            Ok(Ok(packet)) => packet,
            Ok(Err(ended)) => return ended,
            Err(_) => return StreamEnded("it did not say who it is".to_owned()),
        };
        let (hello, epoch) = match decode(first) {
            Ok(Frame { body: Body::Hello(hello), number: 1, epoch, .. }) => (hello, epoch),
            Ok(Frame { body: Body::Beside { volume, primary, token }, number: 1, epoch, .. }) => {
                if caller.is_some_and(|caller| caller != primary) {
                    return StreamEnded("it is not who it says it is".to_owned());
                }
                let Some(volume) = self.volume(&volume) else {
                    return StreamEnded("the volume is not open here".to_owned());
                };
                // Like the session that it belongs to: see below.
                let serving =
                    tokio::spawn(async move { volume.accept_beside(&primary, epoch, &token, duplex).await });
                return serving.await.unwrap_or_else(|why| StreamEnded(why.to_string()));
            }
            Ok(_) => return StreamEnded("its first frame is no greeting".to_owned()),
            Err(why) => return StreamEnded(why.to_string()),
        };
        if hello.epoch != epoch || caller.is_some_and(|caller| caller != hello.primary) {
            return StreamEnded("it is not who it says it is".to_owned());
        }
        match self.volume(&hello.volume) {
            // In a task of its own: what a primary has sent is finished or dropped in order, also when
            // whoever carries the stream goes away in the middle (R31).
            Some(volume) => {
                let serving = tokio::spawn(async move { volume.accept(hello, duplex).await });
                serving.await.unwrap_or_else(|why| StreamEnded(why.to_string()))
            }
            None => {
                let why = Unwelcome::NoVolume(hello.volume.clone());
                refuse(&mut duplex, epoch, why).await
            }
        }
    }
}

impl Reception {
    fn volume(&self, name: &VolumeName) -> Option<Arc<Volume>> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.get(name).and_then(Weak::upgrade)
    }
}

async fn refuse(duplex: &mut Duplex, epoch: Epoch, why: Unwelcome) -> StreamEnded {
    let reason = why.to_string();
    let frame = Frame { epoch, number: 1, body: Body::Unwelcome(why), data: Bytes::new() };
    let _it_may_be_gone = duplex.sink.send(&mut vec![encode(frame, Speech::GREETING)]).await;
    // It reads the answer and hangs up; ending the stream first could lose the answer.
    let _it_hangs_up = timeout(GREETING, duplex.source.next()).await;
    StreamEnded(reason)
}

/// Lets primaries in to one copy.
pub struct Gate {
    copy: Arc<Copy>,
    shared: Arc<Shared>,
    /// Who is let in. Held while somebody else comes in, or an epoch is stored.
    current: tokio::sync::Mutex<Option<Guest>>,
    /// The newest epoch, as the frames of a session are compared with it.
    epoch: AtomicU64,
    closed: AtomicBool,
}

/// A primary that was let in.
struct Guest {
    primary: ServerName,
    epoch: Epoch,
    speech: Speech,
    beside: Arc<Beside>,
    stop: Arc<Notify>,
    ended: oneshot::Receiver<()>,
}

impl Guest {
    /// Ends its stream; returns when everything that it had sent is finished or dropped.
    async fn end(self) {
        self.stop.notify_one();
        let _it_is_gone = self.ended.await;
    }
}

impl Gate {
    /// For a copy.
    pub fn new(copy: Arc<Copy>, shared: Arc<Shared>) -> Self {
        let epoch = copy.local().epoch.0;
        Self {
            copy,
            shared,
            current: tokio::sync::Mutex::default(),
            epoch: AtomicU64::new(epoch),
            closed: AtomicBool::new(false),
        }
    }

    /// The newest epoch that this copy knows.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Ends every stream of an older epoch, then keeps this one (R31).
    pub async fn store_epoch(&self, epoch: Epoch) -> Result<(), DiskError> {
        let mut current = self.current.lock().await;
        if let Some(guest) = current.take_if(|guest| guest.epoch < epoch)
            && !lacks!(self.shared.options, R31OlderFrames)
        {
            guest.end().await;
        }
        self.copy.store_epoch(epoch).await?;
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        Ok(())
    }

    /// Nobody is let in any more.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(guest) = self.current.lock().await.take() {
            guest.end().await;
        }
    }

    /// Answers a primary and serves it until the stream ends. `overthrow` ends this server's own time
    /// as a primary of an older epoch.
    pub async fn accept(
        &self,
        hello: Hello,
        mut duplex: Duplex,
        overthrow: impl FnOnce() -> BoxFuture<'static, ()>,
    ) -> StreamEnded {
        let epoch = hello.epoch;
        let mut current = self.current.lock().await;
        let resizes = self.takes_size(&hello).await;
        let wire = match self.admits(&hello, resizes) {
            Ok(wire) => wire,
            Err(why) => {
                drop(current);
                return refuse(&mut duplex, epoch, why).await;
            }
        };
        if let Some(guest) = current.take()
            && !lacks!(self.shared.options, R31OlderFrames)
        {
            guest.end().await;
        }
        if self.shared.status().primary.is_some() {
            overthrow().await;
        }
        if let Err(why) = self.copy.store_epoch(epoch).await {
            self.shared.status().disk_failed = Some(why.why.clone());
            drop(current);
            return refuse(&mut duplex, epoch, Unwelcome::NoDisk(why.why)).await;
        }
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        if resizes && let Err(why) = self.copy.resize(hello.geometry).await {
            drop(current);
            return refuse(&mut duplex, epoch, Unwelcome::NoDisk(why.why)).await;
        }
        let (stop, (tell_end, ended)) = (Arc::new(Notify::new()), oneshot::channel());
        let (primary, beside) = (hello.primary.clone(), Arc::new(Beside::default()));
        let speech = Speech { wire, compression: self.shared.options.compression };
        *current = Some(Guest { primary, epoch, speech, beside: beside.clone(), stop: stop.clone(), ended });
        drop(current);
        let welcome = Welcome {
            server: self.copy.server.clone(),
            copy: self.copy.local(),
            differing: self.copy.differing(&hello.primary),
            wire,
        };
        self.shared.status().source = Some((hello.primary.clone(), false));
        self.shared.tell(VolumeEvent::Primary { server: Some(hello.primary.clone()), epoch });
        let first = Body::Welcome(welcome);
        let ended = self.serve(&hello.primary, (epoch, speech), (first, Some(&*beside)), duplex, &stop).await;
        beside.end().await;
        self.shared.status().source = None;
        self.shared.tell(VolumeEvent::Primary { server: None, epoch });
        drop(tell_end);
        ended
    }

    /// A stream beside that of the primary which is let in; it is known by what that one was told. The
    /// end of either ends both.
    pub async fn accept_beside(
        &self,
        primary: &ServerName,
        epoch: Epoch,
        token: &[u8],
        duplex: Duplex,
    ) -> StreamEnded {
        let found = {
            let current = self.current.lock().await;
            let guest = current.as_ref().filter(|guest| guest.epoch == epoch && guest.primary == *primary);
            guest.and_then(|guest| {
                guest.beside.begin(token).map(|stands| (guest.speech, guest.stop.clone(), stands))
            })
        };
        let Some((speech, first, (stop, tell_end))) = found else {
            return StreamEnded("there is no stream that it belongs to".to_owned());
        };
        let ended = self.serve(primary, (epoch, speech), (Body::Answer { of: 1 }, None), duplex, &stop).await;
        first.notify_one();
        drop(tell_end);
        ended
    }

    /// Whether this copy takes over the primary's size: the volume has grown while this server was
    /// away, or has not on the server that is primary now; what is beyond that one's end nobody was
    /// told of. One that was never used, has no room, or knows of writes that the primary does not,
    /// is refused instead: what is beyond the end must not be lost by a greeting.
    async fn takes_size(&self, hello: &Hello) -> bool {
        let own = self.copy.local();
        own.geometry != hello.geometry
            && own.history.generation() > Generation::default()
            && matches!(hello.history.compare(&own.history), Compared::Same | Compared::Ahead)
            && self.copy.measure().await.is_ok_and(|room| room >= hello.geometry.size)
    }

    fn admits(&self, hello: &Hello, resizes: bool) -> Result<u32, Unwelcome> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Unwelcome::NoVolume(hello.volume.clone()));
        }
        let (primary, failed) = {
            let status = self.shared.status();
            (status.primary, status.disk_failed.clone())
        };
        let mut local = self.copy.local();
        if resizes {
            local.geometry = hello.geometry;
        }
        match (answer(&local, &self.copy.lineage, primary, self.shared.options.wires, hello), failed) {
            (Ok(_) | Err(Unwelcome::NoDisk(_)), Some(why)) => Err(Unwelcome::NoDisk(why)),
            (answer, _) => answer,
        }
    }
}
