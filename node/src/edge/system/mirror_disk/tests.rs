//! A loop device in the place of a mirrored one: what the file system needs is the same.
#![allow(clippy::unwrap_used)]

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use tasuki_core::config::{AtLeaseEnd, MirrorAreas};

use super::*;

/// The mirrors of one node: one volume on a loop device over a file.
#[derive(Clone)]
struct Loop(Arc<Inner>);

struct Inner {
    data: PathBuf,
    formed: Mutex<bool>,
    up: Mutex<Option<(Epoch, PathBuf)>>,
    promoted: Mutex<u32>,
    users: Mutex<Vec<oneshot::Sender<String>>>,
}

impl Loop {
    fn over(data: &Path) -> Self {
        Self(Arc::new(Inner {
            data: data.to_owned(),
            formed: Mutex::new(false),
            up: Mutex::new(None),
            promoted: Mutex::new(0),
            users: Mutex::default(),
        }))
    }

    fn watcher(&self) -> oneshot::Receiver<String> {
        let (tell, told) = oneshot::channel();
        self.0.users.lock().unwrap().push(tell);
        told
    }

    /// As the end of a node: the device goes, whatever is mounted from it.
    fn die(&self) {
        if let Some((_, device)) = self.0.up.lock().unwrap().take() {
            run("losetup", &["-d", device.to_str().unwrap()]);
        }
    }
}

#[async_trait]
impl Disks for Loop {
    fn is_formed(&self, _: &VolumeName) -> bool {
        *self.0.formed.lock().unwrap()
    }

    async fn promote(&self, _: &VolumeName, epoch: Epoch) -> Result<Promoted, MirrorError> {
        *self.0.formed.lock().unwrap() = true;
        *self.0.promoted.lock().unwrap() += 1;
        let ended = self.watcher();
        let mut up = self.0.up.lock().unwrap();
        if up.is_none() {
            let made = Command::new("losetup").args(["-f", "--show"]).arg(&self.0.data).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            *up = Some((epoch, String::from_utf8(made.stdout).unwrap().trim().into()));
        }
        let device = up.as_ref().map(|(_, device)| device.clone()).unwrap();
        Ok(Promoted { device, ended })
    }

    async fn demote(&self, _: &VolumeName) -> Result<(), MirrorError> {
        self.die();
        Ok(())
    }

    fn device(&self, _: &VolumeName) -> Option<(Epoch, PathBuf)> {
        self.0.up.lock().unwrap().clone()
    }

    fn watch(&self, _: &VolumeName) -> Option<oneshot::Receiver<String>> {
        self.0.up.lock().unwrap().as_ref().map(|_| self.watcher())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((_, device)) = self.up.lock().unwrap().take() {
            run("losetup", &["-d", device.to_str().unwrap()]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).output().unwrap();
    assert!(ended.status.success(), "{program} {arguments:?}: {ended:?}");
}

struct Bench {
    folder: tempfile::TempDir,
    disks: MirrorDisks,
    mirror: Loop,
    config: MirrorDiskConfig,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let mount = self.folder.path().join("mnt");
        while mounts::at(&mount).unwrap().is_some() {
            nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH).unwrap();
        }
    }
}

/// `None`, said aloud, where devices cannot be made.
fn bench() -> Option<Bench> {
    let root = nix::unistd::getuid().is_root();
    if !root || !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped, because loop devices need root and /dev/loop-control");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::File::create(&data).unwrap().set_len(32 << 20).unwrap();
    let config = MirrorDiskConfig {
        mount: Some(folder.path().join("mnt")),
        mount_options: vec!["noatime".to_owned()],
        stop_timeout: Duration::from_secs(3),
        ..MirrorDiskConfig::of(data.clone(), folder.path().join("meta"))
    };
    let mirror = Loop::over(&data);
    let disks = disks(folder.path(), &mirror);
    Some(Bench { folder, disks, mirror, config })
}

fn disks(folder: &Path, mirror: &Loop) -> MirrorDisks {
    let layout = Layout::open(&folder.join("lib"), &folder.join("run")).unwrap();
    let confinement = Confinement::marked(&layout);
    let disks = MirrorDisks::new(&layout, BootId::new("this"), confinement);
    disks.connect("kiki".into(), mirror.clone());
    disks
}

fn order(config: &MirrorDiskConfig) -> ResourceOrder {
    ResourceOrder {
        group: "db".into(),
        resource: "md".into(),
        epoch: Epoch(7),
        kind: tasuki_actors::ports::ResourceSpec::MirrorDisk(config.clone()),
        environment: std::collections::BTreeMap::new(),
        at_lease_end: AtLeaseEnd::Stop,
        after_loss: false,
    }
}

#[tokio::test]
async fn c5_the_first_start_makes_a_file_system_and_later_ones_keep_it() {
    let Some(bench) = bench() else { return };
    let (config, order) = (&bench.config, order(&bench.config));
    let mount = config.mount.clone().unwrap();
    let _ended = bench.disks.start(&order, config).await.unwrap();
    fs::write(mount.join("kept"), "data").unwrap();
    assert_eq!(bench.disks.running().unwrap(), [("db".into(), "md".into())]);
    assert!(bench.disks.probe(&order, config).unwrap().is_some(), "it is adopted");
    let _again = bench.disks.start(&order, config).await.unwrap();
    assert_eq!(*bench.mirror.0.promoted.lock().unwrap(), 1, "what is up is left as it is");
    bench.disks.stop(&order, config.stop_timeout).await.unwrap();
    assert_eq!(mounts::at(&mount).unwrap(), None);
    assert_eq!(bench.mirror.device(&"md".into()), None);
    assert!(bench.disks.running().unwrap().is_empty());
    let _ended = bench.disks.start(&order, config).await.unwrap();
    assert_eq!(fs::read_to_string(mount.join("kept")).unwrap(), "data");
    bench.disks.stop(&order, config.stop_timeout).await.unwrap();
}

#[tokio::test]
async fn c5_a_file_system_that_is_found_is_made_over_only_when_that_is_said_twice() {
    let Some(bench) = bench() else { return };
    run("mkfs.ext4", &["-q", "-F", bench.config.data.to_str().unwrap()]);
    for _ in 0..2 {
        let error = bench.disks.start(&order(&bench.config), &bench.config).await.unwrap_err().to_string();
        assert!(error.contains("TSK-1811") && error.contains("ext4"), "{error}");
    }
    assert_eq!(*bench.mirror.0.promoted.lock().unwrap(), 0, "nothing is remembered of the attempt");
    let config = MirrorDiskConfig {
        initial: InitialCopy::MkfsAnyway,
        filesystem: "ext2".to_owned(),
        per_server: [(
            ServerName::new("lala"),
            MirrorAreas { data: "/none".into(), metadata: "/none".into() },
        )]
        .into(),
        ..bench.config.clone()
    };
    let _ended = bench.disks.start(&order(&config), &config).await.unwrap();
    bench.disks.stop(&order(&config), config.stop_timeout).await.unwrap();
    let found = filesystem::found(&config.data).unwrap().unwrap();
    assert_eq!(found.file_system(), Some("ext2"));
}

#[tokio::test]
async fn a_disk_in_use_is_not_taken_away_and_its_user_is_named() {
    let Some(bench) = bench() else { return };
    let (config, order) = (&bench.config, order(&bench.config));
    let _ended = bench.disks.start(&order, config).await.unwrap();
    let mut user =
        Command::new("sleep").arg("600").current_dir(config.mount.as_ref().unwrap()).spawn().unwrap();
    let error = bench.disks.stop(&order, Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(
        error.contains("TSK-1814") && error.contains(&format!("sleep (process {})", user.id())),
        "{error}"
    );
    assert!(bench.mirror.device(&"md".into()).is_some(), "it is still open: nobody else may have it");
    user.kill().unwrap();
    user.wait().unwrap();
    bench.disks.stop(&order, config.stop_timeout).await.unwrap();
}

#[tokio::test]
async fn a_file_system_that_is_damaged_or_another_one_is_not_mounted() {
    let Some(bench) = bench() else { return };
    let config = MirrorDiskConfig { initial: InitialCopy::Copy, ..bench.config.clone() };
    let error = bench.disks.start(&order(&config), &config).await.unwrap_err().to_string();
    assert!(error.contains("TSK-1812"), "nothing is there to be checked: {error}");
    let config = MirrorDiskConfig { check: false, ..config };
    let error = bench.disks.start(&order(&config), &config).await.unwrap_err().to_string();
    assert!(error.contains("TSK-1813"), "{error}");
    assert_eq!(bench.mirror.device(&"md".into()), None, "what did not start is closed again");
    assert!(bench.disks.running().unwrap().is_empty());
}

#[tokio::test]
async fn r34_a_mount_that_outlived_its_device_is_taken_off_by_the_next_node() {
    let Some(bench) = bench() else { return };
    let (config, order) = (&bench.config, order(&bench.config));
    let mount = config.mount.clone().unwrap();
    let _ended = bench.disks.start(&order, config).await.unwrap();
    // The loop device stays for as long as it is mounted, but the mirrors know nothing of it.
    bench.mirror.die();
    assert!(mounts::at(&mount).unwrap().is_some());
    let next = disks(bench.folder.path(), &Loop::over(&config.data));
    assert_eq!(next.running().unwrap().len(), 1);
    assert!(next.probe(&order, config).unwrap().is_none());
    assert_eq!(mounts::at(&mount).unwrap(), None);
    assert!(next.running().unwrap().is_empty());
}

#[tokio::test]
async fn before_the_mirrors_are_there_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    let confinement = Confinement::marked(&layout);
    let disks = MirrorDisks::new(&layout, BootId::new("this"), confinement);
    let config = MirrorDiskConfig::of("/dev/none".into(), "/dev/none".into());
    let error = disks.start(&order(&config), &config).await.unwrap_err();
    assert!(error.to_string().contains("TSK-1819"), "{error}");
    assert!(disks.probe(&order(&config), &config).unwrap().is_none());
}
