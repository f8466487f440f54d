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

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use serde_json::Value;
use tasuki_tests::{
    hosts::{
        NAMES, await_some, await_true,
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
    compare(&stage, active);
    counts(&stage, active);
    grows(&stage, active);
    done(stage.await_lines(&writer, SOME));
    check(&stage, &writer);
}

/// The copies are equal. A check ends with its node, which a machine without time may take for a dead one:
/// then it is asked for once more.
fn compare(stage: &Mirrored, on: usize) {
    let compared = await_some("a check of the copies", || {
        let (_, text) = stage.said(on, &["mirror", "verify", DISK])?;
        Ok((text.contains("no difference") || text.contains(" differ, ")).then_some(text))
    });
    let text = done(stage.told(compared));
    assert!(text.contains("no difference"), "{text}");
}

/// What `mirror detail` counts is what the kernel has counted at the device, unless it was opened anew in
/// between: then once more.
fn counts(stage: &Mirrored, active: usize) {
    let device = done(stage.on_disk(active, "readlink -f /dev/tasuki/md"));
    let device = device.trim().trim_start_matches("/dev/").to_owned();
    let at_device = || {
        let all = fs::read_to_string("/proc/diskstats")?;
        let mut lines = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.get(2) == Some(&device.as_str()));
        let sectors = line.and_then(|words| words.get(9)?.parse::<u64>().ok());
        sectors.map(|sectors| sectors * 512).ok_or_else(|| io::Error::other("there is no such device"))
    };
    let counted = || {
        let disk = stage.disk()?;
        let bytes = disk["copies"][active]["here"]["counters"]["written_bytes"].as_u64();
        Ok::<_, io::Error>((disk["epoch"].clone(), bytes.unwrap_or_default()))
    };
    let counts = await_some("counters of one opening", || {
        // The service writes all the time: what the one has seen lies between two looks at the other.
        let (early, first, late) = (at_device()?, counted()?, at_device()?);
        stage.on_disk(active, "head -c 5000000 /dev/urandom >counted; sync -f .")?;
        let (before, second, after) = (at_device()?, counted()?, at_device()?);
        Ok((first.0 == second.0).then(|| (second.1 - first.1, before - late, after - early)))
    });
    let (written, least, most) = done(stage.told(counts));
    println!("{written} bytes by mirror detail, {least} to {most} by {device}");
    assert!(written >= 5_000_000 && (least..=most).contains(&written));
}

/// The data areas are made larger under a volume in use, and then the volume, and its file system. A copy
/// that is opened anew is as large, whatever size a missing file would be made with.
fn grows(stage: &Mirrored, active: usize) {
    let size = |server: usize| done(stage.disk())["copies"][server]["here"]["size"].as_u64();
    let (ok, text) = done(stage.said(active, &["mirror", "resize", DISK]));
    assert!(ok && text.contains("32.0 MiB"), "no area has grown: {text}");
    for server in 0..2 {
        File::options().write(true).open(stage.place(server, "data")).unwrap().set_len(64 << 20).unwrap();
    }
    let (ok, text) = done(stage.said(active, &["mirror", "resize", DISK]));
    assert!(ok && text.contains("64.0 MiB"), "{text}");
    done(stage.await_disk("copies of the new size", |_| (0..2).all(|server| size(server) == Some(64 << 20))));
    let device = done(stage.on_disk(active, "blockdev --getsize64 /dev/tasuki/md"));
    assert_eq!(device.trim(), (64 << 20).to_string(), "the kernel sees it");
    // More than there was space for before, where there is space now.
    let fill = match stage.on_disk(active, "resize2fs /dev/tasuki/md") {
        Err(error) if error.to_string().contains("Permission denied to resize") => {
            println!("skipped: the file system is as large as before, because root may not grow one here");
            5_000_000
        }
        grown => {
            done(stage.told(grown));
            40_000_000
        }
    };
    let fill = format!("head -c {fill} /dev/urandom >large; sync -f .; sha256sum large");
    let written = done(stage.told(stage.on_disk(active, &fill)));
    let standby = done(stage.cluster.node(1 - active));
    done(standby.signal(Signal::SIGKILL));
    let anew = || Ok(stage.cluster.node(1 - active).is_ok_and(|node| node.pid != standby.pid));
    done(stage.told(await_true("a node that started anew", anew)));
    done(stage.await_good(1));
    done(stage.await_whole());
    done(stage.told(stage.cluster.move_to(1 - active)));
    assert_eq!(done(stage.on_disk(1 - active, "sha256sum large")), written);
    assert_eq!((size(0), size(1)), (Some(64 << 20), Some(64 << 20)));
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
    comes_back(&stage);
    assert_eq!(done(stage.on_disk(0, "sha256sum fill")), written, "all of it is on the copy that had failed");
    done(stage.await_lines(&writer, SOME));
    check(&stage, &writer);
    drop(small);
}

/// A failed disk is remembered by a node that starts anew, and is used again when somebody says so.
fn comes_back(stage: &Mirrored) {
    let failed = |disk: &Value| {
        let here = &disk["copies"][0]["here"];
        let problem = here["problem"].as_str().unwrap_or_default();
        here["disk"] == "failed" && problem.starts_with("TSK-1807")
    };
    let killed = done(stage.cluster.node(0));
    done(killed.signal(Signal::SIGKILL));
    let anew = || Ok(stage.cluster.node(0).is_ok_and(|node| node.pid != killed.pid));
    done(stage.told(await_true("a node that started anew", anew)));
    done(
        stage.told(await_true("what the new node says", || Ok(stage.disk_on(0).is_ok_and(|it| failed(&it))))),
    );
    let (_, screen) = done(stage.said(1, &["mirror", "status"]));
    assert!(screen.contains("TSK-1807") && screen.contains("`tasuki mirror rebuild`"), "{screen}");
    println!("{screen}");
    // The disk is as full as before, and fails again.
    let (ok, text) = done(stage.said(1, &["mirror", "rebuild", DISK, "--server", NAMES[0]]));
    assert!(!ok, "there is no space yet: {text}");
    done(stage.await_disk("a copy that failed again", failed));
    let small = stage.areas.path().join(NAMES[0]);
    let larger = Command::new("mount").args(["-o", "remount,size=80m"]).arg(small).status().unwrap();
    assert!(larger.success());
    let (ok, text) = done(stage.said(1, &["mirror", "rebuild", DISK, "--server", NAMES[0]]));
    assert!(ok, "{text}");
    done(stage.await_whole());
    done(stage.told(stage.cluster.move_to(0)));
}

/// A file system in a file, whose writes can be held up.
struct Held {
    folder: std::path::PathBuf,
    image: std::path::PathBuf,
}

impl Held {
    fn under(folder: &Path, image: std::path::PathBuf) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        File::create(&image)?.set_len(128 << 20)?;
        let run = |command: &mut Command| match command.status()?.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("{command:?} failed"))),
        };
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder))?;
        Ok(Self { folder: folder.to_owned(), image })
    }

    fn hold(&self, hold: bool) {
        let word = if hold { "-f" } else { "-u" };
        assert!(Command::new("fsfreeze").arg(word).arg(&self.folder).status().unwrap().success());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever waits for it could not be ended otherwise.
        let _it_may_go_on_already = Command::new("fsfreeze").arg("-u").arg(&self.folder).output();
        let _it_ends_with_its_users = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _it_is_gone_with_its_folder = fs::remove_file(&self.image);
    }
}

#[test]
fn c5_a_copy_whose_disk_hangs_is_put_out_with_a_word_and_comes_back_by_itself() {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let service = |mount: &Path| Ok(format!("{ledger} {}", mount.join("ledger").display()));
    let held = std::cell::RefCell::new(None);
    let prepare = |areas: &Path| {
        *held.borrow_mut() = Some(Held::under(&areas.join(NAMES[0]), areas.join("disk"))?);
        Ok(())
    };
    let stage = done(Mirrored::form_with(DETECT, 32, "peer_timeout = \"1s\"", prepare, service));
    let held = held.into_inner().unwrap();
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    done(stage.told(stage.cluster.move_to(1)));
    let writer = Writer::start(stage.cluster.lab().clone(), stage.cluster.target());
    done(stage.await_lines(&writer, SOME));
    held.hold(true);
    let good = |disk: Value| disk["good"].as_array().map(Vec::len);
    let out = || Ok(stage.disk_on(1).ok().and_then(good) == Some(1));
    done(stage.told(await_true("a copy that was put out", out)));
    done(stage.await_lines(&writer, SOME));
    let log = fs::read_to_string(stage.cluster.log(1)).unwrap();
    assert!(log.contains("goes on without the copy on kiki"), "nobody was told");
    held.hold(false);
    done(stage.await_whole());
    check(&stage, &writer);
    compare(&stage, 1);
    drop(held);
}
