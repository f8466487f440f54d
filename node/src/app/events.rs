//! What happens, as it happens.

use futures::{Stream, StreamExt as _, stream};
use tasuki_actors::handle::Event;
use tokio::sync::broadcast::error::RecvError;

use super::{App, AppError, Caller, Role, wall_now};

impl App {
    /// Every event about an object or a kind of object. A subscriber that is too slow is told how
    /// many it lost rather than slowing the node down.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn event_watch(
        &self,
        by: &Caller,
        object: String,
    ) -> Result<impl Stream<Item = Event> + Send + 'static, AppError> {
        by.must_be(Role::Viewer)?;
        let node = self.node.clone();
        let events = stream::unfold(self.node.events(), move |mut events| {
            let node = node.clone();
            async move {
                match events.recv().await {
                    Ok(event) => Some((event, events)),
                    Err(RecvError::Closed) => None,
                    Err(RecvError::Lagged(lost)) => {
                        let status = node.status();
                        let event = Event {
                            at: wall_now(),
                            boot: status.now,
                            object: format!("server/{}", status.server),
                            server: status.server,
                            kind: "events-lost".to_owned(),
                            text: format!("{lost} events were lost: the subscriber is too slow"),
                            revision: None,
                        };
                        Some((event, events))
                    }
                }
            }
        });
        Ok(events.filter(move |event| {
            let wanted = event.kind == "events-lost" || is_about(&event.object, &object);
            async move { wanted }
        }))
    }
}

fn is_about(object: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_matches('/');
    wanted.is_empty()
        || object.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
