//! The power goes at any moment of anything that a management area does; of what was not durable any
//! sectors survive, in any order. It always opens, and has what was acknowledged.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use proptest::{collection::vec, prelude::*};
use tasuki_core::{
    ids::{Epoch, Generation, ServerName},
    mirror::geometry::{Geometry, MAP_PAGE_BITS},
};
use tasuki_storage::volume::{
    Active, MANAGEMENT_LEAST, Management, MapPage, MemoryArea, Owner, memory::Operation,
};

#[derive(Clone, Debug)]
enum Step {
    Log(Vec<u32>),
    Epoch(u64),
    History(u64),
    Map { peer: usize, pages: Vec<(u32, u64)> },
    Peers(usize),
    Reopen,
}

/// What must be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    log: Vec<u32>,
    epoch: u64,
    generation: u64,
    peers: BTreeSet<usize>,
    maps: BTreeMap<(usize, u32), u64>,
}

impl Known {
    fn after(&self, step: &Step) -> Self {
        let mut known = self.clone();
        match step {
            Step::Log(regions) => known.log.clone_from(regions),
            Step::Epoch(epoch) => known.epoch = known.epoch.max(*epoch),
            Step::History(generation) => known.generation = *generation,
            Step::Map { peer, pages } if known.peers.contains(peer) => {
                known.maps.extend(pages.iter().map(|(page, word)| ((*peer, *page), *word)));
            }
            Step::Peers(without) => {
                known.peers = (0..4).filter(|peer| peer != without).collect();
                known.maps.retain(|(peer, _), _| peer != without);
            }
            Step::Map { .. } | Step::Reopen => {}
        }
        known
    }
}

/// Words of a page.
const WORDS: usize = MAP_PAGE_BITS as usize / 64;

fn name(peer: usize) -> ServerName {
    ServerName::from(["lala", "momo", "nana", "pipi"][peer])
}

fn owner() -> Owner {
    Owner { lineage: "one".into(), volume: "data".into(), server: "kiki".into() }
}

/// Three pages, the last of them short.
fn geometry() -> Geometry {
    Geometry::of((2 * MAP_PAGE_BITS + 200) * 4096)
}

fn perform(management: &Management, known: &Known, step: &Step) -> bool {
    match step {
        Step::Log(regions) => management.log(regions).is_ok(),
        Step::Epoch(epoch) => management.store_epoch(Epoch(*epoch)).is_ok(),
        Step::History(generation) => {
            let step = |history: &mut tasuki_core::mirror::history::History| {
                history.step(Generation(*generation), &name(0));
            };
            management.store(|superblock| step(&mut superblock.history)).is_ok()
        }
        Step::Map { peer, pages } => {
            // Whole pages, so that they can be torn.
            let words: Vec<(u32, [u64; WORDS])> =
                pages.iter().map(|(page, word)| (*page, [*word; WORDS])).collect();
            let pages: Vec<MapPage<'_>> =
                words.iter().map(|(page, words)| MapPage { page: *page, words }).collect();
            !known.peers.contains(peer) || management.write_map_pages(&name(*peer), &pages).is_ok()
        }
        Step::Peers(without) => {
            let peers = (0..4).filter(|peer| peer != without).map(name).collect();
            management.set_peers(&peers).is_ok()
        }
        Step::Reopen => true,
    }
}

fn found(management: &Management) -> Known {
    let superblock = management.superblock();
    let log = match management.active() {
        Active::None => Vec::new(),
        Active::Regions(regions) => regions.clone(),
        Active::All { .. } => panic!("a lost power does not damage the log"),
    };
    let mut known = Known {
        log,
        epoch: superblock.epoch.0,
        generation: superblock.history.generation().0,
        peers: (0..4).filter(|peer| management.peers().contains(&name(*peer))).collect(),
        maps: BTreeMap::new(),
    };
    for peer in known.peers.clone() {
        let map = management.read_map(&name(peer)).unwrap();
        assert!(map.unsure.is_empty(), "a lost power does not lose a page: {:?}", map.unsure);
        for page in 0..geometry().map_pages() {
            let first = usize::try_from(u64::from(page) * MAP_PAGE_BITS / 64).unwrap();
            let word = map.words[first];
            // The last page has three whole words.
            let whole = if page == 2 { 3 } else { WORDS };
            assert!(map.words[first..first + whole].iter().all(|other| *other == word), "half a page");
            known.maps.insert((peer, page), word);
        }
    }
    known
}

/// The same with the pages that were never written as zeroes.
fn filled(known: &Known) -> Known {
    let mut filled = known.clone();
    for peer in &known.peers {
        for page in 0..geometry().map_pages() {
            filled.maps.entry((*peer, page)).or_insert(0);
        }
    }
    filled
}

/// Each part is as it was or as it was being made.
fn check(found: &Known, before: &Known, after: &Known) {
    assert!([&before.log, &after.log].contains(&&found.log), "log: {found:?}");
    assert!([before.epoch, after.epoch].contains(&found.epoch), "epoch: {found:?}");
    assert!([before.generation, after.generation].contains(&found.generation), "generation: {found:?}");
    if found.peers != before.peers {
        return assert_eq!((&found.peers, &found.maps), (&after.peers, &filled(after).maps), "peers");
    }
    let (before, after) = (filled(before), filled(after));
    for (key, word) in &found.maps {
        let either = [before.maps.get(key), after.maps.get(key)];
        assert!(either.contains(&Some(word)), "page {key:?}: {word:x}, not one of {either:x?}");
    }
}

/// Which sectors survive: the disk writes units of this many whole.
struct Chance {
    state: u64,
    unit: u64,
    memory: BTreeMap<(usize, u64), bool>,
}

impl Chance {
    fn survives(&mut self, write: usize, sector: u64) -> bool {
        let state = &mut self.state;
        *self.memory.entry((write, sector / self.unit)).or_insert_with(|| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state >> 40 & 1 == 1
        })
    }
}

/// Tables and pages of all lengths: what fits in a sector is never torn.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(0_u32..16, 0..20).prop_map(Step::Log),
        4 => vec(0_u32..16, 300..1000).prop_map(Step::Log),
        2 => (0_u64..40).prop_map(Step::Epoch),
        1 => (1_u64..40).prop_map(Step::History),
        // Of a page that is named twice the last counts.
        6 => (0_usize..4, vec((0_u32..3, any::<u64>()), 1..5))
            .prop_map(|(peer, pages)| Step::Map { peer, pages }),
        1 => (0_usize..4).prop_map(Step::Peers),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// R23 R29 R30 R31.
    #[test]
    fn r29_a_lost_power_leaves_what_was_acknowledged_or_what_was_being_written(
        rounds in vec((vec(step(), 1..90), 0_u64..4000, any::<u64>(), any::<bool>()), 1..4),
    ) {
        let area = MemoryArea::new(MANAGEMENT_LEAST);
        let mut management = Management::create(Arc::new(area.clone()), &owner(), geometry()).unwrap();
        let mut known = Known::default();
        for (steps, moment, seed, whole_blocks) in rounds {
            // The power goes at one operation of the disk, and nothing is done after that.
            let (dead, asked) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
            let (last, gone) = (moment % (3 * steps.len() as u64), dead.clone());
            area.watch(move |operation| {
                let counts = !matches!(operation, Operation::Read(..));
                if gone.load(Ordering::SeqCst) || counts && asked.fetch_add(1, Ordering::SeqCst) == last {
                    gone.store(true, Ordering::SeqCst);
                    return Err(io::Error::other("the power is gone"));
                }
                Ok(())
            });
            let mut after = known.clone();
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    management = Management::open(Arc::new(area.clone()), &owner()).unwrap();
                }
                after = known.after(step);
                if !perform(&management, &known, step) {
                    prop_assert!(dead.load(Ordering::SeqCst), "only a lost power fails: {step:?}");
                    break;
                }
                known = after.clone();
            }
            area.unwatch();
            let unit = if whole_blocks { 8 } else { 1 };
            let mut chance = Chance { state: seed | 1, unit, memory: BTreeMap::new() };
            area.power_loss(|at| chance.survives(at.write, at.sector));
            management = Management::open(Arc::new(area.clone()), &owner()).unwrap();
            let found = found(&management);
            check(&found, &known, &after);
            known = found;
        }
    }
}
