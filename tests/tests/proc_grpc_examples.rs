//! The programs in `examples` do what their pages say, against three servers: print the status, move a
//! group, and end once it runs where it should; and they say what a mistake was.

#![allow(clippy::unwrap_used)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use tasuki_tests::{
    hosts::{GROUP, SERVERS},
    process::{Trio, succeeded, web},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The example in Rust: as a build of the whole workspace has made it, or built here.
fn rust() -> Command {
    // target/debug/deps/NAME-HASH
    let exe = std::env::current_exe().unwrap();
    let program = exe.ancestors().nth(2).unwrap().join("examples/move_group");
    if !program.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "-p", "tasuki-proto", "--example", "move_group"]);
        cargo.current_dir(root()).env("CARGO_TARGET_DIR", exe.ancestors().nth(3).unwrap());
        if exe.ancestors().nth(2).unwrap().ends_with("release") {
            cargo.arg("--release");
        }
        succeeded(&cargo.output().unwrap()).unwrap();
    }
    Command::new(program)
}

/// The example in Python, by the lines of its page but for the last one; or why not.
fn python(trio: &Trio) -> io::Result<Command> {
    let source = root().join("examples/python");
    let wanted = fs::read_to_string(source.join("requirements.txt"))?;
    // Kept between runs: fetching takes longer than the test.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpc-python");
    let python = place.join("bin/python");
    let ready = place.join("requirements.txt");
    if fs::read_to_string(&ready).ok().as_ref() != Some(&wanted) {
        let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place).output()?;
        succeeded(&made)?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "-r"];
        succeeded(&Command::new(&python).args(pip).arg(source.join("requirements.txt")).output()?)?;
        fs::write(&ready, &wanted)?;
    }
    // In a copy, so that nothing is made in the work tree.
    let folder = trio.folder().join("python");
    fs::create_dir(&folder)?;
    fs::copy(source.join("move_group.py"), folder.join("move_group.py"))?;
    let protos = root().join("proto/proto");
    let mut protoc = Command::new(&python);
    protoc.args(["-m", "grpc_tools.protoc", "--python_out=.", "--grpc_python_out=.", "-I"]).arg(&protos);
    for file in fs::read_dir(protos.join("tasuki/v1"))? {
        protoc.arg(file?.path());
    }
    let made = protoc.current_dir(&folder).output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(python);
    command.arg(folder.join("move_group.py"));
    Ok(command)
}

#[test]
fn the_examples_move_a_group_and_see_it_there() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    for (name, role) in [("mei", "operator"), ("aoi", "viewer")] {
        let folder = trio.folder().join(name);
        let words = ["cluster", "certificate", name, "--role", role, "--out", folder.to_str().unwrap()];
        succeeded(&trio.servers[0].tasuki(&words).unwrap()).unwrap();
    }
    exercise(&trio, rust());
    match python(&trio) {
        Ok(program) => exercise(&trio, program),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default();
            println!("skipped, because Python's packages for gRPC are not here: {why}");
        }
    }
}

fn exercise(trio: &Trio, mut program: Command) {
    program.current_dir(trio.folder());
    let program = program;
    let address = format!("{}:29001", trio.subnet.address(1));
    let call = |folder: &str, group: &str, to: &str| {
        let words: Vec<_> = program.get_args().map(ToOwned::to_owned).collect();
        let mut command = Command::new(program.get_program());
        command.args(words).args([&address, folder, group, to]).current_dir(trio.folder());
        command.output().unwrap()
    };
    let place = || trio.calls.status(trio.servers[0].data()).unwrap().groups[0].server.clone();
    let from = place();
    let to = SERVERS.into_iter().find(|server| **server != from).unwrap();

    for (folder, group, code) in [("aoi", GROUP, "TSK-1630"), ("mei", "wbe", "TSK-1603")] {
        let refused = call(folder, group, to);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.starts_with(&format!("{code}: ")), "{said}");
        assert!(said.contains("\n  -> "), "{said}");
        assert_eq!(place(), from);
    }
    let said = succeeded(&call("mei", GROUP, to)).unwrap();
    println!("{said}");
    assert_eq!(said.lines().next().unwrap().split(',').next(), Some("cluster ours"));
    for part in
        ["  server mimi     SERVER_STATE_UP", "  group  demo     RUN_STATE_ONLINE", "accepted as revision"]
    {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert_eq!(said.lines().last().unwrap(), format!("group {GROUP} is online on {to}"));
    assert_eq!(place(), to);
    let again = call("mei", GROUP, to);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.starts_with("TSK-1605: "), "{said}");
}
