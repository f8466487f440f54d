//! Two machines on one cable, with disks that both have. Both are watched, on one clock.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use super::{Kit, Machine, Seen, watch::watch};

/// QEMU's words for one end of a cable between two machines, whose plugs are in this folder.
pub(super) fn cable(plugs: &Path, number: usize) -> Vec<String> {
    let plug = |number: usize| plugs.join(format!("plug-{number}")).display().to_string();
    let (mine, other) = (plug(number), plug(1 - number));
    let cable = format!("dgram,id=n,local.type=unix,local.path={mine},remote.type=unix,remote.path={other}");
    let card = format!("virtio-net-pci,netdev=n,mac=52:54:00:00:00:0{number}");
    vec!["-netdev".to_owned(), cable, "-device".to_owned(), card]
}

impl Kit {
    /// Boots two machines, each with a file `me` that has its number, and watches them until the first one
    /// has come to its end. The disks of the first are those of both.
    ///
    /// # Errors
    /// When one of them cannot be started, or the first neither resets nor ends.
    pub fn run_pair(
        &self,
        scenario: &str,
        programs: &[PathBuf],
        disks: &[PathBuf],
    ) -> Result<[Seen; 2], String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let began = Instant::now();
        let over = AtomicBool::new(false);
        let machine = |number: usize| {
            let own = folder.path().join(number.to_string());
            std::fs::create_dir(&own).map_err(|error| error.to_string())?;
            let machine = Machine {
                scenario: scenario.to_owned(),
                programs: programs.to_vec(),
                files: vec![("me".to_owned(), format!("{number}\n"))],
                disks: disks.to_vec(),
                cut: None,
            };
            let first = self.pack(&machine, &own)?;
            Ok::<_, String>((first, cable(folder.path(), number)))
        };
        let made = [machine(0)?, machine(1)?];
        let boot = |number: usize| {
            let (first, more) = &made[number];
            self.boot(first, disks, more).map_err(|error| error.to_string())
        };
        thread::scope(|scope| {
            let second = boot(1)?;
            let second = scope.spawn(|| watch(second, began, None, &over, &mut |_, _| {}));
            let first =
                boot(0).and_then(|first| watch(first, began, None, &AtomicBool::new(false), &mut |_, _| {}));
            over.store(true, Ordering::Relaxed);
            let second =
                second.join().map_err(|_| "whoever watched the second machine panicked".to_owned())?;
            match (first, second) {
                (Ok(first), Ok(second)) => Ok([first, second]),
                (Err(error), Ok(second)) => Err(format!("{error}\nthe other machine:\n{}", second.console())),
                (_, Err(error)) => Err(error),
            }
        })
    }
}
