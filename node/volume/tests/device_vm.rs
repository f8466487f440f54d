//! Ways to a block device that need a kernel of their own, in virtual machines (`tests/vm`): R34, a
//! device that waits for the next process of ours when one is killed.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Longer than any machine here takes, on a busy host.
const LIMIT: &str = "400";

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vm")
}

/// The console of a machine that ran the scenario. `None`: skipped, and said so.
fn run(scenario: &str, program: &str, way: &str, release: &str, module: &str) -> Option<String> {
    let needed = [
        "qemu-system-x86_64",
        "busybox",
        "cpio",
        "depmod",
        "modprobe",
        "dpkg-deb",
        "apt-get",
        "mkfs.ext4",
        "xz",
    ];
    let missing = needed.iter().find(|program| {
        !Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
    });
    if let Some(missing) = missing {
        eprintln!("skipped, because {missing} is missing");
        return None;
    }
    let base =
        std::env::var_os("TASUKI_VM_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let kit = base.join(format!("vm-{way}"));
    if !kit.join("made-2").exists() {
        let built = Command::new("sh")
            .arg(scripts().join("build.sh"))
            .arg(&kit)
            .args([release, module])
            .output()
            .unwrap();
        if !built.status.success() {
            eprintln!(
                "skipped, because the kernel cannot be had: {}",
                String::from_utf8_lossy(&built.stderr)
            );
            return None;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("scenario");
    fs::create_dir(&inside).unwrap();
    fs::copy(scripts().join("scenarios").join(scenario), inside.join("scenario.sh")).unwrap();
    fs::write(inside.join("order"), way).unwrap();
    fs::File::create(inside.join("image")).unwrap().set_len(32 * 1024 * 1024).unwrap();
    good(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(inside.join("image")));
    let program = std::env::current_exe().unwrap().parent().unwrap().join("../examples").join(program);
    let first = folder.path().join("initrd");
    good(Command::new("sh").arg(scripts().join("pack.sh")).args([&kit, &inside, &first, &program]));
    let seen = Command::new("timeout")
        .args([LIMIT, "qemu-system-x86_64", "-no-reboot"])
        .args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "768"])
        .args(["-nodefaults", "-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kit.join("vmlinuz"))
        .arg("-initrd")
        .arg(&first)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&seen.stdout).into_owned())
}

fn good(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The device waited, nothing failed, nothing was lost, and a cut ended it.
fn outlived(console: &str, node: &str) {
    let says = |what: &str| assert!(console.contains(what), "{what} is missing in\n{console}");
    says(&format!("MARK server said /dev/tasuki/data is {node}"));
    says("MARK killed");
    says("MARK nothing failed");
    says("MARK detached with 0");
    says("MARK found first and 300 lines");
    says("TSK-1837");
    says("mounted at /mnt");
    says("MARK cut off with 0");
    says("MARK writing fails");
    says("MARK end of the scenario");
    assert!(!console.contains("MARK not mounted"), "{console}");
    assert!(!console.contains("the kernel complains"), "{console}");
}

#[test]
fn r34_a_device_of_the_kernels_nbd_client_waits_for_the_next_process() {
    let Some(console) = run("device_outlives.sh", "volume_device", "nbd", "", "nbd") else { return };
    outlived(&console, "/dev/nbd");
}

#[test]
fn r34_a_device_of_the_user_space_block_driver_waits_for_the_next_process() {
    let ublk = run("device_outlives.sh", "volume_device", "ublk", "bookworm-backports", "ublk_drv");
    let Some(console) = ublk else { return };
    outlived(&console, "/dev/ublkb");
}

/// The same with a mirrored volume behind the device: neither the end of its server nor that of its peer
/// fails anything, both copies are equal in the end, and a stand-down ends it.
fn mirrored(console: &str, node: &str) {
    let says = |what: &str| assert!(console.contains(what), "{what} is missing in\n{console}");
    says(&format!("MARK server said /dev/tasuki/data is {node}"));
    says("MARK killed");
    says("MARK server said resync");
    says("MARK server said back");
    says("MARK server said out");
    says("MARK nothing failed");
    says("MARK closed with 0");
    says("MARK the copies are equal");
    says("MARK found first and 300 lines");
    says("MARK stood down with 0");
    says("MARK writing fails");
    says("MARK end of the scenario");
    assert!(!console.contains("MARK not mounted"), "{console}");
    assert!(!console.contains("the kernel complains"), "{console}");
}

#[test]
#[ignore = "one more machine: just vm-mirror"]
fn r34_a_mirrored_device_of_the_kernels_nbd_client_waits_for_the_next_process() {
    let Some(console) = run("device_mirror.sh", "pair", "nbd", "", "nbd") else { return };
    mirrored(&console, "/dev/nbd");
}

#[test]
fn r34_a_mirrored_device_of_the_user_space_block_driver_waits_for_the_next_process() {
    let ublk = run("device_mirror.sh", "pair", "ublk", "bookworm-backports", "ublk_drv");
    let Some(console) = ublk else { return };
    mirrored(&console, "/dev/ublkb");
}
