//! `tasuki __demo-http`: a small HTTP service for demonstrations and tests. Every request is
//! answered with one line of JSON that says which server answers, so that a client outside can tell
//! who held the address when.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::args::DemoHttpArgs;
use crate::app::{AppError, wall_now};

/// A client that says nothing is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// A request line and headers longer than this are cut off.
const REQUEST: usize = 8 * 1024;

/// Serves until it is killed.
pub(super) fn serve(arguments: &DemoHttpArgs) -> Result<(), AppError> {
    let listen = arguments.listen;
    let listener =
        bind(listen).map_err(|error| AppError::Failed(format!("cannot listen on {listen}: {error}")))?;
    let body = format!("{}\n", about_me());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    for client in listener.incoming() {
        match client {
            // One at a time: an answer takes microseconds, a silent client gets a thread's patience.
            Ok(client) => {
                let answer = answer.clone();
                let spawned = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                    // The client has gone: nobody to tell.
                    let _ = reply(client, &answer);
                });
                if let Err(error) = spawned {
                    eprintln!("no thread for a client: {error}");
                }
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
    Ok(())
}

/// As the environment of an exec resource says it. The server's own name is asked for first: several
/// servers of a lab share one host.
fn about_me() -> serde_json::Value {
    let variable = |name: &str| std::env::var(name).ok();
    serde_json::json!({
        "server": variable("TASUKI_SERVER").unwrap_or_else(host),
        "pid": std::process::id(),
        "epoch": variable("TASUKI_EPOCH").and_then(|epoch| epoch.parse::<u64>().ok()),
        "since": wall_now(),
    })
}

fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "?".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn bind(listen: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of before.
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn reply(mut client: TcpStream, answer: &str) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut seen = Vec::with_capacity(512);
    let mut buffer = [0; 512];
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") && seen.len() < REQUEST {
        match client.read(&mut buffer)? {
            0 => break,
            count => seen.extend_from_slice(&buffer[..count]),
        }
    }
    client.write_all(answer.as_bytes())
}
