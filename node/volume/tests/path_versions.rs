//! Two servers whose programs speak different versions of the frames: with one in common the volume has
//! both copies all through an upgrade; without one the primary goes on as without the peer, says which
//! versions there are, and has it back when it was upgraded.
#![allow(clippy::unwrap_used)]

mod path_common;

use bytes::Bytes;
use path_common::{EXTENT, Pair, Wire, block, flush, name, read, run, until, write};
use tasuki_core::{
    ids::{Epoch, Lineage, VolumeName},
    mirror::{
        geometry::Geometry,
        handshake::{Hello, Unwelcome},
        wire::{Apart, Wires},
    },
};
use tasuki_volume::path::{
    Dialer, VolumeEvent,
    frame::{Body, Frame, Speech, decode, encode},
};

const OLD: Wires = Wires::only(1);
const BOTH: Wires = Wires { oldest: 1, newest: 2 };
const NEW: Wires = Wires::only(2);

/// The server's program is another one from its next start on.
async fn install(pair: &mut Pair, number: usize, wires: Wires) {
    pair.kill(number).await;
    pair.wires[number] = wires;
    pair.boot(number);
}

/// The version that the peer of this primary has chosen, each time that it was met.
fn chosen(pair: &Pair, number: usize) -> Vec<u32> {
    let said = pair.up(number).said.borrow();
    let met = |event: &VolumeEvent| match event {
        VolumeEvent::PeerMet { welcome, .. } => Some(welcome.wire),
        _ => None,
    };
    said.iter().filter_map(met).collect()
}

fn refusals(pair: &Pair, number: usize) -> Vec<Unwelcome> {
    let said = pair.up(number).said.borrow();
    let refused = |event: &VolumeEvent| match event {
        VolumeEvent::PeerRefused { why, .. } => Some(why.clone()),
        _ => None,
    };
    said.iter().filter_map(refused).collect()
}

#[test]
fn an_upgrade_server_by_server_keeps_both_copies() {
    run(async {
        let mut pair = Pair::new(None);
        // Each step: what the two programs speak, and what they speak with each other.
        for (step, (kiki, lala, common)) in
            [(OLD, OLD, 1), (OLD, BOTH, 1), (BOTH, OLD, 1), (BOTH, BOTH, 2), (BOTH, NEW, 2)]
                .into_iter()
                .enumerate()
        {
            install(&mut pair, 0, kiki).await;
            install(&mut pair, 1, lala).await;
            let door = pair.promote(0).await;
            pair.both_good().await;
            let value = u8::try_from(step + 1).unwrap();
            write(&door, value.into(), block(value)).await.unwrap();
            flush(&door).await.unwrap();
            assert!(pair.equal(), "{kiki} with {lala}");
            assert_eq!(chosen(&pair, 0).last(), Some(&common), "{kiki} with {lala}");
            drop(door);
            pair.demote(0).await;
        }
    });
}

#[test]
fn without_a_common_version_the_primary_goes_on_alone_and_has_the_peer_back_after_its_upgrade() {
    run(async {
        let mut pair = Pair::new(None);
        install(&mut pair, 0, NEW).await;
        let door = pair.promote(0).await;
        assert_eq!(pair.facts.lock().unwrap().good.len(), 1, "it is put out before the first read (R28)");
        write(&door, 5 * EXTENT, block(3)).await.unwrap();
        flush(&door).await.unwrap();
        assert_eq!(read(&door, 5 * EXTENT, 4096).await.unwrap(), block(3));
        let apart = Unwelcome::OtherWire(Apart { own: OLD, theirs: NEW });
        assert!(refusals(&pair, 0).contains(&apart), "{:?}", refusals(&pair, 0));
        assert!(!pair.equal());
        install(&mut pair, 1, BOTH).await;
        pair.both_good().await;
        flush(&door).await.unwrap();
        assert!(pair.equal());
        assert_eq!(chosen(&pair, 0), [2]);
    });
}

/// What a server answers to a greeting that was made by hand.
async fn greet(pair: &Pair, number: usize, wire: Wires) -> (Body, u64) {
    let hello = Hello {
        lineage: Lineage::from("line"),
        volume: VolumeName::from("data"),
        primary: name(1 - number),
        epoch: Epoch(1),
        geometry: Geometry::of(path_common::SIZE),
        history: pair.up(number).volume.copy().history,
        wire,
    };
    let greeting = Frame { epoch: Epoch(1), number: 1, body: Body::Hello(hello), data: Bytes::new() };
    let wire = Wire(pair.cable.clone());
    let mut duplex = wire.dial(&VolumeName::from("data"), &name(number), &[]).await.unwrap();
    duplex.sink.send(&mut vec![encode(greeting, Speech::GREETING)]).await.unwrap();
    let answer = decode(duplex.source.next().await.unwrap()).unwrap();
    (answer.body, pair.up(number).volume.copy().epoch.0)
}

#[test]
fn r31_a_primary_without_a_common_version_changes_nothing_at_the_peer() {
    run(async {
        let pair = Pair::new(None);
        let theirs = Wires { oldest: 7, newest: 9 };
        let (answer, epoch) = greet(&pair, 1, theirs).await;
        let apart = Apart { own: Wires::OURS, theirs };
        assert_eq!(answer, Body::Unwelcome(Unwelcome::OtherWire(apart)));
        assert_eq!(epoch, 0, "its epoch was not taken");
        let (answer, epoch) = greet(&pair, 1, Wires::OURS).await;
        assert!(matches!(answer, Body::Welcome(welcome) if welcome.wire == Wires::OURS.newest));
        assert_eq!(epoch, 1);
        until(|| pair.up(1).said.borrow().iter().any(|it| matches!(it, VolumeEvent::Primary { .. }))).await;
    });
}
