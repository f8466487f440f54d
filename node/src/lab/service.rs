//! The service as its client sees it: who answers, since when, and how long nobody did.
//!
//! [`Tracker`] only computes; [`watch`] asks, from a thread of its own, so that nothing that the
//! lab does makes an outage look longer.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tasuki_core::time::WallTime;
use tokio::sync::{mpsc, watch};

use crate::app::wall_now;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(10);
/// A question that is not answered in this time is asked again.
const PATIENCE: Duration = Duration::from_millis(200);
/// No answer is longer.
const LONGEST_ANSWER: u64 = 4096;

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The server.
    pub(super) server: String,
    /// The service's process: another one is another start.
    pub(super) pid: u32,
}

/// A time without answers that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outage {
    /// From the last answer to the next one, milliseconds.
    pub(super) ms: u64,
    /// Who had answered before.
    pub(super) from: String,
    /// Who answered then.
    pub(super) to: String,
    /// When it was over.
    pub(super) ended: WallTime,
}

/// How the service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Service {
    /// Who answers, or answered last.
    pub(super) by: Option<Answer>,
    /// The last question was answered.
    pub(super) up: bool,
    /// Since when it is up or down.
    pub(super) since: WallTime,
    /// The last time without answers.
    pub(super) last_outage: Option<Outage>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub(super) enum Change {
    /// Answered for the first time.
    #[serde(rename = "service_up")]
    Up {
        /// By whom.
        server: String,
    },
    /// Not answered any more.
    #[serde(rename = "service_down")]
    Down {
        /// Who answered last.
        server: String,
    },
    /// Answered again, or by another instance.
    #[serde(rename = "service_back")]
    Back(Outage),
}

/// Turns answers into what changed.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    last_answer: Option<Instant>,
    pub(super) service: Service,
}

impl Tracker {
    /// One question's outcome, known at `now`.
    pub(super) fn on(&mut self, outcome: Option<Answer>, now: Instant, wall: WallTime) -> Option<Change> {
        let Some(answer) = outcome else {
            if !self.service.up {
                return None;
            }
            self.service.up = false;
            self.service.since = wall;
            let server = self.service.by.as_ref()?.server.clone();
            return Some(Change::Down { server });
        };
        let before = self.last_answer.replace(now);
        let server = answer.server.clone();
        let same = self.service.up && self.service.by.as_ref() == Some(&answer);
        let was = self.service.by.replace(answer);
        if same {
            return None;
        }
        self.service.up = true;
        self.service.since = wall;
        let (Some(was), Some(before)) = (was, before) else { return Some(Change::Up { server }) };
        let ms = u64::try_from(now.duration_since(before).as_millis()).unwrap_or(u64::MAX);
        let outage = Outage { ms, from: was.server, to: server, ended: wall };
        self.service.last_outage = Some(outage.clone());
        Some(Change::Back(outage))
    }
}

/// What the client sees: how the service is, and what changed when.
pub(super) type Watched = (watch::Receiver<Service>, mpsc::UnboundedReceiver<(WallTime, Change)>);

/// Asks until nobody wants to know any more. Always a new connection: an old one would show
/// nothing of a new owner.
pub(super) fn watch(at: SocketAddr) -> io::Result<Watched> {
    let (view, seen) = watch::channel(Service::default());
    let (tell, changes) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("client".to_owned()).spawn(move || {
        let mut tracker =
            Tracker { service: Service { since: wall_now(), ..Service::default() }, ..Tracker::default() };
        while !tell.is_closed() {
            let asked = Instant::now();
            let outcome = ask(at).ok();
            let wall = wall_now();
            if let Some(change) = tracker.on(outcome, Instant::now(), wall) {
                let _nobody_listens = tell.send((wall, change));
                view.send_replace(tracker.service.clone());
            }
            std::thread::sleep(EVERY.saturating_sub(asked.elapsed()));
        }
    })?;
    Ok((seen, changes))
}

/// One question.
pub(super) fn ask(at: SocketAddr) -> io::Result<Answer> {
    let mut connection = TcpStream::connect_timeout(&at, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    (&connection).take(LONGEST_ANSWER).read_to_string(&mut text)?;
    // A hundred connections a second must not leave as many waiting for their last packet.
    SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(serde_json::from_str(body)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_last_answer_to_the_next() {
        let mut tracker = Tracker::default();
        let start = Instant::now();
        let mut at = |ms: u64, who: Option<(&str, u32)>| {
            let answer = who.map(|(server, pid)| Answer { server: server.to_owned(), pid });
            tracker.on(answer, start + Duration::from_millis(ms), WallTime(ms))
        };
        assert_eq!(at(0, None), None);
        assert_eq!(at(5, Some(("kiki", 1))), Some(Change::Up { server: "kiki".into() }));
        assert_eq!(at(15, Some(("kiki", 1))), None);
        assert_eq!(at(25, None), Some(Change::Down { server: "kiki".into() }));
        assert_eq!(at(35, None), None);
        let outage = |ms, from: &str, to: &str, ended| Outage {
            ms,
            from: from.into(),
            to: to.into(),
            ended: WallTime(ended),
        };
        assert_eq!(at(45, Some(("lala", 2))), Some(Change::Back(outage(30, "kiki", "lala", 45))));
        // Another process between two questions: nobody noticed, but it is worth a line.
        assert_eq!(at(55, Some(("lala", 3))), Some(Change::Back(outage(10, "lala", "lala", 55))));
        assert_eq!(tracker.service.last_outage.as_ref().unwrap().ms, 10);
        assert!(tracker.service.up && tracker.service.since == WallTime(55));
    }
}
