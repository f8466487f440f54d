//! The programs that exec resources name: found from the configuration file's folder, and
//! executable here. Other servers may have other files, so this is a check of its own.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tasuki_core::config::{ClusterConfig, ExecConfig, ResourceKind};

use crate::{
    Loaded,
    problem::{Code, ConfigErrors, Problem},
};

/// Where commands are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Checks every script and program on this machine. Relative paths are resolved against `base`.
///
/// # Errors
/// Each script that is missing, is no file, or is not executable.
pub fn check_scripts(config: &ClusterConfig, base: &Path) -> Result<(), ConfigErrors> {
    check(config, base, |_, _, _, message| Problem::nowhere(Code::Script, "", message))
}

impl Loaded {
    /// As [`check_scripts`], with the place in the file of each command.
    ///
    /// # Errors
    /// Each script that is missing, is no file, or is not executable.
    pub fn check_scripts(&self, base: &Path) -> Result<(), ConfigErrors> {
        check(&self.config, base, |group, resource, key, message| {
            match self.spans.get(&(group.to_owned(), resource.to_owned(), key)) {
                Some(span) => self.source.problem(Code::Script, span, message),
                None => Problem::nowhere(Code::Script, self.source.file(), message),
            }
        })
    }
}

fn check(
    config: &ClusterConfig,
    base: &Path,
    problem: impl Fn(&str, &str, &'static str, String) -> Problem,
) -> Result<(), ConfigErrors> {
    let mut problems = Vec::new();
    for (group, value) in &config.groups {
        for (resource, value) in &value.resources {
            let ResourceKind::Exec(exec) = &value.kind else { continue };
            for (key, command) in commands(exec) {
                let Some(program) = command.first() else { continue };
                if let Err(wrong) = find_program(program, base) {
                    let message = format!("`{key}` of resource {resource} (group {group}) cannot be run");
                    problems.push(
                        problem(group.as_str(), resource.as_str(), key, message)
                            .found(wrong.found)
                            .expected("an executable file")
                            .remedy(wrong.remedy),
                    );
                }
            }
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    ConfigErrors::from_problems(problems).map_or(Ok(()), Err)
}

fn commands(exec: &ExecConfig) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
    [("start", Some(&exec.start)), ("stop", exec.stop.as_ref())]
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
    for group in config.groups.values_mut() {
        for resource in group.resources.values_mut() {
            let ResourceKind::Exec(exec) = &mut resource.kind else { continue };
            if let Some(directory) = &mut exec.directory {
                *directory = base.join(&*directory);
            }
            for program in [exec.start.first_mut(), exec.stop.as_mut().and_then(|stop| stop.first_mut())] {
                let Some(program) = program.filter(|program| program.contains('/')) else { continue };
                let path = base.join(program.trim_start_matches("./"));
                // A folder whose name is no UTF-8 keeps the relative path, which check_scripts finds.
                if let Some(path) = path.to_str() {
                    *program = path.to_owned();
                }
            }
        }
    }
}
