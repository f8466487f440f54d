//! The few steps between the node and a program: this binary run once more, which enters the
//! resource's control group, becomes the right user, and turns into the program. So the node needs
//! no code between fork and exec.

use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    fs::{self, File},
    io::Write,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::Command,
};

use nix::{
    sys::{prctl::set_pdeathsig, signal::SigSet, signal::Signal},
    unistd::{User, dup2_stdin, geteuid, getppid, initgroups, setgid, setsid, setuid},
};
use rustix::process::setpriority_process;

/// The hidden command of the binary that calls [`trampoline`] with the arguments after it.
pub const TRAMPOLINE_COMMAND: &str = "__run";

/// What the arguments say.
#[derive(Debug, Default)]
struct Order {
    /// The node: if it is gone already, nothing is to be started any more.
    parent: i32,
    cgroup: Option<PathBuf>,
    user: Option<String>,
    directory: Option<PathBuf>,
    nice: Option<i32>,
    /// It belongs to no resource, and must not outlive the node.
    with_node: bool,
    command: Vec<OsString>,
}

/// Becomes the program that `arguments` name. What goes wrong is written to the pipe that is this
/// process's standard input, which closes by itself once the program runs.
pub fn trampoline(arguments: impl Iterator<Item = OsString>) -> ! {
    let report = take_report();
    let why = match parse(arguments).and_then(become_program) {
        Ok(never) => match never {},
        Err(why) => why,
    };
    match report {
        Ok(mut report) => {
            let _the_reader_may_be_gone = report.write_all(why.as_bytes());
        }
        Err(_) => {
            let _nobody_reads = writeln!(std::io::stderr(), "{why}");
        }
    }
    std::process::exit(127)
}

fn take_report() -> std::io::Result<File> {
    let report: OwnedFd = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(File::from(report))
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Order, String> {
    let mut order = Order::default();
    while let Some(name) = arguments.next() {
        if name == "--" {
            order.command = arguments.collect();
            return Ok(order);
        }
        let value = arguments.next().ok_or_else(|| format!("{} has no value", name.display()))?;
        let text = || value.to_str().map(str::to_owned).ok_or("not UTF-8".to_owned());
        match name.to_str() {
            Some("--parent") => order.parent = text()?.parse().map_err(|_| "--parent is no number")?,
            Some("--cgroup") => order.cgroup = Some(value.into()),
            Some("--user") => order.user = Some(text()?),
            Some("--dir") => order.directory = Some(value.into()),
            Some("--nice") => order.nice = Some(text()?.parse().map_err(|_| "--nice is no number")?),
            Some("--end") => order.with_node = text()? == "with-node",
            _ => return Err(format!("unknown argument {}", name.display())),
        }
    }
    Err("no command".to_owned())
}

fn become_program(order: Order) -> Result<Infallible, String> {
    let failed = |step: &str, error: &dyn std::fmt::Display| format!("{step}: {error}");
    // Until this process is in its control group the guard cannot find it; so it must not outlive
    // the node. The node may have died before this took effect, hence the look at the parent.
    set_pdeathsig(Signal::SIGKILL).map_err(|error| failed("parent death signal", &error))?;
    if getppid().as_raw() != order.parent {
        return Err("the node has ended".to_owned());
    }
    if let Some(cgroup) = &order.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0")
            .map_err(|error| failed(&format!("entering {}", cgroup.display()), &error))?;
    }
    setsid().map_err(|error| failed("new session", &error))?;
    SigSet::empty().thread_set_mask().map_err(|error| failed("signal mask", &error))?;

    if let Some(nice) = order.nice {
        setpriority_process(None, nice).map_err(|error| failed(&format!("nice value {nice}"), &error))?;
    }

    let (program, arguments) = order.command.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(name) = &order.user {
        let user = become_user(name)?;
        command.env("HOME", user.dir).env("SHELL", user.shell).env("USER", name).env("LOGNAME", name);
    }
    if let Some(directory) = &order.directory {
        std::env::set_current_dir(directory)
            .map_err(|error| failed(&format!("folder {}", directory.display()), &error))?;
    }
    // From here on it belongs to its resource and outlives the node; or it ends with the node, which
    // has to be said again after a change of the user.
    let at_the_nodes_end = order.with_node.then_some(Signal::SIGKILL);
    set_pdeathsig(at_the_nodes_end).map_err(|error| failed("parent death signal", &error))?;
    if order.with_node && getppid().as_raw() != order.parent {
        return Err("the node has ended".to_owned());
    }
    Err(command.exec().to_string())
}

fn become_user(name: &str) -> Result<User, String> {
    let failed = |error: nix::Error| format!("becoming user {name}: {error}");
    let user = User::from_name(name).map_err(failed)?.ok_or(format!("there is no user {name}"))?;
    if user.uid != geteuid() {
        let c_name = CString::new(name).map_err(|_| format!("there is no user {name}"))?;
        initgroups(&c_name, user.gid).map_err(failed)?;
        setgid(user.gid).map_err(failed)?;
        setuid(user.uid).map_err(failed)?;
    }
    Ok(user)
}
