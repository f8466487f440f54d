//! Snapshots: large bodies, sent and received in pieces.
//!
//! A piece is read only when the connection takes it, so the sender holds the snapshot once and
//! one piece besides. The receiver holds it once too, and refuses what is larger than it promised.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tasuki_actors::ports::PeerError;
use tasuki_proto::v1::SnapshotChunk;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Request, Status};

use super::path::{GRACE, Outcome, Path, outcome};

/// The size of a piece, in bytes.
const PIECE: usize = 256 << 10;

/// The largest snapshot, in bytes: a registry is far smaller.
const SNAPSHOT_LIMIT: u64 = 512 << 20;

/// Sends a snapshot on the best path, and on the next one when that one stalls or breaks.
pub(super) async fn send(
    paths: &[Arc<Path>],
    body: &Bytes,
    ttl: Duration,
    stall: Duration,
) -> Result<Bytes, PeerError> {
    let deadline = Instant::now() + ttl;
    let mut last_error = "no path".to_owned();
    for path in paths {
        match timeout_at(deadline, send_on(path, body.clone(), deadline, stall)).await {
            Err(_) => {
                path.failed();
                return Err(PeerError::Timeout(ttl));
            }
            Ok(Outcome::Answer(answer)) => {
                path.answered();
                return answer;
            }
            Ok(Outcome::Broken(why) | Outcome::Lost(why)) => {
                path.failed();
                last_error = format!("{}: {why}", path.address);
            }
        }
    }
    Err(PeerError::Unreachable(last_error))
}

/// When the connection last took a piece; `None` once it has taken all.
type Moved = Arc<Mutex<Option<Instant>>>;

fn read(moved: &Moved) -> Option<Instant> {
    *moved.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send_on(path: &Arc<Path>, body: Bytes, deadline: Instant, stall: Duration) -> Outcome {
    let moved = Moved::new(Mutex::new(Some(Instant::now())));
    let mut request = Request::new(pieces(path.clone(), body, moved.clone()));
    request.set_timeout(deadline.saturating_duration_since(Instant::now()) + GRACE);
    let mut client = path.bulk.clone();
    let call = client.snapshot(request);
    tokio::pin!(call);
    loop {
        let seen = read(&moved);
        tokio::select! { biased;
            result = &mut call => return outcome(result),
            // After the last piece the peer may take its time to install what it got.
            () = sleep_until(seen.unwrap_or(deadline) + stall), if seen.is_some() => {
                if read(&moved) == seen {
                    return Outcome::Broken(format!("the snapshot has not moved for {stall:?}"));
                }
            }
        }
    }
}

fn pieces(path: Arc<Path>, body: Bytes, moved: Moved) -> impl Stream<Item = SnapshotChunk> {
    let total = body.len() as u64;
    let first = SnapshotChunk { lineage: path.lineage().to_owned(), total, data: Bytes::new() };
    stream::unfold((Some(first), body), move |(first, mut body)| {
        let (path, moved) = (path.clone(), moved.clone());
        async move {
            if path.is_cut() {
                std::future::pending::<()>().await;
            }
            let end = first.is_none() && body.is_empty();
            let last = body.len() <= PIECE;
            *moved.lock().unwrap_or_else(PoisonError::into_inner) =
                if end || last { None } else { Some(Instant::now()) };
            if end {
                return None;
            }
            let mut piece =
                first.unwrap_or(SnapshotChunk { lineage: String::new(), total: 0, data: Bytes::new() });
            piece.data = body.split_to(body.len().min(PIECE));
            Some((piece, (None, body)))
        }
    })
}

/// Puts a snapshot together. `admit` sees the lineage before anything is kept.
pub(super) async fn receive<S>(
    mut pieces: S,
    admit: impl Fn(&str) -> Result<(), Status>,
) -> Result<Bytes, Status>
where
    S: Stream<Item = Result<SnapshotChunk, Status>> + Unpin,
{
    let first = pieces.next().await.ok_or_else(|| Status::invalid_argument("an empty snapshot"))??;
    admit(&first.lineage)?;
    let total = first.total;
    if total > SNAPSHOT_LIMIT {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {total} bytes; the limit is {SNAPSHOT_LIMIT}"
        )));
    }
    // What is promised is not yet there: memory is taken as the pieces come.
    let mut body = BytesMut::new();
    let mut next = Some(first);
    while let Some(piece) = next {
        if (body.len() + piece.data.len()) as u64 > total {
            return Err(Status::invalid_argument(format!("more than the {total} bytes announced")));
        }
        body.extend_from_slice(&piece.data);
        next = pieces.next().await.transpose()?;
    }
    if body.len() as u64 != total {
        return Err(Status::invalid_argument(format!("{} bytes of {total} announced", body.len())));
    }
    Ok(body.freeze())
}
