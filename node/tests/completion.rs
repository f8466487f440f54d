//! The scripts for shells ask for the names of what is in the cluster, and offer them.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A folder with the script of a shell, and a program of the same name which says two names, and in the
/// file `asked` what it was asked.
fn folder(shell: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script =
        Command::new(env!("CARGO_BIN_EXE_tasuki")).args(["completion", shell]).output().unwrap().stdout;
    fs::write(folder.path().join("script"), script).unwrap();
    let program = folder.path().join("tasuki");
    let asked = folder.path().join("asked");
    let text = format!("#!/bin/sh\nprintf '[%s]' \"$@\" >{}\necho database\necho data\n", asked.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// What a shell prints for these words; `None` where it is not here, said aloud.
fn said(shell: &str, folder: &Path, words: &str) -> Option<String> {
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let done = Command::new(shell)
        .args(["-c", words])
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output();
    match done {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Some(String::from_utf8_lossy(&done.stdout).into_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped, because {shell} is not here");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn bash_offers_names() {
    let folder = folder("bash");
    let words = "source ./script; COMP_WORDS=(tasuki group move d); COMP_CWORD=3; \
                 _tasuki_with_names tasuki d move; echo \"${COMPREPLY[@]}\"";
    let Some(said) = said("bash", folder.path(), words) else { return };
    assert_eq!(said, "database data\n");
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked, "[__names][--][group][move][d]");
}

#[test]
fn fish_offers_names() {
    let folder = folder("fish");
    for (words, asks) in [
        ("tasuki group move d", "[__names][--][group][move][d]"),
        ("tasuki group move database --to d", "[__names][--][group][move][database][--to][d]"),
    ] {
        let words = format!("source ./script; complete -C '{words}'");
        let Some(said) = said("fish", folder.path(), &words) else { return };
        // A description of the option may stand behind.
        assert!(said.lines().any(|line| line.split('\t').next() == Some("database")), "{said}");
        assert_eq!(fs::read_to_string(folder.path().join("asked")).unwrap(), asks);
    }
}

#[test]
fn zsh_can_read_its_script() {
    let folder = folder("zsh");
    let Some(said) =
        said("zsh", folder.path(), "compdef() { true; }; source ./script; functions _tasuki_names _tasuki")
    else {
        return;
    };
    assert!(said.contains("__names") && said.contains("_tasuki_typed="), "{said}");
    assert!(!fs::read_to_string(folder.path().join("script")).unwrap().contains(":_default'"));
}
