//! Bytes under way on a volume are bounded: a peer that never answers makes requests wait before the
//! volume, and not in its memory.
#![allow(clippy::unwrap_used)]

mod path_common;

use bytes::Bytes;
use path_common::{Pair, block, flush, run, until, write};
use tasuki_volume::{
    block::{BlockError, Door, Request},
    path::Options,
};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

const LENGTH: usize = 64 * 1024;
/// More than can be under way and wait at the door.
const MANY: usize = 8192;

type Answer = oneshot::Receiver<Result<(), BlockError>>;

/// Gives writes to the door until it takes no more.
fn fill(door: &Door, data: &Bytes, answers: &mut Vec<Answer>) {
    while answers.len() < MANY {
        let (answer, answered) = oneshot::channel();
        let places = path_common::SIZE / LENGTH as u64;
        let offset = answers.len() as u64 % places * LENGTH as u64;
        let request = Request::Write { offset, data: data.clone(), durable: false, answer };
        match door.requests.try_send(request) {
            Ok(()) => answers.push(answered),
            Err(TrySendError::Full(_)) => return,
            Err(TrySendError::Closed(_)) => panic!("it is closed"),
        }
    }
}

#[test]
fn a_peer_that_never_answers_holds_no_more_than_what_may_be_under_way() {
    run(async {
        let mut pair = Pair::new(None);
        let door = pair.promote(0).await;
        pair.both_good().await;
        write(&door, 0, block(1)).await.unwrap();
        flush(&door).await.unwrap();
        pair.cable.hold(true);
        let volume = pair.up(0).volume.clone();
        let under_way = || volume.view().counters.in_flight;
        let bound = Options::default().in_flight as u64;
        let (data, mut answers) = (Bytes::from(vec![9; LENGTH]), Vec::new());
        until(|| {
            fill(&door, &data, &mut answers);
            assert!(under_way() <= bound, "{} bytes", under_way());
            under_way() == bound
        })
        .await;
        fill(&door, &data, &mut answers);
        assert!(answers.len() < MANY, "the door took all of them");
        assert_eq!(under_way(), bound);
        println!("{} writes were taken, with {bound} bytes under way", answers.len());
        pair.cable.hold(false);
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        flush(&door).await.unwrap();
        assert!(pair.equal());
        assert_eq!(under_way(), 0);
    });
}
