//! The numbers of a mirrored volume: what a write costs beside the raw file, two files, plain TCP, and
//! qemu's user-space mirror, all in one run on this machine. Prints a table of ratios.
//!
//! `MIRROR_BENCH_DIR` is where the files are made (a folder on the disk to be measured; `/var/tmp`
//! otherwise), `MIRROR_BENCH_SECONDS` how long each measurement takes (3), `MIRROR_BENCH_ONLY` words of which
//! a part's title has one (`depth 1,reads`), `MIRROR_BENCH_LINES` the same for the lines of a part. With
//! `MIRROR_BENCH_CPU=1` each line also says how many microseconds of a processor one operation takes, by
//! threads: that can be compared also on a machine that does other things. `MIRROR_BENCH_RESYNC_GIB=20` is
//! the size of a sparse volume of which one block in a hundred is copied, and then all of it.
//!
//! Both servers are threads of this process; between them is what a cluster has, gRPC with mutual TLS, over
//! loopback. The same over plain TCP is a line beside it.
#![allow(clippy::unwrap_used)]

mod nbd;
mod pair;
mod qemu;
mod resync;
mod stream;
mod table;

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use self::table::Table;

const SIZE: u64 = 1 << 30;
const BLOCK: usize = 4096;
const STREAM_LEVEL: &str = "4 KiB write and flush, one after the other";
const RESYNC: &str = "resync";
const PACKED: &str = "compression of a resync, half of the data random";

fn main() {
    let folder = std::env::var("MIRROR_BENCH_DIR").unwrap_or_else(|_| "/var/tmp".to_owned());
    let folder = tempfile::tempdir_in(folder).unwrap();
    let bench = Bench {
        time: Duration::from_secs(
            std::env::var("MIRROR_BENCH_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(3),
        ),
        folder: folder.path().to_owned(),
        only: words("MIRROR_BENCH_ONLY"),
        lines: words("MIRROR_BENCH_LINES"),
    };
    println!(
        "files in {}, {} s each; ratios are to the first line of a part\n",
        bench.folder.display(),
        bench.time.as_secs()
    );
    if bench.wants(STREAM_LEVEL) {
        bench.stream_level();
    }
    if has("fio") {
        bench.over_nbd();
    } else {
        println!("over NBD: skipped, because fio is not installed");
    }
    if bench.wants(RESYNC) {
        bench.resync();
    }
    if bench.wants(PACKED) {
        bench.packed();
    }
    if let Some(size) = std::env::var("MIRROR_BENCH_RESYNC_GIB").ok().and_then(|it| it.parse::<u64>().ok()) {
        bench.one_in_a_hundred(size << 30);
    }
}

/// What a variable lists.
fn words(variable: &str) -> Vec<String> {
    std::env::var(variable).map(|it| it.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

/// Whether a list names this; an empty one names everything.
fn names(list: &[String], title: &str) -> bool {
    list.is_empty() || list.iter().any(|word| title.contains(word.as_str()))
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

struct Bench {
    time: Duration,
    folder: PathBuf,
    only: Vec<String>,
    lines: Vec<String>,
}

impl Bench {
    fn table(&self, title: &str, unit: &str) -> Table {
        Table::new(title, unit, &self.lines)
    }

    fn wants(&self, title: &str) -> bool {
        names(&self.only, title)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        if !path.exists() {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
            // Written, not only allocated: the first write to a block would cost more than later ones.
            let zeroes = vec![0; 1 << 20];
            for _ in 0..SIZE >> 20 {
                file.write_all(&zeroes).unwrap();
            }
            file.sync_all().unwrap();
        }
        path
    }

    fn open(&self, name: &str) -> File {
        OpenOptions::new().read(true).write(true).open(self.file(name)).unwrap()
    }

    /// How often this can be done in a second.
    fn count(&self, mut once: impl FnMut(u64)) -> f64 {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < self.time {
            once(count);
            count += 1;
        }
        count as f64 / began.elapsed().as_secs_f64()
    }
}

/// Places all over the first half, none twice in a row.
fn place(at: u64) -> u64 {
    at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (SIZE / 2 / BLOCK as u64) * BLOCK as u64
}
