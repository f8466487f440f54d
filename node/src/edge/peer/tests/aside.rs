//! Heartbeats beside the networks: over pairs of pseudo-terminals, and in files.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    unistd::ttyname,
};
use tasuki_actors::ports::Datagram;
use tasuki_core::config::HeartbeatPath;
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::edge::peer::{
    aside::{Aside, AsideLink},
    datagram::Seal,
};

/// One server's end of a path.
struct End {
    aside: Arc<Aside>,
    link: AsideLink,
    path: HeartbeatPath,
    incoming: mpsc::Receiver<Datagram>,
}

impl End {
    fn new(identity: &Identity, path: HeartbeatPath) -> Self {
        let (queue, incoming) = mpsc::channel(64);
        let seal = Seal::new(identity.link_key(), identity.lineage());
        let aside =
            Arc::new(Aside::new(identity.server().clone(), Incarnation(5), seal, Cuts::none(), queue));
        aside.set_numbers([("kiki".into(), 1), ("lala".into(), 2)].into());
        let link = AsideLink::start(&path, &aside).unwrap();
        Self { aside, link, path, incoming }
    }

    fn send(&self, to: &str, body: &str) -> bool {
        let (number, datagram) = self.aside.close(&to.into(), &self.path.name(), body.as_bytes()).unwrap();
        self.link.send(number, datagram)
    }

    async fn next(&mut self) -> String {
        let datagram = timeout(TTL, self.incoming.recv()).await.unwrap().unwrap();
        assert_eq!(datagram.path, self.path.name());
        format!("{} {}", datagram.from, String::from_utf8_lossy(&datagram.body))
    }

    /// Says it again and again, as beats are, until the other side has it.
    async fn until_heard(&self, to: &mut Self, name: &str, body: &str) {
        let heard = async {
            loop {
                self.send(name, body);
                if let Ok(Some(datagram)) = timeout(Duration::from_millis(50), to.incoming.recv()).await
                    && datagram.body == body.as_bytes()
                {
                    return;
                }
            }
        };
        timeout(TTL * 4, heard).await.unwrap();
    }
}

/// Looks until something is so.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looks = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(TTL * 4, looks).await.is_ok(), "never so: {what}");
}

/// A serial cable: two pseudo-terminals, and somebody who carries what is written on one to the other.
struct Cable {
    ends: [PathBuf; 2],
    /// Kept open, so that the masters do not see an end before there is a node.
    _slaves: [OwnedFd; 2],
    masters: [OwnedFd; 2],
    unplugged: Arc<AtomicBool>,
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.unplugged.store(true, Ordering::Relaxed);
    }
}

impl Cable {
    fn new() -> Self {
        let [one, two] = [(); 2].map(|()| openpty(None, None).unwrap());
        for slave in [&one.slave, &two.slave] {
            let mut raw = nix::sys::termios::tcgetattr(slave).unwrap();
            nix::sys::termios::cfmakeraw(&mut raw);
            nix::sys::termios::tcsetattr(slave, nix::sys::termios::SetArg::TCSANOW, &raw).unwrap();
        }
        let ends = [ttyname(&one.slave).unwrap(), ttyname(&two.slave).unwrap()];
        Self {
            ends,
            _slaves: [one.slave, two.slave],
            masters: [one.master, two.master],
            unplugged: Arc::default(),
        }
    }

    /// Carries both ways until it is unplugged; what goes from the first to the second end passes
    /// through `spoil`.
    fn carry(&self, spoil: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) {
        let [one, two] = [&self.masters[0], &self.masters[1]].map(|m| File::from(m.try_clone().unwrap()));
        self.one_way(one.try_clone().unwrap(), two.try_clone().unwrap(), spoil);
        self.one_way(two, one, <[u8]>::to_vec);
    }

    fn one_way(
        &self,
        mut from: File,
        mut to: File,
        mut spoil: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) {
        let unplugged = self.unplugged.clone();
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while !unplugged.load(Ordering::Relaxed) {
                let mut waiting = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                if poll(&mut waiting, PollTimeout::from(20_u8)).unwrap() == 0 {
                    continue;
                }
                let Ok(length @ 1..) = from.read(&mut buffer) else { return };
                if to.write_all(&spoil(&buffer[..length])).is_err() {
                    return;
                }
            }
        });
    }

    fn path(&self, end: usize) -> HeartbeatPath {
        HeartbeatPath::Com { device: self.ends[end].clone() }
    }
}

/// The ends of one cable. The seal covers the path's name, so both use one name: that of the link.
fn joined(cluster: &Cluster, cable: &Cable) -> (End, End) {
    let mut kiki = End::new(cluster.kiki(), cable.path(0));
    let mut lala = End::new(cluster.lala(), cable.path(1));
    // The link is opened by its own device, and spoken on under a common name.
    let name = HeartbeatPath::Com { device: "/dev/ttyS0".into() };
    kiki.link = AsideLink::start_as(&kiki.path, name.name(), &kiki.aside).unwrap();
    lala.link = AsideLink::start_as(&lala.path, name.name(), &lala.aside).unwrap();
    (kiki.path, lala.path) = (name.clone(), name);
    (kiki, lala)
}

#[tokio::test]
async fn beats_go_to_and_fro_on_a_serial_line() {
    let (cluster, cable) = (Cluster::new(), Cable::new());
    cable.carry(<[u8]>::to_vec);
    let (mut kiki, mut lala) = joined(&cluster, &cable);
    kiki.until_heard(&mut lala, "lala", "one").await;
    lala.until_heard(&mut kiki, "kiki", "two").await;
    assert_eq!(kiki.aside.counts().forged + lala.aside.counts().forged, 0);
}

#[tokio::test]
async fn noise_and_lost_bytes_on_a_serial_line_cost_single_beats() {
    let (cluster, cable) = (Cluster::new(), Cable::new());
    let mut carried = 0_usize;
    cable.carry(move |bytes| {
        let mut spoilt = Vec::new();
        for byte in bytes {
            carried += 1;
            match carried % 400 {
                0 => {}                                            // lost
                150 => spoilt.extend([0xd5, 0x7a, 0, 200, *byte]), // the beginning of a frame, invented
                250 => spoilt.push(byte ^ 0x10),                   // changed
                _ => spoilt.push(*byte),
            }
        }
        spoilt
    });
    let (kiki, mut lala) = joined(&cluster, &cable);
    for round in 0..20 {
        kiki.until_heard(&mut lala, "lala", &format!("beat {round}")).await;
    }
    let counts = lala.aside.counts();
    assert!(counts.malformed > 0, "{counts:?}");
    assert_eq!(counts.forged, 0, "the checksum catches it first: {counts:?}");
}

#[tokio::test]
async fn r24_another_cluster_on_the_line_is_not_heard() {
    let (ours, theirs, cable) = (Cluster::new(), Cluster::new(), Cable::new());
    cable.carry(<[u8]>::to_vec);
    let (kiki, mut lala) = joined(&ours, &cable);
    drop(kiki);
    let name = HeartbeatPath::Com { device: "/dev/ttyS0".into() };
    let mut stranger = End::new(theirs.kiki(), cable.path(0));
    stranger.link = AsideLink::start_as(&stranger.path, name.name(), &stranger.aside).unwrap();
    stranger.path = name;
    until("the stranger is refused", || {
        stranger.send("lala", "me");
        lala.aside.counts().other_lineage > 0
    })
    .await;
    assert!(lala.incoming.try_recv().is_err());
}

#[tokio::test]
async fn a_line_that_comes_later_and_goes_and_comes_again_is_used() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("line");
    let name = HeartbeatPath::Com { device: place.clone() };
    let kiki = End::new(cluster.kiki(), name.clone());
    assert!(kiki.send("lala", "lost"), "sending never waits, whatever the line does");
    for _ in 0..2 {
        let cable = Cable::new();
        cable.carry(<[u8]>::to_vec);
        let _ = fs::remove_file(&place);
        std::os::unix::fs::symlink(&cable.ends[0], &place).unwrap();
        let mut lala = End::new(cluster.lala(), cable.path(1));
        lala.link = AsideLink::start_as(&lala.path, name.name(), &lala.aside).unwrap();
        lala.path = name.clone();
        kiki.until_heard(&mut lala, "lala", "here").await;
    }
}

#[tokio::test]
async fn a_line_that_takes_nothing_loses_beats_and_holds_nobody_up() {
    let (cluster, cable) = (Cluster::new(), Cable::new());
    // Nobody reads: the kernel's buffer fills up.
    let flags = OFlag::from_bits_retain(fcntl(&cable.masters[0], FcntlArg::F_GETFL).unwrap());
    fcntl(&cable.masters[0], FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let kiki = End::new(cluster.kiki(), cable.path(0));
    let mut refused = 0;
    for _ in 0..2000 {
        refused += u32::from(!kiki.send("lala", &"x".repeat(200)));
        tokio::task::yield_now().await;
    }
    assert!(refused > 0);
}

fn disk(folder: &Path, content: &[u8]) -> PathBuf {
    let place = folder.join("disk");
    fs::write(&place, content).unwrap();
    File::options().write(true).open(&place).unwrap().set_len(1 << 20).unwrap();
    place
}

#[tokio::test]
async fn beats_go_to_and_fro_on_a_disk_and_a_torn_block_costs_one_look() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let place = disk(folder.path(), b"");
    let path = HeartbeatPath::Disk { device: place.clone() };
    let mut kiki = End::new(cluster.kiki(), path.clone());
    let mut lala = End::new(cluster.lala(), path.clone());
    kiki.send("lala", "one");
    lala.send("kiki", "two");
    assert_eq!(lala.next().await, "kiki one");
    assert_eq!(kiki.next().await, "lala two");

    // Half of kiki's block is from another time.
    let file = File::options().write(true).open(&place).unwrap();
    file.write_all_at(&[0xaa; 512], 4096 + 30).unwrap();
    file.sync_all().unwrap();
    until("the torn block was read", || lala.aside.counts().malformed > 0).await;
    kiki.send("lala", "three");
    assert_eq!(lala.next().await, "kiki three");
    // Blocks that stay are read once.
    assert!(lala.incoming.try_recv().is_err());
    assert_eq!(lala.aside.counts().received, 2);
}

#[tokio::test]
async fn a_disk_that_holds_something_else_is_left_alone() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut content = vec![0; 1 << 20];
    content[5000..5011].copy_from_slice(b"my database");
    let place = disk(folder.path(), &content);
    let kiki = End::new(cluster.kiki(), HeartbeatPath::Disk { device: place.clone() });
    kiki.send("lala", "one");
    until("it has been tried twice", || kiki.aside.counts().not_sent >= 2).await;
    assert_eq!(fs::read(&place).unwrap(), content);
}
