//! Servers on real hosts that get no time: starved of the processor, or frozen for longer than their
//! lease and thawed after another one has taken over.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tasuki_tests::{
    hosts::{Cluster, GROUP, Groups, Make, await_some, await_true},
    network::{Lab, Network},
};

fn possible(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    let why = Lab::impossible().or_else(|| missing.map(|tool| format!("`{tool}` is missing")));
    if let Some(why) = &why {
        println!("skipped, because {why}");
    }
    why.is_none()
}

/// A service that hands what it is sent to what all servers share, with the ownership that it was
/// started under, and answers what that says.
const SERVICE: &str = r#"
import os, socket, sys
shared, address = sys.argv[1], sys.argv[2]
epoch = int(os.environ["TASUKI_EPOCH"])
listener = socket.create_server((address, 8080), reuse_port=False)
while True:
    client, _ = listener.accept()
    with client, socket.socket(socket.AF_UNIX) as resource:
        number = client.makefile("rb").readline().strip()
        if not number:
            continue
        resource.connect(shared)
        resource.sendall(number + b" %d\n" % epoch)
        answer = resource.makefile("rb").readline()
        try:
            client.sendall(answer)
        except OSError:
            pass
"#;

/// What all servers share: keeps every line, a number and the ownership that it came from. When it
/// `checks`, it refuses what is older than what it has seen, as a resource with fencing tokens does.
/// It is no part of any server: a lock in a file would stay with a server that is frozen.
#[derive(Clone)]
struct Shared {
    lines: Arc<Mutex<Vec<(u64, u64)>>>,
    checks: bool,
}

impl Shared {
    /// Served at this socket until the test ends. A thread for each caller: a frozen one may have
    /// sent half a line.
    fn start(socket: &Path, checks: bool) -> Self {
        let shared = Self { lines: Arc::default(), checks };
        let (listener, it) = (UnixListener::bind(socket).unwrap(), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let it = it.clone();
                std::thread::spawn(move || it.serve(&stream));
            }
        });
        shared
    }

    fn serve(&self, stream: &UnixStream) -> Option<()> {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        let (number, epoch) = line.strip_suffix('\n')?.split_once(' ')?;
        let taken = self.take(number.parse().ok()?, epoch.parse().ok()?);
        writeln!(&mut &*stream, "{}", if taken { "done" } else { "refused" }).ok()
    }

    fn take(&self, number: u64, epoch: u64) -> bool {
        let mut lines = self.lines.lock().unwrap();
        let old = lines.last().is_some_and(|(_, last)| *last > epoch);
        if !(self.checks && old) {
            lines.push((number, epoch));
        }
        !(self.checks && old)
    }

    fn lines(&self) -> Vec<(u64, u64)> {
        self.lines.lock().unwrap().clone()
    }

    fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// The ownership that the last line came from.
    fn last(&self) -> Option<u64> {
        self.lines.lock().unwrap().last().map(|(_, epoch)| *epoch)
    }
}

/// A client that counts: the next number only when the one before was answered.
fn count(target: SocketAddr, stop: &AtomicBool) -> u64 {
    let patience = Duration::from_millis(250);
    let ask = |number: u64| {
        let mut stream = TcpStream::connect_timeout(&target, patience)?;
        stream.set_read_timeout(Some(patience))?;
        writeln!(stream, "{number}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok::<bool, std::io::Error>(line == "done\n")
    };
    let mut number = 1;
    while !stop.load(Ordering::Relaxed) {
        match ask(number) {
            Ok(true) => number += 1,
            Ok(false) | Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    number - 1
}

/// Lines of an older ownership after one of a newer.
fn interleaved(lines: &[(u64, u64)]) -> usize {
    let mut newest = 0;
    let late = lines.iter().filter(|(_, epoch)| {
        newest = newest.max(*epoch);
        *epoch < newest
    });
    late.count()
}

/// `silent`: its kernel answers nobody either, as a paused virtual machine; else it goes on to answer
/// for the address, and to take connections that nobody serves.
fn frozen_and_thawed(checks: bool, silent: bool) -> Vec<(u64, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let (script, socket) = (folder.path().join("service.py"), folder.path().join("shared"));
    fs::write(&script, SERVICE).unwrap();
    let shared = Shared::start(&socket, checks);
    let service = format!("python3 {} {}", script.display(), socket.display());
    let make = Make::with_detect(Duration::from_secs(2)).unwrap();
    let cluster = Cluster::start(Make { service: Some(service), ..make }).unwrap();
    let (active, _) = await_some("an active server", || Ok(cluster.active_and_leader().ok())).unwrap();
    let pause = cluster.lab().can_pause(active).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (until, target) = (Arc::clone(&stop), cluster.target());
    let inside = cluster.lab().client().on_network(|| std::thread::spawn(move || count(target, &until)));
    let counting = inside.unwrap();
    await_true("some lines", || Ok(shared.len() > 100)).unwrap();
    let before = shared.last().unwrap();
    if silent {
        cluster.lab().black_hole(active, &Network::ALL).unwrap();
    }
    pause.freeze().unwrap();
    let frozen = Instant::now();
    let other =
        await_true("lines of another ownership", || Ok(shared.last().is_some_and(|epoch| epoch > before)));
    if let Err(error) = other {
        for server in 0..3 {
            let log = fs::read_to_string(cluster.log(server)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("log of {server}:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        panic!("{error}");
    }
    let taken = frozen.elapsed();
    let length = shared.len();
    await_true("more of them", || Ok(shared.len() > length + 100)).unwrap();
    if silent {
        cluster.lab().heal(active, &Network::ALL).unwrap();
    }
    pause.thaw().unwrap();
    await_true("the old owner's end", || {
        Ok(fs::read_to_string(cluster.log(active)).unwrap_or_default().contains("stopped what ran"))
    })
    .unwrap();
    let length = shared.len();
    await_true("more lines after that", || Ok(shared.len() > length + 100)).unwrap();
    stop.store(true, Ordering::Relaxed);
    let answered = counting.join().unwrap();
    let lines = shared.lines();
    let written: BTreeMap<u64, u64> = lines.iter().copied().collect();
    assert!((1..=answered).all(|number| written.contains_key(&number)), "an answered number is missing");
    println!(
        "{GROUP} with a service whose resource {}: taken over {taken:?} after the freeze, {} lines, {answered} \
         answered, {} of the old owner after the new one's first",
        if checks { "checks" } else { "trusts" },
        lines.len(),
        interleaved(&lines)
    );
    lines
}

/// R36: a shared resource that refuses what is older than what it has seen sees nothing of the old
/// owner any more.
#[test]
fn r36_what_a_frozen_owner_had_begun_does_not_come_between_after_its_thaw() {
    if possible(&["python3"]) {
        assert_eq!(interleaved(&frozen_and_thawed(true, true)), 0);
        assert_eq!(interleaved(&frozen_and_thawed(true, false)), 0);
    }
}

/// R36 says what cannot be promised without that, and without a fence: measured, not asserted.
#[test]
#[ignore = "a measurement: just pictures"]
fn what_a_frozen_owner_still_writes_where_nobody_checks() {
    if possible(&["python3"]) {
        frozen_and_thawed(false, true);
    }
}

/// Loops that run until dropped, each of which would keep a core busy.
struct Busy(Vec<Child>);

impl Busy {
    fn start(loops: usize) -> Self {
        let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..loops).map(|_| busy()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// A group on every server, and everything of Tasuki started with the least share of the processor.
fn unimportant(detect: Duration) -> Cluster {
    let make = Make::with_detect(detect).unwrap();
    Cluster::start(Make { groups: Groups::OnEveryServer, nice: 19, ..make }).unwrap()
}

/// Whether every server's node lives through this many seconds beside busy loops, and in how many terms.
fn lives_beside(
    loops: usize,
    cluster: &Cluster,
    seconds: u64,
    prepare: impl FnOnce(),
) -> std::io::Result<(bool, u64)> {
    let lives = || {
        let status = cluster.status()?;
        let lives: Vec<u64> = status.servers.iter().map(|server| server.incarnation).collect();
        Ok::<_, std::io::Error>((lives, status.term))
    };
    let (before, term) = lives()?;
    prepare();
    let busy = Busy::start(loops);
    std::thread::sleep(Duration::from_secs(seconds));
    drop(busy);
    cluster.await_whole()?;
    let (after, last) = lives()?;
    Ok((before == after, last - term))
}

/// What Tasuki asks of the kernel by itself is enough, with the default `detect`, however little its
/// starter gave it.
#[test]
fn servers_that_were_started_as_unimportant_are_not_taken_for_lost_on_busy_cores() {
    if !possible(&["nice"]) {
        return;
    }
    let seconds = std::env::var("TASUKI_STARVE").map_or(10, |text| text.parse().unwrap());
    let cluster = unimportant(Duration::from_secs(1));
    let loops = 2 * cores() + 1;
    let (lived, terms) = lives_beside(loops, &cluster, seconds, || {}).unwrap();
    println!("{seconds} s beside {loops} busy loops, started at nice 19: {terms} terms");
    assert!(lived, "a server was taken for lost\n{}", cluster.last_words(40));
}

/// Ordinary scheduling and the least share for every thread of Tasuki on a server, whatever it asked for.
fn starve(cluster: &Cluster, server: usize) {
    for process in cluster.lab().processes(server, &["tasuki"]).unwrap() {
        let pid = process.pid.to_string();
        let done =
            Command::new("chrt").args(["--all-tasks", "--other", "--pid", "0", &pid]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let thread = thread.unwrap().file_name().to_string_lossy().into_owned();
            // A thread may have ended.
            Command::new("renice").args(["-n", "19", "-p", &thread]).output().unwrap();
        }
    }
}

/// Where the kernel permits none of what Tasuki asks for: which `detect` is long enough then.
#[test]
#[ignore = "a measurement of minutes: just pictures"]
fn the_shortest_detect_that_survives_the_least_share_of_busy_cores() {
    if !possible(&["nice", "chrt", "renice"]) {
        return;
    }
    let seconds = std::env::var("TASUKI_STARVE").map_or(30, |text| text.parse().unwrap());
    let survives = |detect: Duration| {
        let cluster = unimportant(detect);
        let starve = || (0..cluster.size()).for_each(|server| starve(&cluster, server));
        let lived = lives_beside(cores(), &cluster, seconds, starve);
        println!("detect {detect:?}, {seconds} s beside a busy loop a core: {lived:?} (all live, terms)");
        lived.is_ok_and(|(lived, _)| lived)
    };
    let shortest =
        [1, 2, 5, 10, 20, 40].map(Duration::from_secs).into_iter().find(|detect| survives(*detect));
    println!("the shortest of these that survived: {shortest:?}");
    assert!(shortest.is_some(), "not even the longest survived");
}
