//! The program that writes in virtual machines, and that looks at what is left.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The one that was given, or else one that is built beside the tests.
pub fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(given) = std::env::var_os("TASUKI_PAIR") {
        return given.into();
    }
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "-p", "tasuki-volume", "--example", "pair"]);
    // target/debug/deps/NAME-HASH
    let exe = std::env::current_exe().unwrap();
    cargo.arg("--target-dir").arg(exe.ancestors().nth(3).unwrap());
    assert!(cargo.status().unwrap().success(), "the program of this test can be built");
    exe.ancestors().nth(3).unwrap().join("debug/examples/pair")
}
