//! What the verbs ask of the lab's own process: one line of JSON there, one back. Without that
//! process, because it was killed, a verb does the same by itself.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream as StdStream,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tasuki_core::time::WallTime;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader as AsyncReader},
    net::UnixStream,
    sync::mpsc,
};

use super::{
    cables,
    error::LabError,
    folder::Lock,
    form, power,
    service::Service,
    state::{Lab, SERVERS, ServerPower, network},
};
use crate::app::{AppError, wall_now};

/// How long the lab's own process may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a verb may take to say what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
const LONGEST_REQUEST: u64 = 4096;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(super) enum Request {
    /// Take a server's power away.
    Kill { server: String },
    /// Give it power again.
    Start { server: String },
    /// Cut its cables, all or those of one network.
    Cut { server: String, network: Option<String> },
    /// Mend its cables, or everybody's.
    Heal { server: Option<String> },
    /// How the service has been.
    Service,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Response {
    /// Done.
    Done { event: Value, text: String },
    /// The service.
    Service(Service),
    /// Not done.
    Failed { code: String, message: String, remedy: String, exit: u8 },
}

/// What was done, for programs and for people.
pub(super) struct Done {
    pub(super) event: Value,
    pub(super) text: String,
}

/// Carries a request out. `ends` hears of the end of a guard that is started.
pub(super) fn perform(
    lab: &mut Lab,
    request: &Request,
    ends: &mpsc::UnboundedSender<form::GuardEnded>,
) -> Result<Done, LabError> {
    let done = |event: &str, server: &str, text: String| Done {
        event: json!({ "at": wall_now(), "event": event, "server": server }),
        text,
    };
    match request {
        Request::Kill { server } => {
            let server = lab.server(server)?;
            // A guard that ended by itself may have left programs.
            if lab.state.servers.get(&server).is_none_or(|power| power.guard.is_none()) {
                return Err(LabError::Already { server, is: "off" });
            }
            power::off(lab, &server)?;
            lab.state.servers.insert(server.clone(), ServerPower { guard: None, since: wall_now() });
            lab.save()?;
            Ok(done("killed", &server, format!("{server} has lost its power")))
        }
        Request::Start { server } => {
            let server = lab.server(server)?;
            if !lab.is_on(&server) {
                // A guard that died by itself has left its programs running; a machine that starts
                // has none.
                power::off(lab, &server)?;
            }
            form::start(lab, &server, ends)?;
            Ok(done("started", &server, format!("{server} starts")))
        }
        Request::Cut { server, network: name } => {
            let server = lab.server(server)?;
            let name = name.as_deref().map(network).transpose()?;
            cables::cut(lab, &server, name.as_deref())?;
            let what =
                name.as_ref().map_or_else(|| "all networks".to_owned(), |name| format!("network {name}"));
            let mut cut = done("cut", &server, format!("{server} is cut off from {what}"));
            cut.event["network"] = json!(name);
            Ok(cut)
        }
        Request::Heal { server } => {
            let servers = match server {
                Some(server) => vec![lab.server(server)?],
                None => SERVERS.map(str::to_owned).to_vec(),
            };
            let mut healed = Vec::new();
            for server in servers {
                if cables::heal(lab, &server)? {
                    healed.push(server);
                }
            }
            let text = match &healed[..] {
                [] => "no cable was cut".to_owned(),
                healed => format!("all cables of {} are plugged in again", healed.join(" and ")),
            };
            Ok(Done { event: json!({ "at": wall_now(), "event": "healed", "servers": healed }), text })
        }
        Request::Service => Ok(Done { event: Value::Null, text: String::new() }),
    }
}

/// The lab's own process: reads what a verb wants.
pub(super) async fn hear(stream: &mut UnixStream) -> Option<Request> {
    let mut line = String::new();
    let mut reader = AsyncReader::new(stream.take(LONGEST_REQUEST));
    tokio::time::timeout(REQUEST_WITHIN, reader.read_line(&mut line)).await.ok()?.ok()?;
    serde_json::from_str(&line).ok()
}

/// The lab's own process: answers.
pub(super) async fn answer(stream: &mut UnixStream, response: &Response) {
    let mut line = serde_json::to_vec(response).unwrap_or_default();
    line.push(b'\n');
    let _the_verb_was_interrupted = tokio::time::timeout(REQUEST_WITHIN, stream.write_all(&line)).await;
}

impl From<LabError> for Response {
    fn from(error: LabError) -> Self {
        let error = AppError::from(error);
        Self::Failed {
            code: error.code().to_owned(),
            message: error.to_string(),
            remedy: error.remedy().to_owned(),
            exit: error.exit() as u8,
        }
    }
}

/// A verb: has the request carried out, by the lab's own process where there is one.
pub(super) fn request(lab: &mut Lab, request: &Request) -> Result<Done, LabError> {
    if let Some(_held) = Lock::take(&lab.folder)? {
        let (ends, _nobody) = mpsc::unbounded_channel();
        return perform(lab, request, &ends);
    }
    match ask(lab, request)? {
        Response::Done { event, text } => Ok(Done { event, text }),
        Response::Service(_) => Ok(Done { event: Value::Null, text: String::new() }),
        Response::Failed { code, message, remedy, exit } => {
            Err(LabError::Told { code, message, remedy, exit })
        }
    }
}

/// How the service has been, from the process that has asked it all the time.
pub(super) fn service(lab: &Lab) -> Option<Service> {
    match ask(lab, &Request::Service).ok()? {
        Response::Service(service) => Some(service),
        _ => None,
    }
}

fn ask(lab: &Lab, request: &Request) -> Result<Response, LabError> {
    let pid = lab.state.process.pid;
    let silent = |why: String| LabError::Silent { pid, why };
    let talk = || -> std::io::Result<String> {
        let mut stream = StdStream::connect(lab.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => silent("it is still starting the servers".to_owned()),
        std::io::ErrorKind::WouldBlock => silent(format!("nothing within {} s", PATIENCE.as_secs())),
        _ => silent(error.to_string()),
    })?;
    serde_json::from_str(&answer).map_err(|error| silent(error.to_string()))
}

/// How long ago.
pub(super) fn since_ms(at: WallTime) -> u64 {
    wall_now().0.saturating_sub(at.0)
}
