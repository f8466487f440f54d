//! A peer that is waited for without an end, as configured: not without a word.
#![allow(clippy::unwrap_used)]

mod path_common;

use std::time::Duration;

use path_common::{Pair, begin_write, block, flush, run, write};
use tasuki_volume::path::VolumeEvent;

/// How often it was said that a peer is waited for, and that this is over.
fn told(said: &[VolumeEvent]) -> (usize, usize) {
    let count = |wanted| {
        let is =
            |event: &&VolumeEvent| matches!(event, VolumeEvent::PeerAwaited { over, .. } if *over == wanted);
        said.iter().filter(is).count()
    };
    (count(false), count(true))
}

#[test]
fn writes_that_wait_for_a_slow_peer_are_told_of_and_nobody_is_put_out() {
    run(async {
        let mut pair = Pair::new(None);
        pair.kill(0).await;
        pair.peer_timeout = Duration::ZERO;
        pair.boot(0);
        let door = pair.promote(0).await;
        pair.both_good().await;
        let mut said = pair.up(0).said.subscribe();
        write(&door, 0, block(1)).await.unwrap();
        pair.cable.hold(true);
        let waiting = begin_write(&door, 0, block(2)).await;
        said.wait_for(|said| told(said) == (1, 0)).await.unwrap();
        pair.facts_are(|facts| facts.good.len() == 2).await;
        let slow = said.borrow().iter().any(|event| matches!(event, VolumeEvent::PeerSlow { .. }));
        assert!(!slow, "it would be put out");
        pair.cable.hold(false);
        waiting.await.unwrap().unwrap();
        said.wait_for(|said| told(said) == (1, 1)).await.unwrap();
        // It is over as well when the peer is lost in the end: then the cluster decides.
        pair.cable.hold(true);
        let waiting = begin_write(&door, 0, block(3)).await;
        said.wait_for(|said| told(said) == (2, 1)).await.unwrap();
        pair.cable.cut();
        waiting.await.unwrap().unwrap();
        pair.facts_are(|facts| facts.good.len() == 1).await;
        said.wait_for(|said| told(said) == (2, 2)).await.unwrap();
        pair.cable.hold(false);
        pair.cable.mend();
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert!(pair.equal());
    });
}
