//! The stream beside a primary's first one: whose it is, and that neither outlives the other.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, oneshot};

/// The door for it, which a session has from its first frame to its last.
#[derive(Default)]
pub struct Beside(Mutex<State>);

#[derive(Default)]
enum State {
    /// No resync has begun yet.
    #[default]
    Closed,
    /// The primary was told this.
    Awaited([u8; 16]),
    /// It stands.
    Stands { stop: Arc<Notify>, ended: oneshot::Receiver<()> },
    /// The session has ended.
    Over,
}

impl Beside {
    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the primary has to say when it calls a second time; nothing where it need not.
    pub fn token(&self) -> Bytes {
        let mut token = [0; 16];
        if SystemRandom::new().fill(&mut token).is_err() {
            return Bytes::new();
        }
        self.with(|state| match state {
            State::Closed | State::Awaited(_) => {
                *state = State::Awaited(token);
                Bytes::copy_from_slice(&token)
            }
            State::Stands { .. } | State::Over => Bytes::new(),
        })
    }

    /// It stands from here on, if that is what the primary was told. Once only. What ends it, and what
    /// is to be dropped when it has ended.
    pub fn begin(&self, said: &[u8]) -> Option<(Arc<Notify>, oneshot::Sender<()>)> {
        self.with(|state| match state {
            State::Awaited(token) if token.as_slice() == said => {
                let (stop, (tell_end, ended)) = (Arc::new(Notify::new()), oneshot::channel());
                *state = State::Stands { stop: stop.clone(), ended };
                Some((stop, tell_end))
            }
            _ => None,
        })
    }

    /// The session ends: this stream ends too, and what it had sent is finished or dropped (R31).
    pub async fn end(&self) {
        if let State::Stands { stop, ended } = self.with(|state| std::mem::replace(state, State::Over)) {
            stop.notify_one();
            let _it_is_gone = ended.await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn only_who_was_told_comes_in_and_only_once() {
        let beside = Beside::default();
        assert!(beside.begin(&[]).is_none() && beside.begin(&[0; 16]).is_none());
        let (first, second) = (beside.token(), beside.token());
        assert!(first != second && beside.begin(&first).is_none(), "only the last token counts");
        let stands = beside.begin(&second);
        assert!(stands.is_some() && beside.begin(&second).is_none());
        assert!(beside.token().is_empty(), "it stands: there is nothing to be told");
    }

    #[test]
    fn r31_the_end_of_a_session_waits_for_the_stream_beside_it() {
        let beside = Beside::default();
        let (stop, tell_end) = beside.begin(&beside.token()).unwrap();
        let mut ending = Box::pin(beside.end());
        assert!((&mut ending).now_or_never().is_none());
        assert!(stop.notified().now_or_never().is_some(), "it was told to end");
        drop(tell_end);
        assert!(ending.now_or_never().is_some());
        assert!(beside.token().is_empty() && beside.begin(&[0; 16]).is_none());
    }
}
