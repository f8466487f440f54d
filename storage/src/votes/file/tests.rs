//! A voting file in a folder: what is refused, what is left out, what is found again.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::FileExt as _;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beat(u64);

fn owner(lineage: &str) -> Owner {
    Owner { lineage: Lineage::from(lineage), cluster: format!("cluster-{lineage}") }
}

fn new(path: &Path, lineage: &str) -> Result<Header, VoteError> {
    create(path, &owner(lineage), WallTime(1), Overwrite::Blank)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn open_as(path: &Path, slot: u32) -> VotingFile {
    VotingFile::open(path, &Lineage::from("one"), slot).unwrap()
}

fn block(ballot: u64) -> Block<u64> {
    Block { ballot, ..Block::default() }
}

fn scribble(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn servers_read_each_others_blocks() {
    let dir = folder();
    let path = dir.path().join("vote");
    assert_eq!(examine(&path).unwrap(), Examined::Absent);
    let header = new(&path, "one").unwrap();
    assert_eq!(examine(&path).unwrap(), Examined::Voting(header));
    let (mut a, mut b) = (open_as(&path, 1), open_as(&path, 2));
    assert_eq!(a.exchange(&Beat(1)).unwrap(), []);
    assert_eq!(b.exchange(&Beat(7)).unwrap(), [(1, Beat(1))]);
    assert_eq!(a.exchange(&Beat(2)).unwrap(), [(2, Beat(7))]);
    a.register(Some(&block(5))).unwrap();
    b.register(Some(&block(6))).unwrap();
    a.register(Some(&block(7))).unwrap();
    let read: Blocks<u64> = b.register(None).unwrap();
    assert_eq!(read, Blocks::from([(1, block(7)), (2, block(6))]));
    // Opened again, it goes on where it was.
    let mut again = open_as(&path, 1);
    again.register(Some(&block(8))).unwrap();
    assert_eq!(b.register::<u64>(None).unwrap().get(&1), Some(&block(8)));
}

#[test]
fn a_server_that_comes_later_is_found_among_all_slots() {
    let dir = folder();
    let path = dir.path().join("vote");
    new(&path, "one").unwrap();
    let mut a = open_as(&path, 1);
    a.exchange(&Beat(0)).unwrap();
    let mut late = open_as(&path, 64);
    late.exchange(&Beat(7)).unwrap();
    let found = (1..=ALL_SLOTS).find(|n| a.exchange(&Beat(*n)).unwrap() == [(64, Beat(7))]);
    println!("found at the exchange {found:?}");
    assert!(found.is_some());
    // From then on it is read each time.
    late.exchange(&Beat(8)).unwrap();
    assert_eq!(a.exchange(&Beat(99)).unwrap(), [(64, Beat(8))]);
}

#[test]
fn r17_what_is_no_file_of_this_cluster_is_refused_and_not_overwritten() {
    let dir = folder();
    let path = dir.path().join("vote");
    new(&path, "one").unwrap();
    let foreign = VotingFile::open(&path, &Lineage::from("two"), 1);
    assert!(matches!(foreign, Err(VoteError::Foreign { .. })), "{foreign:?}");
    assert!(matches!(new(&path, "two"), Err(VoteError::Foreign { .. })));
    assert!(matches!(new(&path, "one"), Err(VoteError::Replaced(_))));
    assert!(create(&path, &owner("two"), WallTime(2), Overwrite::Own).is_err());
    assert!(create(&path, &owner("two"), WallTime(2), Overwrite::Anything).is_ok());
    assert!(retire(&path, &Lineage::from("one")).is_err());
    // One that was taken out may be anybody's.
    retire(&path, &Lineage::from("two")).unwrap();
    assert!(create(&path, &owner("one"), WallTime(3), Overwrite::Own).is_ok());

    let other = dir.path().join("other");
    fs::write(&other, vec![b'x'; 2 << 20]).unwrap();
    assert!(matches!(new(&other, "one"), Err(VoteError::Unknown(_))));
    assert_eq!(fs::read(&other).unwrap(), vec![b'x'; 2 << 20]);
    // A blank first block before something else is no blank file.
    let mut half = vec![0; 2 << 20];
    half[100_000] = 1;
    fs::write(&other, &half).unwrap();
    assert!(matches!(new(&other, "one"), Err(VoteError::Unknown(_))));
    fs::write(&other, vec![0; 1000]).unwrap();
    assert!(matches!(new(&other, "one"), Err(VoteError::TooSmall { .. })));
    fs::write(&other, vec![0; 2 << 20]).unwrap();
    assert!(matches!(VotingFile::open(&other, &Lineage::from("one"), 1), Err(VoteError::Blank(_))));
    assert!(new(&other, "one").is_ok());
    assert!(new(dir.path(), "one").is_err());
    assert!(matches!(new(Path::new("/dev/null"), "one"), Err(VoteError::NoFile(_) | VoteError::Io { .. })));
    assert!(examine(&dir.path().join("no/such/folder")).is_err());
}

#[test]
fn r18_a_torn_block_is_left_out_and_the_one_before_it_counts() {
    let dir = folder();
    let path = dir.path().join("vote");
    new(&path, "one").unwrap();
    let (mut a, mut b) = (open_as(&path, 1), open_as(&path, 2));
    a.exchange(&Beat(1)).unwrap();
    a.register(Some(&block(1))).unwrap();
    a.register(Some(&block(2))).unwrap();
    let place = |block: u64| block * BLOCK as u64;
    // The third writing goes over the first, and is torn.
    scribble(&path, place(register(1, 3)) + 60, b"torn");
    scribble(&path, place(beat(1)) + 60, b"torn");
    assert_eq!(b.exchange(&Beat(9)).unwrap(), []);
    assert_eq!(b.register::<u64>(None).unwrap().get(&1), Some(&block(2)));
    // Its owner writes over the torn one.
    let mut again = open_as(&path, 1);
    again.register(Some(&block(4))).unwrap();
    assert_eq!(b.register::<u64>(None).unwrap().get(&1), Some(&block(4)));
    // With both gone nothing is known of that server's part.
    scribble(&path, place(register(1, 0)) + 60, b"damage");
    scribble(&path, place(register(1, 1)) + 60, b"damage");
    assert!(matches!(b.register::<u64>(None), Err(VoteError::Damaged { .. })));
}

#[test]
fn r18_a_file_that_was_restored_from_a_copy_or_made_again_is_noticed() {
    let dir = folder();
    let path = dir.path().join("vote");
    new(&path, "one").unwrap();
    let (mut a, mut b) = (open_as(&path, 1), open_as(&path, 2));
    a.register(Some(&block(1))).unwrap();
    let copy = fs::read(&path).unwrap();
    a.register(Some(&block(2))).unwrap();
    b.register::<u64>(None).unwrap();
    scribble(&path, 0, &copy);
    assert!(matches!(b.register::<u64>(None), Err(VoteError::WentBack { .. })));
    create(&path, &owner("one"), WallTime(2), Overwrite::Own).unwrap();
    assert!(matches!(a.register(Some(&block(3))), Err(VoteError::Replaced(_))));
    assert!(matches!(a.exchange(&Beat(3)), Err(VoteError::Replaced(_))));
    retire(&path, &Lineage::from("one")).unwrap();
    assert!(matches!(VotingFile::open(&path, &Lineage::from("one"), 3), Err(VoteError::Retired(_))));
}

#[test]
fn r18_a_block_of_an_earlier_life_of_the_file_is_not_its_own() {
    let dir = folder();
    let path = dir.path().join("vote");
    let before = new(&path, "one").unwrap();
    create(&path, &owner("one"), WallTime(2), Overwrite::Own).unwrap();
    // A write that hung since before the file was made again.
    let payload = serde_json::to_vec(&block(9)).unwrap();
    let late = seal(Kind::Register, before.id, 1, 1, &payload).unwrap();
    scribble(&path, register(1, 1) * BLOCK as u64, &late);
    assert_eq!(open_as(&path, 2).register::<u64>(None).unwrap(), Blocks::new());
}

#[test]
fn a_file_system_without_direct_io_is_used_all_the_same() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped, because there is no /dev/shm");
        return;
    };
    let path = dir.path().join("vote");
    new(&path, "one").unwrap();
    let (mut a, mut b) = (open_as(&path, 1), open_as(&path, 2));
    a.exchange(&Beat(1)).unwrap();
    assert_eq!(b.exchange(&Beat(2)).unwrap(), [(1, Beat(1))]);
}
