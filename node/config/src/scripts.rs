//! The programs that exec resources name: found from the configuration file's folder, and
//! executable here. Other servers may have other files, so this is a check of its own.

use std::{
    env, fmt,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tasuki_core::{
    config::{ClusterConfig, ExecConfig, FenceKind, MonitorKind, ResourceKind},
    ids::ResourceName,
};

use crate::{
    Loaded,
    problem::{Code, ConfigErrors, Problem},
};

/// Where commands are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whose command it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A group, and a resource of it.
    Member(String, String),
    /// A resource outside every group.
    Resource(String),
    /// A monitor.
    Monitor(String),
    /// A fencing device.
    Fence(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(group, resource) => write!(f, "resource {resource} (group {group})"),
            Self::Resource(resource) => write!(f, "resource {resource}"),
            Self::Monitor(monitor) => write!(f, "monitor {monitor}"),
            Self::Fence(fence) => write!(f, "fencing device {fence}"),
        }
    }
}

/// Checks every script and program on this machine. Relative paths are resolved against `base`.
///
/// # Errors
/// Each script that is missing, is no file, or is not executable.
pub fn check_scripts(config: &ClusterConfig, base: &Path) -> Result<(), ConfigErrors> {
    check(config, base, |_, _, message| Problem::nowhere(Code::Script, "", message))
}

impl Loaded {
    /// As [`check_scripts`], with the place in the file of each command.
    ///
    /// # Errors
    /// Each script that is missing, is no file, or is not executable.
    pub fn check_scripts(&self, base: &Path) -> Result<(), ConfigErrors> {
        check(&self.config, base, |owner, key, message| match self.spans.get(&(owner.clone(), key)) {
            Some(span) => self.source.problem(Code::Script, span, message),
            None => Problem::nowhere(Code::Script, self.source.file(), message),
        })
    }
}

fn check(
    config: &ClusterConfig,
    base: &Path,
    problem: impl Fn(&Owner, &'static str, String) -> Problem,
) -> Result<(), ConfigErrors> {
    let mut problems = Vec::new();
    let commands = all_commands(config);
    let programs = commands
        .iter()
        .filter_map(|(owner, key, command)| Some((owner.clone(), *key, command.first()?.as_str())));
    for (owner, key, program) in programs.chain(fence_programs(config)) {
        if let Err(wrong) = find_program(program, base) {
            let message = format!("`{key}` of {owner} cannot be run");
            problems.push(
                problem(&owner, key, message)
                    .found(wrong.found)
                    .expected("an executable file")
                    .remedy(wrong.remedy),
            );
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    ConfigErrors::from_problems(problems).map_or(Ok(()), Err)
}

fn all_commands(config: &ClusterConfig) -> Vec<(Owner, &'static str, &Vec<String>)> {
    let mut resources: Vec<(Owner, &ResourceKind)> = Vec::new();
    for (group, value) in &config.groups {
        let owner = |resource: &ResourceName| Owner::Member(group.to_string(), resource.to_string());
        resources.extend(value.resources.iter().map(|(name, value)| (owner(name), &value.kind)));
    }
    let alone = config.resources.iter();
    resources.extend(alone.map(|(name, value)| (Owner::Resource(name.to_string()), &value.resource.kind)));
    let mut found = Vec::new();
    for (owner, kind) in resources {
        let ResourceKind::Exec(exec) = kind else { continue };
        found.extend(commands(exec).map(|(key, command)| (owner.clone(), key, command)));
    }
    for (monitor, value) in &config.monitors {
        if let MonitorKind::Exec { command, .. } = &value.kind {
            found.push((Owner::Monitor(monitor.to_string()), "command", command));
        }
    }
    found
}

/// The programs of fencing devices: on every server, because any of them may have to fence.
fn fence_programs(config: &ClusterConfig) -> impl Iterator<Item = (Owner, &'static str, &str)> {
    config.settings.fences.iter().filter_map(|(name, fence)| match &fence.kind {
        FenceKind::Agent { program, .. } | FenceKind::Script { program } => {
            Some((Owner::Fence(name.to_string()), "program", program.to_str()?))
        }
        FenceKind::Reservation { .. } | FenceKind::Watchdog => None,
    })
}

fn commands(exec: &ExecConfig) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
    let check = exec.check.as_ref().map(|check| &check.command);
    [("start", Some(&exec.start)), ("stop", exec.stop.as_ref()), ("check", check)]
        .into_iter()
        .filter_map(|(key, command)| Some((key, command?)))
}

struct Wrong {
    found: String,
    remedy: String,
}

/// The file that a program's name means, if it can be run: a name with a slash is a path, any
/// other is looked for in `PATH`.
fn find_program(program: &str, base: &Path) -> Result<PathBuf, Wrong> {
    if program.contains('/') {
        let path = base.join(program);
        return executable(&path).map(|()| path);
    }
    let search = env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
    env::split_paths(&search)
        .map(|folder| folder.join(program))
        .find(|path| executable(path).is_ok())
        .ok_or_else(|| {
            let remedy = if base.join(program).exists() {
                format!("write \"./{program}\" for the file beside the configuration")
            } else {
                "install it, or write the path of the file".to_owned()
            };
            Wrong { found: format!("no program called `{program}` in PATH"), remedy }
        })
}

fn executable(path: &Path) -> Result<(), Wrong> {
    let shown = path.display();
    let meta = path.metadata().map_err(|error| Wrong {
        found: format!("{shown}: {error}"),
        remedy:
            "put the script there, or correct the path; relative paths start at the configuration file's \
                 folder"
                .to_owned(),
    })?;
    if !meta.is_file() {
        let remedy = "name the script itself".to_owned();
        return Err(Wrong { found: format!("{shown} is not a file"), remedy });
    }
    if meta.permissions().mode() & 0o111 == 0 {
        let found = format!("{shown} is not executable (mode {:04o})", meta.permissions().mode() & 0o7777);
        return Err(Wrong { found, remedy: format!("chmod +x {shown}") });
    }
    Ok(())
}

/// Makes the paths of scripts and working folders absolute: what is pushed to the cluster means
/// the same path on every server.
pub(crate) fn make_absolute(config: &mut ClusterConfig, base: &Path) {
    let members = config.groups.values_mut().flat_map(|group| group.resources.values_mut());
    let alone = config.resources.values_mut().map(|definition| &mut definition.resource);
    for resource in members.chain(alone) {
        let ResourceKind::Exec(exec) = &mut resource.kind else { continue };
        absolute_directory(exec.directory.as_mut(), base);
        absolute_program(Some(&mut exec.start), base);
        absolute_program(exec.stop.as_mut(), base);
        absolute_program(exec.check.as_mut().map(|check| &mut check.command), base);
    }
    for fence in config.settings.fences.values_mut() {
        let (FenceKind::Agent { program, .. } | FenceKind::Script { program }) = &mut fence.kind else {
            continue;
        };
        if program.components().count() > 1 {
            *program = base.join(program.strip_prefix(".").unwrap_or(program));
        }
    }
    for monitor in config.monitors.values_mut() {
        let MonitorKind::Exec { command, directory, .. } = &mut monitor.kind else { continue };
        absolute_directory(directory.as_mut(), base);
        absolute_program(Some(command), base);
    }
}

fn absolute_directory(directory: Option<&mut PathBuf>, base: &Path) {
    if let Some(directory) = directory {
        *directory = base.join(&*directory);
    }
}

fn absolute_program(command: Option<&mut Vec<String>>, base: &Path) {
    let program = command.and_then(|command| command.first_mut());
    let Some(program) = program.filter(|program| program.contains('/')) else { return };
    let path = base.join(program.trim_start_matches("./"));
    // A folder whose name is no UTF-8 keeps the relative path, which check_scripts finds.
    if let Some(path) = path.to_str() {
        *program = path.to_owned();
    }
}
