//! The lab's own process: forms the cluster, shows the service, does what the verbs ask, and takes
//! everything down when it ends, however it is asked to.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::json;
use tasuki_core::time::WallTime;
use tasuki_system::process::ProcessId;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};

use super::{
    control::{self, Request, Response},
    error::LabError,
    folder::{self, Lock},
    form::{self, GuardEnded, step},
    place::{self, Reservation},
    power,
    screen::{self, Screen},
    service::{self, Service},
    state::{Lab, LabState, SERVERS, ServerPower},
};
use crate::{app::wall_now, cli::output::Style};

/// How often the changing line is looked at.
const REDRAW: Duration = Duration::from_millis(100);
/// How long the demonstration may take to answer once the cluster has formed.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// Runs a lab until somebody ends it.
pub(super) fn run(folder: &Path, keep: bool, screen: &mut Screen, hints: &Hints) -> Result<(), LabError> {
    let began = Instant::now();
    let (_lock, _reservation, mut lab) = open(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting the runtime"))?;
    let ended = runtime.block_on(live(&mut lab, screen, hints, began));
    runtime.shutdown_background();
    screen.end_live();
    // Before the lock is let go: a verb that waits for it finds nothing of this lab.
    let down = take_down(&mut lab, keep);
    let why = ended?;
    down?;
    let place = folder.display();
    let rest = if keep { format!("{place} is kept") } else { format!("{place} is removed") };
    screen.event(&json!({ "event": "down", "because": why }), &format!("{why}: everything is down, {rest}"));
    Ok(())
}

/// What the operator types next.
#[derive(Debug)]
pub(super) struct Hints {
    /// This program as it was called.
    pub(super) program: String,
    /// `lab`, with the folder when it is not the usual one.
    pub(super) lab: String,
}

/// Makes a folder for a lab that has not begun.
fn open(folder: &Path) -> Result<(Lock, Reservation, Lab), LabError> {
    folder::make(folder)?;
    let taken = |what| LabError::Taken { what, place: folder.to_owned() };
    let lock = Lock::make(folder)?.ok_or_else(|| taken("a lab runs already"))?;
    if let Some(before) = Lab::load(folder)? {
        if before.state.kept {
            return Err(taken("a lab was kept"));
        }
        if SERVERS.iter().any(|server| before.is_on(server)) {
            return Err(taken("servers still run of a lab whose own process was killed"));
        }
        // It ended with the machine: nothing of it runs, and nobody asked for it to be kept.
        for server in SERVERS {
            power::off(&before, server)?;
        }
        folder::remove(folder)?;
        return open(folder);
    }
    let process = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
    let process =
        process.ok_or_else(|| LabError::io("reading /proc")(io::Error::from(io::ErrorKind::NotFound)))?;
    let prepared = place::reserve().and_then(|reservation| {
        let place = reservation.place;
        let state = LabState { process, began: wall_now(), place, kept: false, servers: Default::default() };
        let lab = Lab { folder: folder.to_owned(), state };
        lab.save()?;
        let config = place::configuration(place, &power::program()?);
        std::fs::write(folder.join("cluster.toml"), config)
            .map_err(LabError::io("writing the configuration"))?;
        Ok((reservation, lab))
    });
    match prepared {
        Ok((reservation, lab)) => Ok((lock, reservation, lab)),
        Err(error) => {
            folder::remove(folder)?;
            Err(error)
        }
    }
}

/// Everything of every server, at once.
pub(super) fn take_down(lab: &mut Lab, keep: bool) -> Result<(), LabError> {
    let ended: Vec<Result<(), LabError>> = std::thread::scope(|scope| {
        let lab = &*lab;
        let ending = SERVERS.map(|server| scope.spawn(move || power::off(lab, server)));
        ending.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    ended.into_iter().collect::<Result<Vec<()>, _>>()?;
    for power in lab.state.servers.values_mut() {
        power.guard = None;
    }
    if !keep {
        return folder::remove(&lab.folder);
    }
    lab.state.kept = true;
    lab.save()
}

/// Forms the cluster and serves until the lab is to end; why that is.
async fn live(
    lab: &mut Lab,
    screen: &mut Screen,
    hints: &Hints,
    began: Instant,
) -> Result<&'static str, LabError> {
    // Before the first server starts: from here on nothing ends this process in between.
    let mut signals = Signals::new().map_err(LabError::io("signals"))?;
    let (ends, mut ended) = mpsc::unbounded_channel();
    introduce(lab, screen);
    tokio::select! {
        why = signals.next() => return Ok(why),
        formed = form::form(lab, &ends, screen) => formed?,
    }
    let (seen, mut changes) =
        service::watch(lab.state.place.service()).map_err(LabError::io("starting a thread"))?;
    let first = tokio::select! {
        why = signals.next() => return Ok(why),
        first = tokio::time::timeout(SERVES_WITHIN, changes.recv()) => first,
    };
    let Ok(Some((_, service::Change::Up { server }))) = first else {
        return Err(LabError::Step {
            step: "the demonstration service".to_owned(),
            why: format!("no answer within {} s", SERVES_WITHIN.as_secs()),
            log: lab.log(SERVERS[0]),
        });
    };
    step(screen, "serves", &format!("http://{}/ from {server}", lab.state.place.service()), began);
    let requests = UnixListener::bind(lab.socket()).map_err(LabError::io("the lab's socket"))?;
    suggest(lab, screen, hints, &server);

    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            why = signals.next() => return Ok(why),
            Some((at, change)) = changes.recv() => {
                let text = screen::change(at, &change, screen.color());
                screen.event(&Seen { at, change }, &text);
            }
            Some(guard) = ended.recv() => tell_end(lab, screen, &guard)?,
            Ok((stream, _)) = requests.accept() => serve(lab, screen, stream, &seen, &ends).await,
            _ = redraw.tick() => {}
        }
        let line = screen::service(&seen.borrow(), wall_now(), screen.color());
        screen.live(line);
    }
}

/// A change of the service, for programs.
#[derive(Serialize)]
struct Seen {
    at: WallTime,
    #[serde(flatten)]
    change: service::Change,
}

/// What asks this process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "asked to end",
            _ = self.hangup.recv() => "the terminal is gone",
            _ = self.quit.recv() => "asked to quit",
        }
    }
}

/// One request of a verb in another terminal.
async fn serve(
    lab: &mut Lab,
    screen: &mut Screen,
    mut stream: UnixStream,
    seen: &watch::Receiver<Service>,
    ends: &mpsc::UnboundedSender<GuardEnded>,
) {
    let Some(request) = control::hear(&mut stream).await else { return };
    let response = if request == Request::Service {
        Response::Service(seen.borrow().clone())
    } else {
        let at = wall_now();
        // The client that measures has a thread of its own: this may take its time.
        match control::perform(lab, &request, ends) {
            Ok(done) => {
                let stamp = Style::Dim.paint(&screen::clock(at), screen.color());
                let text = format!("{stamp}  {}", Style::Bold.paint(&done.text, screen.color()));
                screen.event(&done.event, &text);
                Response::Done { event: done.event, text: done.text }
            }
            Err(error) => error.into(),
        }
    };
    control::answer(&mut stream, &response).await;
}

/// A guard has ended. When the lab did not do it, that is worth a line.
fn tell_end(lab: &mut Lab, screen: &mut Screen, ended: &GuardEnded) -> Result<(), LabError> {
    let GuardEnded { server, pid, how, in_order } = ended;
    let log = lab.log(server);
    let Some(power) = lab.state.servers.get_mut(server) else { return Ok(()) };
    if power.guard.is_none_or(|guard| guard.pid.cast_unsigned() != *pid) {
        return Ok(());
    }
    let at = wall_now();
    let text = if *in_order {
        *power = ServerPower { guard: None, since: at };
        lab.save()?;
        format!("{server} has stopped in order")
    } else {
        format!("the guard of {server} has ended ({how}); its log is {}", log.display())
    };
    let stamp = Style::Dim.paint(&screen::clock(at), screen.color());
    let value =
        json!({ "at": at, "event": "guard_ended", "server": server, "how": how, "in_order": in_order });
    screen.event(&value, &format!("{stamp}  {text}"));
    Ok(())
}

fn introduce(lab: &Lab, screen: &mut Screen) {
    let place = lab.state.place;
    let text = format!(
        "A Tasuki lab in {}: {} on 127.{octet}.1.1-3 (interconnect) and 127.{octet}.2.1-3 (public)",
        lab.folder.display(),
        SERVERS.join(", "),
        octet = place.octet,
    );
    let value = json!({ "event": "begins", "folder": lab.folder, "place": place, "servers": SERVERS });
    screen.event(&value, &text);
}

fn suggest(lab: &Lab, screen: &mut Screen, hints: &Hints, server: &str) {
    let Hints { program, lab: word } = hints;
    let other = SERVERS.iter().find(|name| **name != server).unwrap_or(&SERVERS[0]);
    let data = lab.data(other);
    let verbs = [
        (format!("{word} kill {server}"), "the power of the server that serves fails"),
        (format!("{word} start {server}"), "... and is back"),
        (format!("{word} cut {server}"), "its cables are cut (only one: cut NAME public)"),
        (format!("{word} heal"), "... and plugged in again"),
        (format!("{word} status"), "how the cluster sees itself"),
        (format!("{word} down"), "take everything down; Ctrl-C here does the same"),
    ];
    let width = verbs.iter().map(|(verb, _)| verb.len()).max().unwrap_or(0);
    let mut text = "\nType next, in another terminal:\n".to_owned();
    for (verb, what) in verbs {
        text.push_str(&format!("  {program} {verb:<width$}  {what}\n"));
    }
    let data = data.display();
    text.push_str(&format!(
        "Every other command works with the folder of a server:\n  {program} --data {data} group move demo\n"
    ));
    screen.say(&text);
}
