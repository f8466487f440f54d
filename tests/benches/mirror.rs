//! The numbers of a mirrored volume: what a write costs beside the raw file, two files, plain TCP, and
//! qemu's user-space mirror, all in one run on this machine. Prints a table of ratios.
//!
//! `MIRROR_BENCH_DIR` is where the files are made (a folder on the disk to be measured; `/var/tmp`
//! otherwise), `MIRROR_BENCH_SECONDS` how long each measurement takes (3), `MIRROR_BENCH_ONLY` words of which
//! a part's title has one (`depth 1,reads`), `MIRROR_BENCH_LINES` the same for the lines of a part. With
//! `MIRROR_BENCH_CPU=1` each line also says how many microseconds of a processor one operation takes, by
//! threads: that can be compared also on a machine that does other things. `MIRROR_BENCH_RESYNC_GIB=20` is
//! the size of a sparse volume of which one block in a hundred is copied, and then all of it. Both servers are threads of this
//! process, with a TCP connection over loopback between them.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki_core::{
    config::Compression,
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{geometry::Geometry, state::PeerMode},
};
use tasuki_storage::volume::{FileArea, Management, Owner};
use tasuki_volume::{
    block::{BlockError, Door, Request},
    export::{Export, Offer},
    path::{Options, Reception, Volume, VolumeEvent, stream},
};
use tokio::sync::{mpsc, oneshot};

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

/// A table whose first line is what the others are compared with.
struct Table {
    first: Option<f64>,
    lines: Vec<String>,
}

/// Nanoseconds of a processor that the threads of this process have had, by their names.
fn processor() -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let nanos =
            read("schedstat").split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
        *sums.entry(read("comm").trim().to_owned()).or_default() += nanos;
    }
    sums
}

/// What one operation took of that, in microseconds.
fn processor_each(before: &BTreeMap<String, u64>, operations: f64) -> String {
    let each = |(name, nanos): (String, u64)| {
        let more = nanos.saturating_sub(before.get(&name).copied().unwrap_or_default());
        let micros = more as f64 / 1000.0 / operations;
        (micros >= 0.1).then(|| format!("{name} {micros:.1}"))
    };
    processor().into_iter().filter_map(each).collect::<Vec<_>>().join(", ")
}

impl Table {
    fn line(&mut self, name: &str, measure: impl FnOnce() -> f64) {
        if names(&self.lines, name) {
            let (before, began) = (processor(), Instant::now());
            let value = measure();
            let first = *self.first.get_or_insert(value);
            print!("  {name:<44} {value:>12.1}   {:>6.2}", value / first);
            if std::env::var_os("MIRROR_BENCH_CPU").is_some() {
                print!("   {}", processor_each(&before, value * began.elapsed().as_secs_f64()));
            }
            println!();
        }
    }
}

impl Bench {
    fn table(&self, title: &str, unit: &str) -> Table {
        println!("{title} ({unit})");
        Table { first: None, lines: self.lines.clone() }
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

    fn stream_level(&self) {
        let block = [7; BLOCK];
        let mut table = self.table(STREAM_LEVEL, "1/s");
        let (one, other) = (self.open("raw"), self.open("raw2"));
        table.line("two files side by side", || {
            let (ask, asked) = std::sync::mpsc::channel::<u64>();
            let (tell, told) = std::sync::mpsc::channel();
            let second = thread::spawn(move || {
                for at in asked {
                    other.write_all_at(&[7; BLOCK], place(at)).unwrap();
                    other.sync_data().unwrap();
                    tell.send(()).unwrap();
                }
            });
            let rate = self.count(|at| {
                ask.send(at).unwrap();
                one.write_all_at(&block, place(at)).unwrap();
                one.sync_data().unwrap();
                told.recv().unwrap();
            });
            drop(ask);
            second.join().unwrap();
            rate
        });
        table.line("one file", || {
            let file = self.open("raw");
            self.count(|at| {
                file.write_all_at(&block, place(at)).unwrap();
                file.sync_data().unwrap();
            })
        });
        table.line("own file and one behind plain TCP", || self.plain_tcp());
        let pair = Pair::new(self, true);
        let door = pair.door.clone();
        table.line("mirrored volume", || {
            pair.run(async {
                let began = Instant::now();
                let mut at = 0;
                while began.elapsed() < self.time {
                    write(&door, place(at), Bytes::from_static(&[7; BLOCK])).await.unwrap();
                    flush(&door).await.unwrap();
                    at += 1;
                }
                at as f64 / began.elapsed().as_secs_f64()
            })
        });
        println!();
    }

    fn plain_tcp(&self) -> f64 {
        let (own, far) = (self.open("raw"), self.open("raw2"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut bytes = [0; 8 + BLOCK];
            while stream.read_exact(&mut bytes).is_ok() {
                let at = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                far.write_all_at(&bytes[8..], at).unwrap();
                far.sync_data().unwrap();
                stream.write_all(&[1]).unwrap();
            }
        });
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut bytes = [7; 8 + BLOCK];
        let rate = self.count(|at| {
            bytes[..8].copy_from_slice(&place(at).to_le_bytes());
            stream.write_all(&bytes).unwrap();
            own.write_all_at(&bytes[8..], place(at)).unwrap();
            own.sync_data().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        });
        drop(stream);
        server.join().unwrap();
        rate
    }

    fn over_nbd(&self) {
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
        let alone = Pair::new(self, false);
        let alone_at = alone.export(&self.folder.join("alone.nbd"));
        let pair = Pair::new(self, true);
        let pair_at = pair.export(&self.folder.join("pair.nbd"));
        let quorum = Quorum::start(self);
        let raw = self.file("raw").display().to_string();
        let raw_job = |engine: &str| vec![format!("--ioengine={engine}"), format!("--filename={raw}")];
        let nbd = |socket: &str, export: &str| {
            vec!["--ioengine=nbd".to_owned(), format!("--uri=nbd+unix:///{export}?socket={socket}")]
        };
        for (title, engine, options, side) in wanted {
            let mut table = self.table(title, "1/s");
            table.line("raw file", || self.fio(&raw_job(engine), options, side));
            table.line("NBD export without a mirror", || self.fio(&nbd(&alone_at, "data"), options, side));
            table.line("NBD export, mirrored", || self.fio(&nbd(&pair_at, "data"), options, side));
            match &quorum {
                Some(quorum) => table.line("qemu-storage-daemon, quorum", || {
                    self.fio(&nbd(&quorum.socket, "q"), options, side)
                }),
                None => println!("  qemu-storage-daemon, quorum: skipped, because it is not installed"),
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

    fn resync(&self) {
        let mut table = self.table(RESYNC, "MiB/s");
        let (from, to) = (self.open("raw"), self.open("raw2"));
        let mut bytes = vec![0; 1 << 20];
        table.line("copying one file to the other", || {
            let began = Instant::now();
            for at in 0..SIZE >> 20 {
                from.read_exact_at(&mut bytes, at << 20).unwrap();
                bytes[0] = at as u8 | 1;
                to.write_all_at(&bytes, at << 20).unwrap();
            }
            to.sync_data().unwrap();
            (SIZE >> 20) as f64 / began.elapsed().as_secs_f64()
        });
        let mut pair = Pair::new(self, true);
        let filled = SIZE / 2;
        let writes = (0..filled >> 20).map(|at| {
            let mut bytes = vec![at as u8 | 1; 1 << 20];
            bytes[..8].copy_from_slice(&at.to_le_bytes());
            (at << 20, bytes)
        });
        let took = pair.resync(writes, &[false, true]);
        table.line("what differs, all of it different", || (filled >> 20) as f64 / took[0]);
        table.line("all, half of it equal and half zeroes", || (SIZE >> 20) as f64 / took[1]);
        println!();
    }

    /// How much compression costs, or gains, on a link that is as fast as memory; and what goes over it.
    fn packed(&self) {
        let mut table = self.table(PACKED, "MiB/s");
        let megabytes = 256_u64;
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let options = Options { compression, ..Options::default() };
            let mut pair = Pair::with(self, true, SIZE, &options);
            let mut state = 1_u64;
            let writes = (0..megabytes).map(|at| {
                let mut bytes = vec![7; 1 << 20];
                for word in bytes.chunks_exact_mut(16) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    word[..8].copy_from_slice(&state.to_le_bytes());
                }
                (at << 20, bytes)
            });
            let took = pair.resync(writes, &[false]);
            table.line(&format!("{compression:?}"), || megabytes as f64 / took[0]);
        }
        println!();
    }

    /// A large sparse volume: what differs at random places, and all of it.
    fn one_in_a_hundred(&self, size: u64) {
        let title =
            format!("resync of a sparse volume of {} GiB, one block in a hundred written", size >> 30);
        let mut table = self.table(&title, "seconds");
        let mut pair = Pair::with(self, true, size, &Options::default());
        let blocks = size / BLOCK as u64;
        let writes = (0..blocks / 100).map(|at| {
            let place = at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % blocks;
            let mut bytes = vec![3; BLOCK];
            bytes[..8].copy_from_slice(&place.to_le_bytes());
            (place * BLOCK as u64, bytes)
        });
        let took = pair.resync(writes, &[false, true]);
        table.line("all of it", || took[1]);
        table.line("what differs", || took[0]);
        println!();
    }
}

fn place(at: u64) -> u64 {
    at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (SIZE / 2 / BLOCK as u64) * BLOCK as u64
}

async fn write(door: &Door, offset: u64, data: Bytes) -> Result<(), BlockError> {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Write { offset, data, durable: false, answer }).await.unwrap();
    answered.await.unwrap()
}

async fn flush(door: &Door) -> Result<(), BlockError> {
    let (answer, answered) = oneshot::channel();
    door.requests.send(Request::Flush { answer }).await.unwrap();
    answered.await.unwrap()
}

/// A volume, alone or with a peer over TCP.
struct Pair {
    volume: Arc<Volume>,
    _peer: Option<Arc<Volume>>,
    door: Door,
    events: Option<mpsc::UnboundedReceiver<VolumeEvent>>,
}

impl Pair {
    fn new(bench: &Bench, mirrored: bool) -> Self {
        Self::with(bench, mirrored, SIZE, &Options::default())
    }

    /// One larger than the others is sparse.
    fn with(bench: &Bench, mirrored: bool, size: u64, options: &Options) -> Self {
        let kind = format!("{mirrored}-{:?}", Instant::now()).replace(|it: char| !it.is_alphanumeric(), "");
        let (kiki, lala) = (ServerName::from("kiki"), ServerName::from("lala"));
        let open = |server: &ServerName, peer: &ServerName| {
            let name = format!("{kind}-{server}.data");
            let path = if size == SIZE { bench.file(&name) } else { bench.folder.join(&name) };
            if size != SIZE {
                File::create_new(&path).unwrap().set_len(size).unwrap();
            }
            let data = FileArea::data(&path, Some(size)).unwrap();
            let management = FileArea::management(&path.with_extension("meta")).unwrap();
            let owner = Owner {
                lineage: Lineage::from("bench"),
                volume: VolumeName::from("data"),
                server: server.clone(),
            };
            let management = Management::create(Arc::new(management), &owner, Geometry::of(size)).unwrap();
            let peers = if mirrored { BTreeSet::from([peer.clone()]) } else { BTreeSet::new() };
            Volume::open(Arc::new(data), management, &peers, options.clone(), Arc::new(stream::TcpDialer))
                .unwrap()
        };
        let (volume, mut events) = open(&kiki, &lala);
        let other = mirrored.then(|| open(&lala, &kiki).0);
        let at = other.as_ref().map(listen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            volume.store_epoch(Epoch(1)).await.unwrap();
            volume.store_step(Generation(1), &kiki).await.unwrap();
            if let Some(at) = at {
                volume.connect(&lala, &[at], Epoch(1));
                while !matches!(events.recv().await, Some(VolumeEvent::PeerMet { .. })) {}
                assert!(volume.set_peer(&lala, PeerMode::Required).await);
            }
            volume.become_primary(Epoch(1)).await.unwrap();
        });
        Self { door: volume.door(), volume, _peer: other, events: Some(events) }
    }

    /// Writes this while the peer is absent; how long it then takes to bring it up to date, in seconds,
    /// once for each of these: whether all is copied.
    fn resync(&mut self, writes: impl Iterator<Item = (u64, Vec<u8>)>, full: &[bool]) -> Vec<f64> {
        let peer = ServerName::from("lala");
        let mut events = self.events.take().unwrap();
        let took = self.run(async {
            self.volume.set_peer(&peer, PeerMode::Absent).await;
            for (offset, bytes) in writes {
                write(&self.door, offset, bytes.into()).await.unwrap();
            }
            flush(&self.door).await.unwrap();
            let mut took = Vec::new();
            for full in full {
                self.volume.set_peer(&peer, PeerMode::Syncing).await;
                let began = Instant::now();
                self.volume.start_resync(&peer, *full, false);
                while !matches!(events.recv().await, Some(VolumeEvent::Synced { .. })) {}
                took.push(began.elapsed().as_secs_f64());
            }
            took
        });
        self.events = Some(events);
        took
    }

    /// Runs this on the volume's own thread, as an export does.
    fn run<T: Send>(&self, what: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
    }

    fn export(&self, socket: &Path) -> String {
        let (path, offer) = (socket.to_owned(), Offer::new("data", self.door.clone()));
        let (tell, told) = std::sync::mpsc::channel();
        self.volume.spawn(move || {
            Box::pin(async move {
                let export = Export::unix(&path, offer).unwrap();
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(export);
            })
        });
        told.recv().unwrap();
        socket.display().to_string()
    }
}

/// The other server: its listener, on a thread of its own.
fn listen(volume: &Arc<Volume>) -> SocketAddr {
    let reception = Arc::new(Reception::default());
    reception.add(VolumeName::from("data"), volume);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let listens = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (duplex, reception) = (stream::tcp(stream).unwrap(), reception.clone());
                tokio::spawn(async move { reception.accept(duplex, None).await });
            }
        });
    };
    thread::Builder::new().name("mirror-door".to_owned()).spawn(listens).unwrap();
    at
}

/// qemu's user-space mirror: one file here, one behind NBD over TCP.
struct Quorum {
    socket: String,
    daemons: [Child; 2],
}

impl Quorum {
    fn start(bench: &Bench) -> Option<Self> {
        if !has("qemu-storage-daemon") {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let socket = bench.folder.join("quorum.nbd").display().to_string();
        let (near, far) = (bench.file("near").display().to_string(), bench.file("far").display().to_string());
        let remote = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &format!("driver=file,node-name=f,filename={far}")])
            .args(["--nbd-server", &format!("addr.type=inet,addr.host=127.0.0.1,addr.port={port}")])
            .args(["--export", "type=nbd,id=e,node-name=f,name=b,writable=on"])
            .spawn()
            .unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        let local = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &format!("driver=file,node-name=a,filename={near}")])
            .args(["--blockdev", &format!("driver=nbd,node-name=b,server.type=inet,server.host=127.0.0.1,server.port={port},export=b")])
            .args(["--blockdev", "driver=quorum,node-name=q,read-pattern=fifo,vote-threshold=1,children.0=a,children.1=b"])
            .args(["--nbd-server", &format!("addr.type=unix,addr.path={socket},max-connections=64")])
            .args(["--export", "type=nbd,id=e,node-name=q,name=q,writable=on"])
            .spawn()
            .unwrap();
        while !Path::new(&socket).exists() {
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { socket, daemons: [local, remote] })
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _it_has_ended = daemon.kill();
            let _it_has_ended = daemon.wait();
        }
    }
}
