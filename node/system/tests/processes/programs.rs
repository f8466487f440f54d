//! Programs as resources.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    time::{Duration, Instant},
};

use tasuki_core::{
    config::{AtLeaseEnd, ExecConfig},
    ids::{Epoch, GroupName, ResourceName},
};
use tasuki_system::{
    confinement::Part,
    exec::{Ended, ExecError, Found, Launcher, Look, Program, Seen},
};

use crate::{
    Test,
    support::{Place, config, each_confinement, eventually},
};

pub const TESTS: &[Test] = &[
    ("a_synchronous_start_waits_for_its_end_and_keeps_the_output", synchronous),
    ("a_failed_start_says_how_and_leaves_nothing", failed_start),
    ("a_start_that_takes_too_long_names_what_ran", start_timeout),
    ("the_end_of_an_asynchronous_program_is_noticed_at_once", end_is_noticed),
    ("daemons_die_with_their_resource", daemons),
    ("a_daemon_without_its_environment_dies_too", wiped_environment),
    ("r6_a_launcher_that_starts_again_adopts_the_same_processes", adoption),
    ("r6_an_interrupted_start_is_not_taken_for_up", interrupted),
    ("a_stop_command_ends_what_runs", stop_command),
    ("a_stop_command_that_fails_is_told_and_nothing_is_left", stop_command_fails),
    ("what_ignores_sigterm_is_killed_after_the_stop_timeout", stubborn),
    ("missing_and_not_executable_scripts_are_named", bad_scripts),
    ("programs_run_as_their_user_with_their_environment", user),
    ("a_look_has_an_exit_code_and_a_first_line", look),
    ("a_look_that_takes_too_long_is_killed_with_what_it_started", look_timeout),
    ("a_look_that_nobody_waits_for_ends", look_abandoned),
    ("a_look_has_its_user_folder_and_nice_value", look_settings),
];

struct Resource {
    group: GroupName,
    resource: ResourceName,
    config: ExecConfig,
    environment: BTreeMap<String, String>,
}

impl Resource {
    fn new(config: ExecConfig) -> Self {
        let environment = [("CLP_EVENT".to_owned(), "START".to_owned())].into();
        Self { group: "g".into(), resource: "r".into(), config, environment }
    }

    fn program(&self) -> Program<'_> {
        Program {
            group: &self.group,
            resource: &self.resource,
            epoch: Epoch(3),
            config: &self.config,
            environment: &self.environment,
            at_lease_end: AtLeaseEnd::Stop,
        }
    }

    fn start(&self, launcher: &Launcher) -> Result<Option<Ended>, ExecError> {
        block_on(launcher.start(self.program()))
    }

    fn members(&self, place: &Place) -> Vec<i32> {
        let cell = place.confinement().cell(&self.group, &self.resource, Part::Main);
        let mut pids: Vec<i32> = cell.members().unwrap().iter().map(|member| member.pid).collect();
        pids.sort_unstable();
        pids
    }
}

/// One runtime for all: what a launcher spawned goes on between two calls.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(future)
}

fn synchronous() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let text = format!("echo started $CLP_EVENT $COLOUR; touch {}/done", place.path().display());
        let resource = Resource::new(config(&place.script("start.sh", &text), true));
        assert!(resource.start(&place.launcher()).unwrap().is_none());
        assert!(place.path().join("done").exists());
        let log = fs::read_to_string(place.layout.logs().join("g.r.log")).unwrap();
        assert_eq!(log, "started START green\n");
        let again = place.launcher();
        assert!(matches!(again.probe(resource.program()), Ok(Found::Running(None))));
        assert_eq!(again.running().unwrap().len(), 1);
        block_on(again.stop(resource.program())).unwrap();
        assert!(matches!(again.probe(resource.program()), Ok(Found::Stopped)));
    });
}

fn failed_start() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let script = place.script("start.sh", "sleep 100 & echo no licence found; exit 3");
        let resource = Resource::new(config(&script, true));
        let error = resource.start(&place.launcher()).unwrap_err().to_string();
        assert!(error.contains("start.sh: exit code 3; last output: no licence found"), "{error}");
        assert!(resource.members(&place).is_empty());
        assert!(place.launcher().running().unwrap().is_empty());
    });
}

fn start_timeout() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let mut config = config(&place.script("start.sh", "echo waiting for the disk; sleep 4321"), true);
        config.start_timeout = Duration::from_millis(700);
        let resource = Resource::new(config);
        let error = resource.start(&place.launcher()).unwrap_err();
        assert!(matches!(error, ExecError::Timeout { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("sleep 4321") && text.contains("waiting for the disk"), "{text}");
        assert!(resource.members(&place).is_empty());
    });
}

fn end_is_noticed() {
    let place = Place::new(false);
    let fifo = place.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = format!("echo serving; read word < {}; echo $word >&2; exit 1", fifo.display());
    let resource = Resource::new(config(&place.script("serve.sh", &text), false));
    let launcher = place.launcher();
    let ended = resource.start(&launcher).unwrap().unwrap();
    let began = Instant::now();
    fs::write(&fifo, "bye\n").unwrap();
    assert_eq!(block_on(ended).unwrap(), "exit code 1; last output: serving | bye");
    println!("the end of a program was noticed within {:?}", began.elapsed());

    let ended = resource.start(&launcher).unwrap().unwrap();
    for pid in resource.members(&place) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    }
    assert!(block_on(ended).unwrap().starts_with("killed by SIGKILL"));
}

fn daemons() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let text = "(setsid sh -c 'sleep 1111 & sleep 2222 & wait' >/dev/null 2>&1 &)\nexit 0";
        let resource = Resource::new(config(&place.script("start.sh", text), true));
        resource.start(&place.launcher()).unwrap();
        eventually("the daemon and its two children", || (resource.members(&place).len() == 3).then_some(()));
        block_on(place.launcher().clean(&resource.group, &resource.resource)).unwrap();
        assert!(resource.members(&place).is_empty());
    });
}

fn wiped_environment() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        // One that lost its environment, one that also left the session while its parent lives.
        let text = "env -i sleep 1111 &\nenv -i setsid sleep 2222 &\nsleep 3333 &\nwait";
        let resource = Resource::new(config(&place.script("start.sh", text), false));
        resource.start(&place.launcher()).unwrap();
        eventually("four processes", || (resource.members(&place).len() == 4).then_some(()));
        let pids = resource.members(&place);
        block_on(place.launcher().stop(resource.program())).unwrap();
        for pid in pids {
            assert!(tasuki_system::process::stat(pid).is_none_or(|stat| stat.ended), "{pid} is left");
        }
    });
}

fn adoption() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let resource = Resource::new(config(&place.script("serve.sh", "sleep 1111 &\nwait"), false));
        drop(resource.start(&place.launcher()).unwrap());
        eventually("both processes", || (resource.members(&place).len() == 2).then_some(()));
        let before = resource.members(&place);

        let next = place.launcher();
        let Ok(Found::Running(Some(ended))) = block_on(async { next.probe(resource.program()) }) else {
            panic!("not adopted")
        };
        // Starting what is up changes nothing.
        drop(resource.start(&next).unwrap());
        assert_eq!(resource.members(&place), before);
        block_on(next.stop(resource.program())).unwrap();
        assert!(block_on(ended).unwrap().starts_with("it ended"));
        assert!(matches!(next.probe(resource.program()), Ok(Found::Stopped)));
    });
}

fn interrupted() {
    let place = Place::new(false);
    let resource = Resource::new(config(&place.script("start.sh", "sleep 1111"), true));
    let launcher = place.launcher();
    // The node "dies" while the start command runs.
    block_on(async {
        let start = tokio::time::timeout(Duration::from_millis(300), launcher.start(resource.program()));
        assert!(start.await.is_err());
    });
    let Ok(Found::Running(Some(ended))) = place.launcher().probe(resource.program()) else {
        panic!("something of it runs")
    };
    assert_eq!(block_on(ended).unwrap(), "its start was interrupted");
}

fn stop_command() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let pid_file = place.path().join("pid");
        let start = place.script("start.sh", &format!("sleep 1111 & echo $! > {}", pid_file.display()));
        let mut config = config(&start, true);
        let stop = place.script("stop.sh", &format!("kill $(cat {})", pid_file.display()));
        config.stop = Some(vec![stop.display().to_string()]);
        let resource = Resource::new(config);
        resource.start(&place.launcher()).unwrap();
        assert_eq!(resource.members(&place).len(), 1);
        block_on(place.launcher().stop(resource.program())).unwrap();
        assert!(resource.members(&place).is_empty());
        assert!(place.launcher().running().unwrap().is_empty());
    });
}

fn stop_command_fails() {
    let place = Place::new(false);
    let mut config = config(&place.script("start.sh", "sleep 1111 &"), true);
    let stop = place.script("stop.sh", "echo cannot reach it; exit 9");
    config.stop = Some(vec![stop.display().to_string()]);
    let resource = Resource::new(config);
    resource.start(&place.launcher()).unwrap();
    let error = block_on(place.launcher().stop(resource.program())).unwrap_err().to_string();
    assert!(error.contains("stop.sh: exit code 9; last output: cannot reach it"), "{error}");
    assert!(resource.members(&place).is_empty());
}

fn stubborn() {
    each_confinement(|marked| {
        let place = Place::new(marked);
        let ready = place.path().join("ready");
        let text = format!("trap '' TERM\ntouch {}\nwhile true; do sleep 1; done", ready.display());
        let mut config = config(&place.script("serve.sh", &text), false);
        config.stop_timeout = Duration::from_millis(300);
        let resource = Resource::new(config);
        resource.start(&place.launcher()).unwrap();
        eventually("the trap", || ready.exists().then_some(()));
        let began = Instant::now();
        block_on(place.launcher().stop(resource.program())).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(resource.members(&place).is_empty());
    });
}

fn bad_scripts() {
    let place = Place::new(false);
    let missing = Resource::new(config(&place.path().join("nowhere.sh"), true));
    let error = missing.start(&place.launcher()).unwrap_err().to_string();
    assert!(error.starts_with("TSK-1301") && error.contains("nowhere.sh"), "{error}");

    fs::write(place.path().join("plain.sh"), "exit 0").unwrap();
    let plain = Resource::new(config(&place.path().join("plain.sh"), true));
    let error = plain.start(&place.launcher()).unwrap_err().to_string();
    assert!(error.starts_with("TSK-1302") && error.contains("plain.sh"), "{error}");

    let mut nobody = config(&place.script("fine.sh", "exit 0"), true);
    nobody.user = Some("no-such-user".to_owned());
    let error = Resource::new(nobody).start(&place.launcher()).unwrap_err().to_string();
    assert!(error.starts_with("TSK-1303") && error.contains("no user no-such-user"), "{error}");
    assert!(place.launcher().running().unwrap().is_empty());
}

fn user() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped, because only root can become another user");
        return;
    }
    let place = Place::new(false);
    let mut config = config(&place.script("who.sh", "echo $(id -un) $USER $(pwd); exit 1"), true);
    config.user = Some("nobody".to_owned());
    config.directory = Some("/usr".into());
    let error = Resource::new(config).start(&place.launcher()).unwrap_err().to_string();
    assert!(error.ends_with("last output: nobody nobody /usr"), "{error}");
}

/// A look with this script.
fn looking<'a>(
    command: &'a [String],
    environment: &'a BTreeMap<String, String>,
    limit: Duration,
) -> Look<'a> {
    Look { command, user: None, directory: None, nice: 0, limit, environment }
}

fn command(script: &std::path::Path) -> Vec<String> {
    vec![script.display().to_string()]
}

/// Whether a process runs that has this word in its command line.
fn runs(word: &str) -> bool {
    let lines =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(word))
}

const LONG: Duration = Duration::from_secs(10);

fn look() {
    let place = Place::new(false);
    let launcher = place.launcher();
    let environment = [("CLP_EVENT".to_owned(), "START".to_owned())].into();
    // What it leaves in the background keeps its output open: the end of the program counts.
    let text = "echo; echo \"  half of $CLP_EVENT\"; echo more; sleep 7654 & exit 4";
    let script = command(&place.script("check.sh", text));
    let began = Instant::now();
    let seen = block_on(launcher.run_look(looking(&script, &environment, LONG))).unwrap();
    assert_eq!(seen, Seen { code: 4, first_line: "half of START".into() });
    assert!(began.elapsed() < LONG / 2);
    eventually("what it left is gone", || (!runs("sleep\u{0}7654")).then_some(()));

    // More than a pipe holds.
    let script =
        command(&place.script("much.sh", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"));
    let seen = block_on(launcher.run_look(looking(&script, &environment, LONG))).unwrap();
    assert_eq!(seen, Seen { code: 0, first_line: "line 0".into() });

    let script = command(&place.script("dies.sh", "echo alas; kill -9 $$"));
    let error = block_on(launcher.run_look(looking(&script, &environment, LONG))).unwrap_err().to_string();
    assert!(error.contains("killed by SIGKILL; it printed: alas"), "{error}");
    let nothing = vec!["/nowhere/check.sh".to_owned()];
    let error = block_on(launcher.run_look(looking(&nothing, &environment, LONG))).unwrap_err();
    assert!(matches!(error, ExecError::Missing { .. }), "{error}");
}

fn look_timeout() {
    let place = Place::new(false);
    let script = command(&place.script("check.sh", "echo asking; sleep 8765 & sleep 8764"));
    let environment = BTreeMap::new();
    let limit = Duration::from_millis(500);
    let error =
        block_on(place.launcher().run_look(looking(&script, &environment, limit))).unwrap_err().to_string();
    assert!(error.contains("check.sh; it printed: asking ran longer than 500ms"), "{error}");
    eventually("all of it is killed", || (!runs("sleep\u{0}876")).then_some(()));
}

fn look_abandoned() {
    let place = Place::new(false);
    let begun = place.path().join("begun");
    let script = command(&place.script("check.sh", &format!("touch {}; sleep 5432", begun.display())));
    let launcher = place.launcher();
    block_on(async move {
        let task = tokio::spawn(async move {
            let environment = BTreeMap::new();
            launcher.run_look(looking(&script, &environment, LONG)).await.map(drop)
        });
        while !begun.exists() || !runs("sleep\u{0}5432") {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
    });
    eventually("it is killed", || (!runs("sleep\u{0}5432")).then_some(()));
}

fn look_settings() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped, because only root can become another user");
        return;
    }
    let place = Place::new(false);
    let script = command(&place.script("who.sh", "echo $(id -un) $(pwd) $(nice)"));
    let environment = BTreeMap::new();
    let directory = Some(std::path::Path::new("/usr"));
    let look = Look { user: Some("nobody"), directory, nice: 7, ..looking(&script, &environment, LONG) };
    let seen = block_on(place.launcher().run_look(look)).unwrap();
    assert_eq!(seen.first_line, "nobody /usr 7");
}
