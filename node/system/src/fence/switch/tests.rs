//! With agents and scripts in shell, as operators write them.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// A program in a folder of its own, where it also keeps what it remembers.
struct Device {
    folder: TempDir,
    program: PathBuf,
    parameters: BTreeMap<String, String>,
}

impl Device {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("device");
        let text = format!("#!/bin/sh\ncd {}\n{text}\n", folder.path().display());
        // Written by another process: a file that this one has open for writing cannot be executed, also
        // not when a program that another test starts at that moment has inherited it.
        let wrote = std::process::Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text])
            .arg(&program)
            .status()
            .unwrap();
        assert!(wrote.success());
        assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        let parameters = [("ip", "10.0.0.9"), ("passwd", "hunter2")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { folder, program, parameters: parameters.into() }
    }

    /// A fence agent that keeps what it was told, then goes on with `text`; `$action` is set.
    fn agent(text: &str) -> Self {
        let read = "cat > told; cat told >> all; action=$(sed -n 's/^action=//p' told | tail -1)";
        Self::new(&format!("{read}\n{text}"))
    }

    fn as_agent(&self) -> Switch<'_> {
        let (program, parameters) = (self.program.as_path(), &self.parameters);
        Switch::Agent(Agent { program, parameters, target: "kiki", port: "plug-3" })
    }

    fn as_script(&self) -> Switch<'_> {
        let program = self.program.as_path();
        Switch::Script(Script { program, local: "lala", target: "kiki", port: "vm-kiki" })
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

/// Switches like a power outlet.
const OUTLET: &str = "case $action in
off|on) echo $action > power ;;
status|monitor) [ \"$(cat power)\" = off ] && exit 2; exit 0 ;;
*) exit 1 ;;
esac";

#[tokio::test]
async fn an_agent_is_told_on_its_standard_input_and_read_back() {
    let device = Device::agent(OUTLET);
    device.as_agent().off(LIMIT).await.unwrap();
    let wanted = "ip=10.0.0.9\npasswd=hunter2\naction=off\nnodename=kiki\nplug=plug-3\nport=plug-3\n";
    let told = device.read("all");
    assert!(told.starts_with(wanted), "{told}");
    assert!(told.contains("action=status"), "read back: {told}");
    assert_eq!(device.read("power"), "off\n");
    device.as_agent().monitor(LIMIT).await.unwrap();
    device.as_agent().on(LIMIT).await.unwrap();
    assert_eq!(device.read("power"), "on\n");
}

#[tokio::test]
async fn r19_an_agent_that_says_done_while_the_power_is_on_has_confirmed_nothing() {
    let device = Device::agent("[ $action = status ] && exit 0; exit 0");
    let error = device.as_agent().off(Duration::from_millis(700)).await.unwrap_err().to_string();
    assert!(error.contains("does not confirm that within 700ms: it is on"), "{error}");
}

#[tokio::test]
async fn a_status_that_turns_off_late_is_waited_for() {
    let slow = "[ $action = off ] && exit 0; echo x >> asked; [ $(wc -l < asked) -ge 3 ] && exit 2; exit 0";
    let device = Device::agent(slow);
    device.as_agent().off(LIMIT).await.unwrap();
    assert_eq!(device.read("asked").lines().count(), 3);
}

#[tokio::test]
async fn a_failure_shows_the_output_without_secrets() {
    let device = Device::agent("echo 'login with hunter2 failed' >&2; exit 1");
    for outcome in [device.as_agent().off(LIMIT).await, device.as_agent().monitor(LIMIT).await] {
        let error = outcome.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("ended with exit code 1; it printed: login with *** failed"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let device = Device::agent("sleep 300 & echo $! > child; echo connecting; wait");
    let error = device.as_agent().off(Duration::from_millis(700)).await.unwrap_err().to_string();
    assert!(error.contains("took longer than 700ms and was killed; it printed: connecting"), "{error}");
    let child = device.read("child").trim().to_owned();
    assert!(!child.is_empty());
    let gone = async {
        // Killed, and then reaped by whoever adopted it.
        while fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("the child of the agent is gone");
}

#[tokio::test]
async fn what_an_agent_leaves_behind_does_not_hold_up_its_answer() {
    let device = Device::agent(&format!("sleep 30 & echo $! > child\n{OUTLET}"));
    let began = Instant::now();
    device.as_agent().off(LIMIT * 4).await.unwrap();
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    let left = device.read("child").trim().to_owned();
    let _ = std::process::Command::new("kill").arg(left).status();
}

#[tokio::test]
async fn a_script_is_called_with_the_action_and_the_name() {
    let text = "echo \"$* $CLP_SERVER_DOWN $CLP_SERVER_LOCAL $CLP_FORCESTOP_MODE\" >> calls
case $1 in off) touch down ;; on) rm -f down ;; status) [ -e down ] && exit 2; exit 0 ;; esac";
    let device = Device::new(text);
    device.as_script().off(LIMIT).await.unwrap();
    assert_eq!(device.read("calls"), "off vm-kiki kiki lala 1\nstatus vm-kiki kiki lala 0\n");
    device.as_script().monitor(LIMIT).await.unwrap();
    device.as_script().on(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let device = Device { program: "/nowhere/fence_x".into(), ..Device::new("") };
    let error = device.as_agent().off(LIMIT).await.unwrap_err().to_string();
    assert_eq!(error, "/nowhere/fence_x is not found, or cannot be executed");
    assert!(crate::fence::find_program(Path::new("sh")).unwrap().ends_with("sh"));
}
