//! What the tests share.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tasuki_core::config::ExecConfig;
use tasuki_system::{clock, confinement::Confinement, exec::Launcher, layout::Layout};

/// A server's folders, removed with everything that still runs in them.
pub struct Place {
    folder: tempfile::TempDir,
    pub layout: Layout,
    pub marked: bool,
}

impl Place {
    pub fn new(marked: bool) -> Self {
        // In memory, as the run folder of a real server is.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (data, run) = (folder.path().join("data"), folder.path().join("run"));
        let layout = Layout::open(&data, &run).unwrap();
        Self { folder, layout, marked }
    }

    pub fn confinement(&self) -> Confinement {
        if self.marked { Confinement::marked(&self.layout) } else { Confinement::detect(&self.layout) }
    }

    pub fn launcher(&self) -> Launcher {
        Launcher::new(self.layout.clone(), self.confinement(), clock::boot_id().unwrap())
    }

    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Readable by the users that programs run as.
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let confinement = self.confinement();
        for cell in confinement.cells().unwrap_or_default() {
            let _ = cell.kill_and_wait(clock::now() + Duration::from_secs(5));
            let _ = cell.remove();
        }
        confinement.remove();
    }
}

/// Both kinds of confinement, where there are both.
pub fn each_confinement(test: impl Fn(bool)) {
    let place = Place::new(false);
    if place.confinement().is_marked() {
        println!("control groups: skipped, because none can be made here");
    } else {
        test(false);
    }
    test(true);
}

/// Waits for a condition that nothing announces.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn config(start: &Path, wait: bool) -> ExecConfig {
    ExecConfig {
        start: vec![start.display().to_string()],
        stop: None,
        wait,
        user: None,
        directory: None,
        environment: [("COLOUR".to_owned(), "green".to_owned())].into(),
        start_timeout: Duration::from_secs(10),
        stop_timeout: Duration::from_secs(10),
        watch: !wait,
        check: None,
        read_only: false,
    }
}
