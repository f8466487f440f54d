//! One request to a door, as a call. What the door's other side drops without an answer has failed.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::block::{BlockError, Door, Request};

/// A request without the place for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Read.
    Read { offset: u64, length: u32 },
    /// Write.
    Write { offset: u64, data: Bytes, durable: bool },
    /// Flush.
    Flush,
    /// Trim.
    Trim { offset: u64, length: u64, durable: bool },
    /// Make zeroes.
    Zero { offset: u64, length: u64, may_trim: bool, durable: bool },
}

/// Waits for room at the door, and for the answer. Without bytes for all but reads.
pub(crate) async fn ask(door: &Door, what: Ask) -> Result<Bytes, BlockError> {
    match what {
        Ask::Read { offset, length } => {
            let (answer, answered) = oneshot::channel();
            send(door, Request::Read { offset, length, answer }).await?;
            let data = answered.await.map_err(|_| BlockError::Closing)??;
            // A reader that got less than it asked for would take what follows for its data.
            if data.len() == length as usize { Ok(data) } else { Err(BlockError::Io) }
        }
        Ask::Write { offset, data, durable } => {
            simple(door, |answer| Request::Write { offset, data, durable, answer }).await
        }
        Ask::Flush => simple(door, |answer| Request::Flush { answer }).await,
        Ask::Trim { offset, length, durable } => {
            simple(door, |answer| Request::Trim { offset, length, durable, answer }).await
        }
        Ask::Zero { offset, length, may_trim, durable } => {
            simple(door, |answer| Request::Zero { offset, length, may_trim, durable, answer }).await
        }
    }
}

async fn simple(
    door: &Door,
    request: impl FnOnce(oneshot::Sender<Result<(), BlockError>>) -> Request,
) -> Result<Bytes, BlockError> {
    let (answer, answered) = oneshot::channel();
    send(door, request(answer)).await?;
    answered.await.map_err(|_| BlockError::Closing)??;
    Ok(Bytes::new())
}

async fn send(door: &Door, request: Request) -> Result<(), BlockError> {
    door.requests.send(request).await.map_err(|_| BlockError::Closing)
}
