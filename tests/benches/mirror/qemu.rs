//! qemu's user-space mirrors: one file here, one behind NBD over TCP.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{Bench, has};

/// What the export is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One file.
    Alone,
    /// Two, each write waiting for both.
    Quorum,
    /// One, whose writes wait for a job that makes them on the other too.
    Mirror,
}

/// Its daemons.
pub struct Qemu {
    /// Of the export, which is named `q`.
    pub socket: String,
    daemons: Vec<Child>,
    _words: Words,
}

impl Qemu {
    /// `None` where it is not installed.
    pub fn start(bench: &Bench, kind: Kind) -> Option<Self> {
        if !has("qemu-storage-daemon") {
            return None;
        }
        let file = |name: &str| bench.file(&format!("{kind:?}-{name}")).display().to_string();
        let socket = bench.folder.join(format!("{kind:?}.nbd")).display().to_string();
        let mut daemons = Vec::new();
        let mut near = Command::new("qemu-storage-daemon");
        near.args(["--blockdev", &format!("driver=file,node-name=a,filename={}", file("near"))]);
        if kind != Kind::Alone {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            daemons.push(far(&file("far"), port));
            near.args(["--blockdev", &format!("driver=nbd,node-name=b,server.type=inet,server.host=127.0.0.1,server.port={port},export=b")]);
        }
        if kind == Kind::Quorum {
            near.args([
                "--blockdev",
                "driver=quorum,node-name=q,read-pattern=fifo,vote-threshold=1,children.0=a,children.1=b",
            ]);
        }
        let node = if kind == Kind::Quorum { "q" } else { "a" };
        near.args(["--nbd-server", &format!("addr.type=unix,addr.path={socket},max-connections=64")])
            .args(["--export", &format!("type=nbd,id=e,node-name={node},name=q,writable=on")])
            .args(["--chardev", "stdio,id=c", "--monitor", "chardev=c"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut near = near.spawn().unwrap();
        let mut words =
            Words { to: near.stdin.take().unwrap(), from: BufReader::new(near.stdout.take().unwrap()) };
        daemons.push(near);
        if kind == Kind::Mirror {
            words.say("qmp_capabilities", &json!({}), "return");
            let job = json!({
                "job-id": "m", "device": "a", "target": "b", "sync": "full", "copy-mode": "write-blocking",
            });
            words.say("blockdev-mirror", &job, "BLOCK_JOB_READY");
        }
        while !Path::new(&socket).exists() {
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { socket, daemons, _words: words })
    }
}

/// The daemon on the other side.
fn far(file: &str, port: u16) -> Child {
    let daemon = Command::new("qemu-storage-daemon")
        .args(["--blockdev", &format!("driver=file,node-name=f,filename={file}")])
        .args(["--nbd-server", &format!("addr.type=inet,addr.host=127.0.0.1,addr.port={port}")])
        .args(["--export", "type=nbd,id=e,node-name=f,name=b,writable=on"])
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    daemon
}

/// What is said to a daemon.
struct Words {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Words {
    /// Says this, and waits until something of this kind is told: an answer, or an event.
    fn say(&mut self, what: &str, arguments: &Value, until: &str) {
        writeln!(self.to, "{}", json!({ "execute": what, "arguments": arguments })).unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "qemu-storage-daemon has ended");
            let told: Value = serde_json::from_str(&line).unwrap();
            assert!(told.get("error").is_none(), "{what}: {told}");
            if told.get(until).is_some() || told["event"] == until {
                return;
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _it_has_ended = daemon.kill();
            let _it_has_ended = daemon.wait();
        }
    }
}
