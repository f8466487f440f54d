//! What clients of an NBD export see, measured with fio.

use std::process::Command;

use crate::{
    Bench, SIZE,
    pair::{Pair, Way},
    qemu::{Kind, Qemu},
};

impl Bench {
    pub fn over_nbd(&self) {
        let works: [(&str, &str, &[&str], &str); 5] = [
            (
                "4 KiB write and flush, queue depth 1",
                "psync",
                &["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
                "write",
            ),
            (
                "4 KiB, 32 writers, each flushing",
                "psync",
                &["--rw=randwrite", "--bs=4k", "--numjobs=32", "--fsync=1", "--thread"],
                "write",
            ),
            (
                "4 KiB writes, queue depth 32, no flush",
                "io_uring",
                &["--rw=randwrite", "--bs=4k", "--iodepth=32"],
                "write",
            ),
            (
                "1 MiB writes one after the other",
                "psync",
                &["--rw=write", "--bs=1m", "--iodepth=4", "--end_fsync=1"],
                "write",
            ),
            (
                "4 KiB reads, queue depth 32",
                "io_uring",
                &["--rw=randread", "--bs=4k", "--iodepth=32"],
                "read",
            ),
        ];
        let wanted: Vec<_> = works.into_iter().filter(|work| self.wants(work.0)).collect();
        if wanted.is_empty() {
            return;
        }
        let alone = Pair::new(self, None);
        let plain = Pair::new(self, Some(Way::Plain));
        let pair = Pair::new(self, Some(Way::Tls));
        let mut targets = vec![
            ("NBD export without a mirror", nbd(&alone.export(&self.folder.join("alone.nbd")), "data")),
            ("NBD export, mirrored", nbd(&pair.export(&self.folder.join("pair.nbd")), "data")),
            ("the same over plain TCP", nbd(&plain.export(&self.folder.join("plain.nbd")), "data")),
        ];
        let mut daemons = Vec::new();
        for (name, kind) in [
            ("qemu-storage-daemon, one file", Kind::Alone),
            ("qemu-storage-daemon, quorum", Kind::Quorum),
            ("qemu-storage-daemon, write-blocking mirror", Kind::Mirror),
        ] {
            match Qemu::start(self, kind) {
                Some(daemon) => {
                    targets.push((name, nbd(&daemon.socket, "q")));
                    daemons.push(daemon);
                }
                None => println!("{name}: skipped, because it is not installed"),
            }
        }
        let raw = self.file("raw").display().to_string();
        for (title, engine, options, side) in wanted {
            let mut table = self.table(title, "1/s");
            if side == "write" {
                table = table.cold(&self.folder);
            }
            let file = [format!("--ioengine={engine}"), format!("--filename={raw}")];
            table.line("raw file", || self.fio(&file, options, side));
            for (name, target) in &targets {
                table.line(name, || self.fio(target, options, side));
            }
            println!();
        }
    }

    fn fio(&self, target: &[String], options: &[&str], side: &str) -> f64 {
        let output = Command::new("fio")
            .args([
                "--name=it",
                "--output-format=json",
                "--time_based",
                "--group_reporting",
                "--randrepeat=0",
            ])
            .arg(format!("--runtime={}", self.time.as_secs()))
            .arg(format!("--size={}", SIZE / 2))
            .args(target)
            .args(options)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let json: serde_json::Value = text
            .find('{')
            .and_then(|start| serde_json::from_str(&text[start..]).ok())
            .unwrap_or_else(|| panic!("fio: {text} {}", String::from_utf8_lossy(&output.stderr)));
        let job = &json["jobs"][0];
        let iops = job[side]["iops"].as_f64().unwrap_or_default();
        if std::env::var_os("MIRROR_BENCH_CPU").is_some() {
            let part = |name: &str| job[name].as_f64().unwrap_or_default() * 10_000.0 / iops;
            print!("  [fio {:.1} and {:.1} in the kernel]", part("usr_cpu"), part("sys_cpu"));
        }
        iops
    }
}

/// fio's words for an export.
fn nbd(socket: &str, export: &str) -> Vec<String> {
    vec!["--ioengine=nbd".to_owned(), format!("--uri=nbd+unix:///{export}?socket={socket}")]
}
