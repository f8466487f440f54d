//! The lab, as somebody types it. Needs no rights; with them, once more without.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;

/// A busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody's number on most systems; any that is not root's would do.
const NOBODY: u32 = 65534;

/// One lab at a time: three of them would only keep each other waiting.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Lab {
    child: Child,
    lines: mpsc::Receiver<String>,
    folder: PathBuf,
    /// What marks the programs of its servers.
    instances: Vec<String>,
    _parent: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// Starts one and waits until it serves.
    fn up(uid: Option<u32>) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("lab");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
        if let Some(uid) = uid {
            chown(parent.path(), Some(uid), Some(uid)).unwrap();
            command.uid(uid).gid(uid);
        }
        command.args(["lab", "--dir"]).arg(&folder).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.process_group(0).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                println!("    {line}");
                let _ = tell.send(line);
            }
        });
        let mut lab = Self { child, lines, folder, instances: Vec::new(), _parent: parent, _alone: alone };
        lab.line("serves  http://127.");
        lab.line("lab --dir");
        assert_eq!(fs::metadata(&lab.folder).unwrap().permissions().mode() & 0o777, 0o700);
        lab.instances = ["kiki", "lala", "mimi"]
            .map(|server| fs::metadata(lab.folder.join(server)).unwrap())
            .map(|folder| format!("{:x}-{:x}", folder.dev(), folder.ino()))
            .to_vec();
        lab
    }

    /// Waits until it prints a line with this in it.
    fn line(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("it never printed {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        tasuki(&self.folder, arguments)
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.done(&["status", "--json"])).unwrap()
    }

    /// Waits until the status is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "never: {what}; {status:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Who answers the client now.
    fn active(&self) -> String {
        let status = self.until("the service answers", |status| status["answered_by"].is_object());
        status["answered_by"]["server"].as_str().unwrap().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the lab does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Processes of the lab that have not ended, by command line.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder.to_str().unwrap();
        let of_lab = |place: PathBuf| {
            let read = |name: &str| {
                let bytes = fs::read(place.join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let (words, environment) = (read("cmdline"), read("environ"));
            let marked = |mark: &String| environment.contains(&format!("TASUKI_RESOURCE={mark}/"));
            let ours = words.contains(folder) || environment.contains(folder);
            (ours || self.instances.iter().any(marked)).then_some(words)
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
        entries.filter_map(of_lab).filter(|words| !words.is_empty()).collect()
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert!(!self.folder.exists(), "its folder is left");
        for hierarchy in ["/sys/fs/cgroup/tasuki", "/sys/fs/cgroup/unified/tasuki"] {
            for instance in &self.instances {
                assert!(!Path::new(hierarchy).join(instance).exists(), "a control group is left");
            }
        }
    }
}

impl Drop for Lab {
    /// A test that failed leaves nothing behind either.
    fn drop(&mut self) {
        if self.folder.exists() {
            let _ = tasuki(&self.folder, &["down"]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tasuki(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
    command.args(["lab", "--dir"]).arg(folder).args(arguments).output().unwrap()
}

fn refused(output: &Output, exit: i32, part: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{error}");
    assert!(error.contains(part), "{error}");
}

fn all_up(status: &Value) -> bool {
    let servers = status["cluster"]["servers"].as_array();
    servers.is_some_and(|servers| {
        servers.len() == 3
            && servers.iter().all(|server| server["state"] == "up" && server["silent"] == false)
    })
}

/// Kill, start, cut and heal, each with the service coming back.
fn survives_faults(lab: &Lab) {
    let first = lab.active();
    assert!(lab.done(&["kill", &first]).contains("has lost its power"));
    let line = lab.line("service up after");
    assert!(!line.contains(&format!("on {first}, was")), "{line}");
    let second = lab.active();
    assert_ne!(second, first);
    let status = lab.status();
    assert!(status["service"]["last_outage"]["ms"].as_u64().unwrap() > 0, "{status:#}");
    refused(&lab.run(&["kill", &first]), 4, "TSK-1696");

    lab.done(&["start", &first]);
    refused(&lab.run(&["start", &first]), 4, "TSK-1696");
    lab.until("all servers are up again", all_up);

    let second = lab.active();
    lab.done(&["cut", &second]);
    lab.until("another server serves", |status| {
        status["answered_by"]["server"].as_str().is_some_and(|server| server != second)
    });
    assert!(lab.done(&["status"]).contains(&format!("{second} is cut off from all networks")));
    lab.done(&["heal"]);
    lab.until("the server that was cut off is back", all_up);
}

#[test]
fn the_service_survives_and_ctrl_c_leaves_nothing() {
    let mut lab = Lab::up(None);
    assert!(lab.processes().len() >= 8, "{:?}", lab.processes());
    survives_faults(&lab);
    lab.signal(Signal::SIGINT);
    assert!(lab.wait().success());
    lab.line("everything is down");
    lab.nothing_is_left();
}

#[test]
fn without_rights_it_is_the_same() {
    if !geteuid().is_root() {
        println!("skipped, because these tests have no rights anyway");
        return;
    }
    let version =
        Command::new(env!("CARGO_BIN_EXE_tasuki")).arg("--version").uid(NOBODY).gid(NOBODY).output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("skipped, because another user cannot run this program where it is");
        return;
    }
    let mut lab = Lab::up(Some(NOBODY));
    survives_faults(&lab);
    // The terminal's window is closed.
    lab.signal(Signal::SIGHUP);
    assert!(lab.wait().success());
    lab.nothing_is_left();
}

#[test]
fn one_of_two_cables_is_not_missed() {
    let mut lab = Lab::up(None);
    let active = lab.active();
    lab.done(&["cut", &active, "interconnect"]);
    lab.until("the path is lost", |status| {
        let servers = status["cluster"]["servers"].as_array().cloned().unwrap_or_default();
        let paths = servers.iter().flat_map(|server| server["paths"].as_array().cloned().unwrap_or_default());
        paths.filter(|path| path["network"] == "interconnect" && path["state"] == "error").count() >= 1
    });
    assert_eq!(lab.active(), active);
    lab.done(&["heal", &active]);
    lab.done(&["down"]);
    assert!(lab.wait().success());
    lab.nothing_is_left();
}

#[test]
fn what_a_killed_lab_left_is_taken_down() {
    let mut lab = Lab::up(None);
    lab.signal(Signal::SIGKILL);
    lab.wait();
    // The servers go on, and the verbs still work.
    let active = lab.active();
    refused(&lab.run(&["up"]), 4, "TSK-1691");
    lab.done(&["kill", &active]);
    lab.until("another server serves", |status| {
        status["answered_by"]["server"].as_str().is_some_and(|server| server != active)
    });
    assert!(lab.done(&["down"]).contains("everything is down"));
    lab.nothing_is_left();
    refused(&lab.run(&["down"]), 3, "TSK-1690");
}

#[test]
fn mistakes_change_nothing() {
    let mut lab = Lab::up(None);
    refused(&lab.run(&[]), 4, "a lab runs already");
    refused(&lab.run(&["kill", "kikki"]), 3, "did you mean kiki?");
    refused(&lab.run(&["cut", "kiki", "pubic"]), 3, "did you mean public?");
    refused(&lab.run(&["start", "mimi"]), 4, "mimi is on already");
    assert!(lab.done(&["heal"]).contains("no cable was cut"));
    assert!(all_up(&lab.status()));
    // Suspended as by Ctrl-Z, it is taken down nevertheless.
    lab.signal(Signal::SIGSTOP);
    lab.done(&["down"]);
    lab.wait();
    lab.nothing_is_left();

    let folder = tempfile::tempdir().unwrap();
    refused(&tasuki(&folder.path().join("none"), &["status"]), 3, "TSK-1690");
    refused(&tasuki(&folder.path().join("none"), &["kill", "kiki"]), 3, "TSK-1690");
    fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    refused(&tasuki(folder.path(), &[]), 1, "thesis.txt");
    refused(&tasuki(&folder.path().join("x".repeat(100)), &[]), 1, "too long");
    assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).unwrap(), "mine");
}
