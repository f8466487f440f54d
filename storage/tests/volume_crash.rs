//! A program that keeps a management area is killed at any moment; what it said was durable is there.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use tasuki_core::{
    ids::{Epoch, ServerName},
    mirror::geometry::{Geometry, MAP_PAGE_BITS},
};
use tasuki_storage::volume::{Area, FileArea, Management, MapPage, Owner};

const FOLDER: &str = "TASUKI_TEST_VOLUME_DIR";
const SIZE: u64 = 1 << 30;
/// One for each of the last so many steps.
const REGIONS: u32 = 5;

fn owner() -> Owner {
    Owner { lineage: "one".into(), volume: "data".into(), server: "kiki".into() }
}

fn open(folder: &Path) -> Management {
    let area: Arc<dyn Area> = Arc::new(FileArea::management(&folder.join("meta")).unwrap());
    Management::open(area, &owner()).unwrap()
}

/// Not a test of its own: the process that the test below starts and kills. Each step has a number; the
/// log, an epoch and two pages of a map say which it is.
#[test]
fn keeper() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let management = open(Path::new(&folder));
    let lala = ServerName::from("lala");
    let mut step = u32::try_from(management.copy().epoch.0).unwrap();
    loop {
        step += 1;
        let regions: Vec<u32> = (step..step + REGIONS).map(|region| region % 256).collect();
        management.log(&regions).unwrap();
        let words = [u64::from(step); 2];
        let pages = [0, 7].map(|page| MapPage { page, words: &words });
        management.write_map_pages(&lala, &pages).unwrap();
        management.store_epoch(Epoch(step.into())).unwrap();
        writeln!(std::io::stdout(), "step {step}").unwrap();
    }
}

struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_was_durable_is_there_after_a_kill() {
    const ROUNDS: u64 = 40;
    let (began, work) = (Instant::now(), tempfile::tempdir().unwrap());
    let area = Arc::new(FileArea::management(&work.path().join("meta")).unwrap());
    let management = Management::create(area, &owner(), Geometry::of(SIZE)).unwrap();
    let lala = ServerName::from("lala");
    management.set_peers(&[lala.clone()].into()).unwrap();
    drop(management);
    let mut steps = 0;
    for round in 0..ROUNDS {
        let mut keeper = Command::new(std::env::current_exe().unwrap());
        keeper.args(["--exact", "keeper", "--nocapture"]).env(FOLDER, work.path()).stdout(Stdio::piped());
        let mut keeper = Keeper(keeper.spawn().unwrap());
        let lines = BufReader::new(keeper.0.stdout.take().unwrap()).lines();
        let said =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("step ")?.parse::<u64>().ok());
        let wanted = usize::try_from(1 + round * 7 % 31).unwrap();
        let mut said = said;
        let mut last = said.by_ref().take(wanted).last().unwrap();
        drop(keeper);
        last = said.last().unwrap_or(last);

        let management = open(work.path());
        let found = management.copy().epoch.0;
        assert!((last..=last + 1).contains(&found), "epoch {found} after step {last}");
        let regions: Vec<u32> = management.active().regions().collect();
        let first = regions[0];
        let expected = (last..=last + 1).map(|step| u32::try_from(step % 256).unwrap());
        assert!(expected.into_iter().any(|step| step == first), "{regions:?} after step {last}");
        assert_eq!(regions, (first..first + REGIONS).map(|region| region % 256).collect::<Vec<_>>());
        let map = management.read_map(&lala).unwrap();
        for page in [0, 7] {
            let word = usize::try_from(page * MAP_PAGE_BITS / 64).unwrap();
            let pair = (map.words[word], map.words[word + 1]);
            assert!(pair.0 == pair.1 && (last..=last + 1).contains(&pair.0), "page {page}: {pair:?}");
        }
        steps = found;
    }
    println!("{ROUNDS} kills, {steps} steps, nothing that was durable is lost, {:.1?}", began.elapsed());
}
