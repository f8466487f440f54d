//! The bytes of every frame, as programs that are in use read them; and greetings between this program
//! and one that knows of the first version only.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use tasuki_core::{
    ids::{Generation, Lineage},
    mirror::{
        DiskState,
        handshake::LocalCopy,
        wire::{Apart, Wires},
    },
};

use super::*;

/// Every frame of version 1: its word, and its bytes. A line is never changed: programs that read it are
/// in use. What is new gets a line here, and its version in [`Body::since`].
const FORMS: &str = "\
Hello 00046c696e650464617461046b696b690480804080200102046c616c610101
Write 01802001
Trim 028020800800
Zero 03802080080100
Flush 04
Adopt 050102046c616c61
Record 060101ac02
Read 0780208004
SyncBegin 080100
SyncBlock 098020
SyncZero 0a80208008
Sums 0b802080408020
SyncEnd 0c0102046c616c61
Welcome 0d046c616c61808040802004040102046c616c6101ac0201
Unwelcome 0e0401020102
Done 0f09
Flushed 1009
Extents 11090101ac02
Answer 1209
Failed 130662726f6b656e
Measure 14
Resize 158080408020
Beside 160464617461046b696b69020707
";

fn history() -> History {
    let mut history = History::default();
    history.step(Generation(2), &ServerName::from("lala"));
    history
}

fn hello(wire: Wires) -> Hello {
    Hello {
        lineage: Lineage::from("line"),
        volume: VolumeName::from("data"),
        primary: ServerName::from("kiki"),
        epoch: Epoch(4),
        geometry: Geometry::of(1 << 20),
        history: history(),
        wire,
    }
}

fn welcome(wire: u32) -> Welcome {
    let (geometry, disk) = (Geometry::of(1 << 20), DiskState::Consistent);
    let copy = LocalCopy { geometry, epoch: Epoch(4), disk, history: history(), crashed: true };
    Welcome { server: ServerName::from("lala"), copy, differing: 300, wire }
}

/// One of each.
fn all() -> Vec<Body> {
    let (offset, length, spans) = (4096, 1024, vec![(1, 300)]);
    let (volume, primary, token) = (VolumeName::from("data"), ServerName::from("kiki"), vec![7; 2]);
    vec![
        Body::Hello(hello(Wires::only(1))),
        Body::Write { offset, record: true },
        Body::Trim { offset, length, record: false },
        Body::Zero { offset, length, may_trim: true, record: false },
        Body::Flush,
        Body::Adopt(history()),
        Body::Record(spans.clone()),
        Body::Read { offset, length: 512 },
        Body::SyncBegin { full: true, save: false },
        Body::SyncBlock { offset },
        Body::SyncZero { offset, length },
        Body::Sums { offset, length: 8192, chunk: 4096 },
        Body::SyncEnd(history()),
        Body::Welcome(welcome(1)),
        Body::Unwelcome(Unwelcome::OtherWire(Apart { own: Wires::only(1), theirs: Wires::only(2) })),
        Body::Done { through: 9 },
        Body::Flushed { through: 9 },
        Body::Extents { of: 9, spans },
        Body::Answer { of: 9 },
        Body::Failed("broken".to_owned()),
        Body::Measure,
        Body::Resize(Geometry::of(1 << 20)),
        Body::Beside { volume, primary, token },
    ]
}

#[test]
fn every_frame_has_the_bytes_that_programs_in_use_read() {
    let mut forms = String::new();
    for body in all() {
        let text = format!("{body:?}");
        let word = text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        let bytes = postcard::to_stdvec(&body).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(forms, "{word} {hex}").unwrap();
        assert_eq!(postcard::from_bytes::<Body>(&bytes).unwrap(), body);
        assert!(body.since() <= Wires::OURS.newest);
    }
    assert_eq!(forms, FORMS, "a frame in use has changed:\n{forms}");
}

/// What a program of the first version reads and says.
mod first {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Hello {
        pub lineage: Lineage,
        pub volume: VolumeName,
        pub primary: ServerName,
        pub epoch: Epoch,
        pub geometry: Geometry,
        pub history: History,
        pub wire: u32,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Welcome {
        pub server: ServerName,
        pub copy: LocalCopy,
        pub differing: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub enum Unwelcome {
        OtherLineage(Lineage),
        NoVolume(VolumeName),
        OlderEpoch { named: Epoch, known: Epoch },
        OtherSize { own: u64, theirs: u64 },
        OtherWire { own: u32, theirs: u32 },
    }
}

/// What one program reads of what the other says.
fn read<T: DeserializeOwned>(said: &impl Serialize) -> T {
    postcard::from_bytes(&postcard::to_stdvec(said).unwrap()).unwrap()
}

fn first_hello(wire: u32) -> first::Hello {
    let Hello { lineage, volume, primary, epoch, geometry, history, .. } = hello(Wires::OURS);
    first::Hello { lineage, volume, primary, epoch, geometry, history, wire }
}

#[test]
fn a_program_of_the_first_version_reads_a_newer_ones_greeting_as_its_oldest_version() {
    for newest in [1, 2, 300] {
        let read: first::Hello = read(&hello(Wires { oldest: 1, newest }));
        assert_eq!(read, first_hello(1), "it compares just this number, and lets it in");
    }
    let Welcome { server, copy, differing, .. } = welcome(1);
    assert_eq!(read::<first::Welcome>(&welcome(1)), first::Welcome { server, copy, differing });
}

#[test]
fn what_a_program_of_the_first_version_leaves_out_is_understood() {
    assert_eq!(read::<Hello>(&first_hello(1)), hello(Wires::only(1)));
    let Welcome { server, copy, differing, .. } = welcome(1);
    assert_eq!(read::<Welcome>(&first::Welcome { server, copy, differing }), welcome(1));
}

#[test]
fn both_understand_the_others_refusal() {
    let (own, theirs) = (Wires { oldest: 2, newest: 3 }, Wires::only(1));
    let refusal = Unwelcome::OtherWire(Apart { own, theirs });
    assert_eq!(read::<Unwelcome>(&refusal), refusal);
    assert_eq!(read::<first::Unwelcome>(&refusal), first::Unwelcome::OtherWire { own: 2, theirs: 1 });
    let refusal = Unwelcome::OtherWire(Apart { own: Wires::only(1), theirs: Wires::only(2) });
    assert_eq!(read::<Unwelcome>(&first::Unwelcome::OtherWire { own: 1, theirs: 2 }), refusal);
}
