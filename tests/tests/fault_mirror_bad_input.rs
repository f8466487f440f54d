//! Areas and ports that cannot be used, at a server that comes back: each is refused with its code and
//! what to do, nothing is changed by it, the service goes on from the other copy, and when it is put in
//! order the copy is opened by itself. And a disk that is full under a copy.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use tasuki_tests::{
    hosts::{
        NAMES,
        mirrored::{DISK, Mirrored},
        witness::Witness,
    },
    ledger::Writer,
    network::Network,
};

/// Longer than a loaded machine keeps a beat back: nothing here is about times.
const DETECT: Duration = Duration::from_secs(4);
const SOME: usize = 20;

/// Errors have many lines: shown as they are.
fn done<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Nothing that was acknowledged is missing on the disk.
fn check(stage: &Mirrored, writer: &Writer) {
    let acknowledged = writer.count();
    let text = done(stage.on_disk(done(stage.active()), "cat ledger"));
    let missing = writer.missing(&text, acknowledged);
    assert!(missing.is_empty(), "{} acknowledged lines are missing: {missing:?}", missing.len());
    println!("{acknowledged} acknowledged lines, none is missing");
}

#[test]
fn c5_what_cannot_be_an_area_is_named_and_left_alone_and_the_service_goes_on() {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let service = |mount: &Path| Ok(format!("{ledger} {}", mount.join("ledger").display()));
    let stage = done(Mirrored::form(DETECT, 32, service));
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    let writer = Writer::start(stage.cluster.lab().clone(), stage.cluster.target());
    done(stage.await_lines(&writer, SOME));
    let (active, back) = (done(stage.active()), 1 - done(stage.active()));
    let (data, meta) = (stage.place(back, "data"), stage.place(back, "meta"));
    done(stage.cluster.power_off(back));
    done(stage.await_good(1));
    let good = fs::read(&meta).unwrap();
    let refused = |code: &str, remedy: &str| {
        let red = |disk: &Value| {
            let copy = &disk["copies"][back];
            let problem = copy["here"]["problem"].as_str().unwrap_or_default();
            problem.starts_with(code) && copy["colour"] == "red"
        };
        done(stage.await_disk(code, red));
        let (_, screen) = done(stage.said(active, &["mirror", "status"]));
        assert!(screen.contains(code) && screen.contains(remedy), "{code}: {screen}");
        println!("{screen}");
    };

    // The mirror port, before the node is there.
    stage.cluster.lab().power_on(back).unwrap();
    let place = SocketAddr::new(Network::Interconnect.address(back), 29051);
    let listen = |machine: &tasuki_tests::network::Machine| machine.on_network(|| TcpListener::bind(place));
    let listener = stage.cluster.lab().with_machine(back, listen).unwrap().unwrap().unwrap();
    done(stage.cluster.start_guard(back));
    refused("TSK-1861", "`port`");
    let before = fs::read(stage.place(active, "meta")).unwrap();
    fs::write(&meta, &before).unwrap();
    drop(listener);
    // Another server's area: as after a machine was cloned.
    refused("TSK-1822", "check the path");
    assert_eq!(fs::read(&meta).unwrap(), before, "it is left alone");
    // A file system.
    fs::write(&meta, vec![0; good.len()]).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&meta).status().unwrap();
    assert!(made.success());
    refused("TSK-1823", "zeroes over its first 10 MB");
    // Something else has written over a part of it.
    fs::write(&meta, &good).unwrap();
    File::options().write(true).open(&meta).unwrap().write_all_at(&[0xee; 4096], 0).unwrap();
    refused("TSK-1824", "zeroes over the first 10 MB");
    // Somebody else has the data area. It is looked at before the other one.
    let held = Flock::lock(File::open(&data).unwrap(), FlockArg::LockExclusive).unwrap();
    refused("TSK-1821", "end who uses it");
    fs::write(&meta, &good).unwrap();
    // Half as large as the other one.
    let file = File::options().read(true).write(true).open(&data).unwrap();
    let mut end = vec![0; 16 << 20];
    file.read_exact_at(&mut end, 16 << 20).unwrap();
    file.set_len(16 << 20).unwrap();
    drop(held);
    refused("TSK-1826", "equally large");
    file.write_all_at(&end, 16 << 20).unwrap();

    // In order again, it is opened by itself and brought up to date.
    done(stage.await_whole());
    done(stage.await_lines(&writer, SOME));
    check(&stage, &writer);
    let (_, text) = done(stage.said(active, &["mirror", "verify", DISK]));
    assert!(text.contains("no difference"), "{text}");
}

/// A file system of its own under the areas of a server: a small one.
struct Small(std::path::PathBuf);

impl Small {
    fn under(folder: &Path, mebibytes: u32) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let size = format!("size={mebibytes}m,mode=755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).status()?;
        if !mounted.success() {
            return Err(io::Error::other("a small file system cannot be mounted"));
        }
        // With holes: the space under it is not reserved.
        File::create(folder.join("data"))?.set_len(u64::from(DISK_MEBIBYTES) << 20)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _it_ends_with_its_users = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const DISK_MEBIBYTES: u32 = 48;

#[test]
fn r27_a_disk_that_is_full_under_its_copy_is_failed_and_the_service_goes_on_through_the_other_server() {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let service = |mount: &Path| Ok(format!("{ledger} {}", mount.join("ledger").display()));
    let small = std::cell::RefCell::new(None);
    let prepare = |areas: &Path| {
        let folder = areas.join(NAMES[0]);
        Small::under(&folder, 40)?;
        *small.borrow_mut() = Some(Small(folder));
        Ok(())
    };
    let stage = done(Mirrored::form_with(DETECT, DISK_MEBIBYTES, "", prepare, service));
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    done(stage.told(stage.cluster.move_to(0)));
    let writer = Writer::start(stage.cluster.lab().clone(), stage.cluster.target());
    done(stage.await_lines(&writer, SOME));
    // More than there is space for: the disk under it says so in the middle.
    let fill = "head -c 30000000 /dev/urandom >fill; sync -f .; sha256sum fill";
    let written = done(stage.told(stage.on_disk(0, fill)));
    let failed = |disk: &Value| {
        disk["copies"][0]["here"]["disk"] == "failed"
            && disk["good"].as_array().is_some_and(|it| it.len() == 1)
    };
    done(stage.await_disk("a copy that failed", failed));
    assert_eq!(done(stage.active()), 0, "it goes on there, through the other server");
    done(stage.await_lines(&writer, SOME));
    check(&stage, &writer);
    let (_, screen) = done(stage.said(0, &["mirror", "status"]));
    println!("{screen}");
    done(stage.told(stage.cluster.move_to(1)));
    assert_eq!(done(stage.on_disk(1, "sha256sum fill")), written, "all of it is on the other copy");
    done(stage.await_lines(&writer, SOME));
    check(&stage, &writer);
    drop(small);
}
