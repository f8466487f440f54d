//! The register over real files.
#![allow(clippy::unwrap_used)]

use tasuki_core::{ids::RaftId, membership::tie_break::Mode, time::WallTime};

use super::{
    super::{Overwrite, Owner, create, retire},
    *,
};

fn record(number: u64, mode: Mode) -> Record {
    Record { lineage: Lineage::from("one"), number, mode }
}

fn pair(number: u64) -> Record {
    record(number, Mode::Pair(RaftId(1), RaftId(2)))
}

fn sole(number: u64, who: u64) -> Record {
    record(number, Mode::Sole(RaftId(who)))
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(names: &[&str]) -> Self {
        let place = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        place.files(names).iter().for_each(|file| place.make(file));
        place
    }

    fn make(&self, file: &Path) {
        let owner = Owner { lineage: Lineage::from("one"), cluster: "one".into() };
        create(file, &owner, WallTime(1), Overwrite::Own).unwrap();
    }

    fn files(&self, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| self.0.path().join(name)).collect()
    }
}

fn server(slot: u32) -> Files {
    Files::new(Lineage::from("one"), slot, Duration::from_secs(10))
}

#[tokio::test]
async fn r14_of_two_claims_at_once_exactly_one_wins() {
    for names in [&["a"][..], &["a", "b", "c"]] {
        let place = Place::new(names);
        let files = place.files(names);
        let (one, two) = (server(1), server(2));
        assert_eq!(one.read(&files).await.unwrap(), None);
        assert_eq!(one.swap(&files, None, &pair(1)).await.unwrap(), Swapped::Done);
        for number in 1..8 {
            let (a, b) = (sole(number + 1, 1), sole(number + 1, 2));
            let from = pair(number);
            let (first, second) =
                tokio::join!(one.swap(&files, Some(&from), &a), two.swap(&files, Some(&from), &b));
            let (first, second) = (first.unwrap(), second.unwrap());
            let now = one.read(&files).await.unwrap().unwrap();
            match (&first, &second) {
                (Swapped::Done, Swapped::Other(Some(other))) => assert_eq!((&now, other), (&a, &a)),
                (Swapped::Other(Some(other)), Swapped::Done) => assert_eq!((&now, other), (&b, &b)),
                both => panic!("{both:?}"),
            }
            assert_eq!(two.read(&files).await.unwrap().unwrap(), now);
            assert_eq!(two.swap(&files, Some(&now), &pair(number + 1)).await.unwrap(), Swapped::Done);
        }
    }
}

#[tokio::test]
async fn r18_a_minority_of_lost_files_is_borne_and_a_majority_is_not() {
    let place = Place::new(&["a", "b", "c"]);
    let files = place.files(&["a", "b", "c"]);
    assert_eq!(server(1).swap(&files, None, &pair(1)).await.unwrap(), Swapped::Done);
    std::fs::remove_file(&files[0]).unwrap();
    let two = server(2);
    assert_eq!(two.read(&files).await.unwrap(), Some(pair(1)));
    assert_eq!(two.swap(&files, Some(&pair(1)), &sole(2, 2)).await.unwrap(), Swapped::Done);
    std::fs::remove_file(&files[1]).unwrap();
    let refused = server(1).read(&files).await;
    assert!(matches!(refused, Err(RegisterFailure::NoMajority(_))), "{refused:?}");
    // A blank file in the place of a lost one is none (R17).
    std::fs::write(&files[1], vec![0; 1 << 20]).unwrap();
    std::fs::write(&files[0], vec![0; 1 << 20]).unwrap();
    let refused = server(1).read(&files).await;
    assert!(matches!(refused, Err(RegisterFailure::Unusable(_))), "{refused:?}");
}

#[tokio::test]
async fn r14_a_register_that_moves_to_other_files_is_one_all_the_time() {
    let place = Place::new(&["a", "b", "c", "d"]);
    let (old, new) = (place.files(&["a", "b", "c"]), place.files(&["d", "b", "a"]));
    let (one, two) = (server(1), server(2));
    one.swap(&old, None, &pair(1)).await.unwrap();
    one.settle(&old, &new).await.unwrap();
    // The second server has not heard of the change; the first has. Their majorities need not meet.
    let (a, b, from) = (sole(2, 1), sole(2, 2), pair(1));
    let (first, second) = tokio::join!(one.swap(&new, Some(&from), &a), two.swap(&old, Some(&from), &b));
    let won = [first.unwrap(), second.unwrap()].iter().filter(|swap| **swap == Swapped::Done).count();
    assert_eq!(won, 1);
    let now = one.read(&new).await.unwrap();
    assert_eq!(two.read(&old).await.unwrap(), now);
    // And with the last old file taken away, and back again as a new one.
    retire(&old[2], &Lineage::from("one")).unwrap();
    place.make(&old[2]);
    assert_eq!(server(3).read(&old).await.unwrap(), now);
    two.settle(&new, &old).await.unwrap();
    assert_eq!(one.read(&new).await.unwrap(), now);
    assert_eq!(server(3).read(&old).await.unwrap(), now);
}

#[tokio::test]
async fn a_register_whose_mover_fell_is_found_by_the_next_reader() {
    let place = Place::new(&["a", "b"]);
    let (old, new) = (place.files(&["a"]), place.files(&["b"]));
    let one = server(1);
    one.swap(&old, None, &pair(1)).await.unwrap();
    let now = Kept { home: old.clone(), record: Some(pair(1)) };
    let moved = Kept { home: new.clone(), record: Some(pair(1)) };
    one.put(&old, Some(now), moved).await.unwrap().unwrap();
    assert_eq!(server(2).read(&old).await.unwrap(), Some(pair(1)));
    assert_eq!(server(2).read(&new).await.unwrap(), Some(pair(1)));
    // One new file that does not answer is refused: it would be missing from the beginning.
    let absent = place.files(&["b", "c", "d"]);
    assert!(one.settle(&new, &absent).await.is_err());
}

#[tokio::test]
async fn blank_registers_move_too() {
    let place = Place::new(&["a", "b"]);
    let (old, new) = (place.files(&["a"]), place.files(&["b"]));
    let one = server(1);
    one.settle(&old, &new).await.unwrap();
    assert_eq!(one.read(&new).await.unwrap(), None);
    assert_eq!(server(2).swap(&old, None, &pair(1)).await.unwrap(), Swapped::Done);
    assert_eq!(one.read(&new).await.unwrap(), Some(pair(1)));
}

#[tokio::test]
async fn r18_after_a_time_out_nothing_more_until_it_returned() {
    let place = Place::new(&["a"]);
    let file = place.files(&["a"]).remove(0);
    let worker = Worker::start(&file).unwrap();
    let lineage = Lineage::from("one");
    let whose = (&lineage, 1);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    // Opened first, so that a busy machine has it begun in time.
    let opened = worker.call(whose, Duration::from_secs(10), |_| Ok(())).await;
    assert!(opened.is_ok(), "{opened:?}");
    let short = Duration::from_millis(500);
    let slow = worker
        .call(whose, short, move |_| {
            wait.recv().unwrap_or_default(); // a disk that does not answer
            Ok(())
        })
        .await;
    assert!(matches!(slow, Err(VoteError::Stuck { .. })), "{slow:?}");
    assert!(worker.stuck().is_some());
    let (touched, touch) = std::sync::mpsc::channel();
    let refused = worker.call(whose, Duration::from_secs(10), move |_| {
        touched.send(()).unwrap();
        Ok(())
    });
    assert!(matches!(refused.await, Err(VoteError::Stuck { .. })));
    go.send(()).unwrap();
    while worker.stuck().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(touch.try_recv().is_err(), "what was refused must not happen later");
    let beats =
        worker.call(whose, Duration::from_secs(10), |file| file.exchange(&serde_json::json!(1))).await;
    assert_eq!(beats.unwrap(), []);
}
