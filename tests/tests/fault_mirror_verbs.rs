//! What an operator says of mirrored disks on a running pair, as he says it: a disk is added over data
//! that somebody may need, copies that are equal are copied all the same, frames are made smaller; and
//! programs of others use a disk over the network, with certificates of the cluster.

#![allow(clippy::unwrap_used)]

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tasuki_tests::{
    hosts::{
        GROUP, NAMES, await_some, await_true,
        mirrored::{DISK, Mirrored},
        witness::Witness,
    },
    network::Network,
};

/// Longer than a loaded machine keeps a beat back: nothing here is about times.
const DETECT: Duration = Duration::from_secs(4);
const PORT: u16 = 10809;
/// Near the end of the disk, where its small file system has no data.
const FREE: u64 = 30 << 20;

/// Errors have many lines: shown as they are.
fn done<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn is_there(program: &str) -> bool {
    let there = Command::new("which").arg(program).output().is_ok_and(|found| found.status.success());
    if !there {
        println!("skipped in part, because {program} is missing");
    }
    there
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn c5_c21_an_operators_words_on_mirrored_disks_do_what_they_say() {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let service = |mount: &Path| Ok(format!("{ledger} {}", mount.join("ledger").display()));
    let keys = format!("export_port = {PORT}");
    let stage = done(Mirrored::form_with(DETECT, 32, &keys, |_| Ok(()), service));
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    let active = done(stage.active());
    nothing_differs(&stage, active);
    others_use_it(&stage, active);
    memory(&stage, "before the load");
    load(&stage, active);
    memory(&stage, "after the load");
    presses(&stage);
    create(&stage);
}

/// C21: where nothing differs, somebody is asked; where nobody is there, it is not done.
fn nothing_differs(stage: &Mirrored, active: usize) {
    let (ok, said) = done(stage.said(active, &["mirror", "rebuild", DISK]));
    assert!(!ok && said.contains("TSK-1817") && said.contains("--full"), "{said}");
    if !is_there("script") {
        return;
    }
    let program = &stage.cluster.make().program;
    let data = stage.cluster.data(active);
    let words = format!("{} --data {} mirror rebuild {DISK}", program.display(), data.display());
    let answered = |answer: &str| {
        let mut command = stage.cluster.lab().command(active, "script").unwrap();
        command.args(["-qec", &words, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // It is kept open: its end would be taken for an answer.
        let mut input = child.stdin.take().unwrap();
        input.write_all(answer.as_bytes()).unwrap();
        let ended = await_some("the end of the command", || child.try_wait());
        let ended = done(stage.told(ended));
        drop(input);
        (ended.success(), text(&child.wait_with_output().unwrap()))
    };
    let (ok, said) = answered("n\n");
    assert!(!ok && said.contains("do not differ. Copy everything all the same?"), "{said}");
    assert!(said.contains("TSK-1817"), "{said}");
    let (ok, said) = answered("y\n");
    assert!(ok && said.contains("do not differ. Copy everything all the same?"), "{said}");
    done(stage.await_whole());
}

/// A folder with a certificate as gnutls wants it.
fn certificate(stage: &Mirrored, active: usize, role: &str) -> PathBuf {
    let folder = stage.areas.path().join(role);
    let out = folder.display().to_string();
    let words = ["cluster", "certificate", "probe", "--role", role, "--out", &out];
    let (ok, said) = done(stage.said(active, &words));
    assert!(ok, "{said}");
    for (from, to) in
        [("ca.pem", "ca-cert.pem"), ("probe.pem", "client-cert.pem"), ("probe.key", "client-key.pem")]
    {
        fs::copy(folder.join(from), folder.join(to)).unwrap();
    }
    folder
}

/// NBD over TLS, from the other server: libnbd's programs, and QEMU's.
fn others_use_it(stage: &Mirrored, active: usize) {
    let folder = certificate(stage, active, "admin");
    let keys = folder.display().to_string();
    let other = 1 - active;
    let place = |server: usize| Network::Interconnect.address(server);
    let uri = |server: usize, scheme: &str| {
        format!("{scheme}://{}:{PORT}/{DISK}?tls-certificates={keys}", place(server))
    };
    let run = |words: &[&str]| {
        let output = stage.cluster.lab().run(other, words).unwrap();
        (output.status.success(), text(&output))
    };
    if is_there("nbdinfo") {
        let (ok, said) = run(&["nbdinfo", &uri(active, "nbds")]);
        assert!(ok && said.contains("export-size: 33554432") && said.contains("with TLS"), "{said}");
        assert!(!run(&["nbdinfo", &uri(active, "nbd")]).0, "nothing is told without TLS");
        assert!(!run(&["nbdinfo", &uri(other, "nbds")]).0, "it is where the disk is open, and nowhere else");
        fs::rename(folder.join("client-cert.pem"), folder.join("hidden")).unwrap();
        assert!(!run(&["nbdinfo", &uri(active, "nbds")]).0, "without a certificate nobody comes in");
        fs::rename(folder.join("hidden"), folder.join("client-cert.pem")).unwrap();
        let reads_only = certificate(stage, active, "viewer").display().to_string();
        let uri = format!("nbds://{}:{PORT}/{DISK}?tls-certificates={reads_only}", place(active));
        assert!(!run(&["nbdinfo", &uri]).0, "who may only read may not write past the file system");
    }
    if is_there("qemu-io") {
        let creds = format!("tls-creds-x509,id=tls,endpoint=client,sanity-check=no,dir={keys}");
        let image = format!("driver=nbd,host={},port={PORT},export={DISK},tls-creds=tls", place(active));
        let of_qemu = |program: &str, words: &[&str]| {
            let (ok, said) =
                run(&[&[program], words, &["--object", &creds, "--image-opts", &image]].concat());
            assert!(ok, "{program}: {said}");
            said
        };
        assert!(of_qemu("qemu-img", &["info"]).contains("33554432 bytes"));
        let (write, read) = (format!("write -f -P 0x5a {FREE} 64k"), format!("read -P 0x5a {FREE} 64k"));
        let said = of_qemu("qemu-io", &["-c", &write, "-c", &read]);
        assert!(said.contains("wrote 65536") && said.contains("read 65536"), "{said}");
        assert!(!said.contains("verification failed"), "{said}");
        for (server, name) in NAMES.iter().enumerate().take(2) {
            let mut there = [0; 65536];
            let area = fs::File::open(stage.place(server, "data")).unwrap();
            area.read_exact_at(&mut there, FREE).unwrap();
            assert!(there == [0x5a; 65536], "it is on the copy of {name}");
        }
        if is_there("nbddump") {
            let (ok, said) = run(&["nbddump", &uri(active, "nbds")]);
            assert!(ok && said.contains("5a 5a 5a 5a"), "{said}");
        }
        of_qemu("qemu-io", &["-c", &format!("write -f -z {FREE} 64k")]);
    }
    match python() {
        Some(python) => {
            let script = format!(
                "import nbd\nh = nbd.NBD()\nh.set_uri_allow_local_file(True)\nh.connect_uri('{}')\n\
                 print(h.get_size(), h.get_tls_negotiated(), h.can_multi_conn())",
                uri(active, "nbds")
            );
            let (ok, said) = run(&[python, "-c", &script]);
            assert!(ok && said.contains("33554432 True True"), "{said}");
        }
        None => println!("skipped in part, because libnbd's Python module is missing"),
    }
}

/// A Python that knows libnbd: `nbdsh` takes the first one there is.
fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        Command::new(python).args(["-c", "import nbd"]).output().is_ok_and(|it| it.status.success())
    })
}

/// What a server has sent to the other one so far, in bytes.
fn sent(stage: &Mirrored, server: usize) -> u64 {
    let table = text(&stage.cluster.lab().run(server, &["cat", "/proc/net/dev"]).unwrap());
    let line = table.lines().find_map(|line| line.trim().strip_prefix("interconnect:"));
    line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok()).unwrap()
}

/// Frames are made smaller from the next opening on after somebody has said so.
fn presses(stage: &Mirrored) {
    const BYTES: u64 = 6_000_000;
    let write = |name: &str| {
        let active = done(stage.active());
        let before = sent(stage, active);
        done(stage.on_disk(active, &format!("yes tasuki | head -c {BYTES} >{name}; sync -f .")));
        sent(stage, active) - before
    };
    let plain = write("plain");
    let active = done(stage.active());
    let (ok, said) = done(stage.said(active, &["resource", "modify", DISK, "--attr", "compression=lz4"]));
    assert!(ok, "{said}");
    done(stage.await_whole());
    done(stage.told(stage.cluster.move_to(1 - active)));
    done(stage.await_whole());
    let pressed = write("pressed");
    println!("{BYTES} bytes of text: {plain} bytes to the other server, with lz4 {pressed}");
    assert!(plain > BYTES && pressed < BYTES / 2);
    let same = done(stage.on_disk(1 - active, "cmp plain pressed && echo equal"));
    assert_eq!(same, "equal\n");
}

/// A second disk, over areas that hold a file system already: refused, and made anew when that is said
/// twice.
fn create(stage: &Mirrored) {
    const NEW: &str = "second";
    let active = done(stage.active());
    for server in 0..2 {
        let data = stage.place(server, "data2");
        fs::File::create(&data).unwrap().set_len(16 << 20).unwrap();
        let kept = stage.areas.path().join("kept");
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("needed"), "somebody needs it\n").unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&kept).arg(&data).status().unwrap();
        assert!(made.success());
    }
    let place = |server: usize, what: &str| stage.place(server, what).display().to_string();
    let own = |server: usize| {
        let (data, meta) = (place(server, "data2"), place(server, "meta2"));
        format!("{} = {{ data = \"{data}\", metadata = \"{meta}\" }}", NAMES[server])
    };
    let (data, meta) = (place(0, "data2"), place(0, "meta2"));
    let per_server = format!("per_server={{ {}, {} }}", own(0), own(1));
    let folder = stage.areas.path().join("mnt2");
    let mount = format!("mount={}", folder.display());
    let once = "on_start_failure={ retries = 0, failovers = 0, final = \"none\" }";
    let areas = ["--data-area", &data, "--metadata-area", &meta];
    let words =
        [&["mirror", "create", NEW, "--group", GROUP][..], &areas, &[&per_server, &mount, once]].concat();
    let disk = || {
        let (ok, said) = stage.said(active, &["mirror", "status", NEW, "--json"])?;
        Ok::<Value, io::Error>(if ok { serde_json::from_str(&said).unwrap_or_default() } else { Value::Null })
    };
    let (ok, said) = done(stage.said(active, &[&words[..], &["--dry-run"]].concat()));
    assert!(ok && done(disk())[0].is_null(), "it was only tried: {said}");
    let (ok, said) = done(stage.said(active, &words));
    assert!(ok, "{said}");
    // What is new in a group that runs is started with the group.
    let (ok, said) = done(stage.said(active, &["group", "stop", GROUP]));
    assert!(ok, "{said}");
    let (ok, said) = done(stage.said(active, &["group", "start", GROUP, "--no-wait"]));
    assert!(ok, "{said}");
    let refused = || {
        let (_, shown) = stage.said(active, &["group", "status", GROUP])?;
        let (_, explained) = stage.said(active, &["explain", GROUP])?;
        let all = shown + &explained;
        Ok(all.contains("TSK-1811") && all.contains("ext4"))
    };
    done(stage.told(await_true("a word on the data that is there", refused)));
    for server in 0..2 {
        let show = ["-R", "cat /needed"];
        let there = Command::new("debugfs").args(show).arg(stage.place(server, "data2")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&there.stdout), "somebody needs it\n", "it is as it was");
    }
    let (ok, said) = done(stage.said(active, &["group", "stop", GROUP, "--no-wait"]));
    assert!(ok, "{said}");
    // Its copies are opened anew for that, which takes a moment: it is tried again.
    let again = "on_start_failure={ retries = 1000, failovers = 1, final = \"none\" }";
    let words = ["resource", "modify", NEW, "--attr", "initial_mkfs=force", "--attr", again];
    let (ok, said) = done(stage.said(active, &words));
    assert!(ok, "{said}");
    let starts = || Ok(stage.said(active, &["group", "start", GROUP])?.0);
    done(stage.told(await_true("the group with its new disk", starts)));
    let good = || Ok(disk()?[0]["good"].as_array().is_some_and(|good| good.len() == 2));
    done(stage.told(await_true("both copies of the new disk", good)));
    done(stage.await_whole());
    let active = done(stage.active());
    let there = stage.cluster.lab().run(active, &["ls", &folder.display().to_string()]).unwrap();
    assert_eq!(text(&there), "lost+found\n", "it is a new file system");
    let (ok, said) = done(stage.said(active, &["mirror", "detail", NEW]));
    assert!(ok && said.contains("good copies  kiki, lala"), "{said}");
    println!("{said}");
}

/// Many long writes at once, for the figures of memory.
fn load(stage: &Mirrored, active: usize) {
    if is_there("fio") {
        let job = "--rw=write --bs=1M --iodepth=64 --ioengine=libaio --direct=1 --size=16m --loops=8";
        let script = format!("fio --name=load {job} --filename=load >/dev/null; rm load; sync -f .");
        done(stage.told(stage.on_disk(active, &script)));
    }
}

/// What the nodes hold in memory.
fn memory(stage: &Mirrored, when: &str) {
    for (server, name) in NAMES.iter().enumerate().take(2) {
        let pid = done(stage.cluster.node(server)).pid;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let of = |key: &str| {
            status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?").trim().to_owned()
        };
        println!("{when}, the node of {name}: {} now, at most {}", of("VmRSS:"), of("VmHWM:"));
    }
}
