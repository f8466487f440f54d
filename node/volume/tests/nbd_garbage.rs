//! The NBD export against clients that send garbage: it refuses or cuts off, never falls, and goes on
//! for others.

#![allow(clippy::unwrap_used)]

#[path = "support/memory.rs"]
mod memory;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use memory::Memory;
use proptest::prelude::*;
use tasuki_volume::export::{
    negotiate::{Tls, Told, answer, negotiate},
    transmit::transmit,
    wire::{self, Header, option},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Runtime,
    sync::watch,
};

const SIZE: usize = 256 * 1024;
/// Only so that a hang is a failure: nothing is measured with it.
const LIMIT: Duration = Duration::from_secs(60);

fn told() -> Told {
    Told { name: "data".to_owned(), size: SIZE as u64, block: 4096 }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What an export sends to whoever sends this as commands, until both have ended.
fn exchange(sent: Vec<u8>, structured: bool) -> Vec<u8> {
    runtime().block_on(async {
        let (memory, door) = Memory::serve(SIZE);
        let (client, server) = duplex(1024 * 1024);
        let (_open, closing) = watch::channel(false);
        let serving = tokio::spawn(transmit(server, BytesMut::new(), door, structured, closing));
        let (mut read, mut write) = tokio::io::split(client);
        let writing = tokio::spawn(async move {
            // The export may have cut us off before the end.
            let _cut = write.write_all(&sent).await;
            let _cut = write.shutdown().await;
        });
        let mut got = Vec::new();
        tokio::time::timeout(LIMIT, read.read_to_end(&mut got)).await.expect("it hangs").unwrap();
        writing.await.unwrap();
        let _cut_off_or_ended = serving.await.unwrap();
        assert_eq!(memory.bytes().len(), SIZE);
        got
    })
}

/// Answers of an export that sends no chunks: cookies with their errors, and how much data followed.
fn simple_answers(mut got: &[u8], lengths: impl Fn(u64) -> usize) -> Vec<(u64, u32)> {
    let mut answers = Vec::new();
    while !got.is_empty() {
        assert_eq!(got[0..4], wire::SIMPLE_MAGIC.to_be_bytes());
        let error = u32::from_be_bytes(got[4..8].try_into().unwrap());
        let cookie = u64::from_be_bytes(got[8..16].try_into().unwrap());
        let data = if error == 0 { lengths(cookie) } else { 0 };
        got = &got[16 + data..];
        answers.push((cookie, error));
    }
    answers.sort_unstable();
    answers
}

fn commands() -> impl Strategy<Value = Vec<Header>> {
    let offset = prop_oneof![0..SIZE as u64 + 10, any::<u64>(), Just(SIZE as u64)];
    let length = prop_oneof![0..5000_u32, Just(SIZE as u32), Just(wire::LONGEST), Just(wire::LONGEST + 1)];
    let one = (0..9_u16, 0..9_u16, offset, length).prop_map(|(command, flags, offset, length)| {
        // Data of long writes would have to be sent.
        let length = if command == wire::command::WRITE { length.min(5000) } else { length };
        Header { flags, command, cookie: 0, offset, length }
    });
    let ours = one.prop_filter("ends the stream", |header| header.command != wire::command::DISCONNECT);
    proptest::collection::vec(ours, 1..40).prop_map(|mut all| {
        all.iter_mut().zip(0..).for_each(|(header, cookie)| header.cookie = cookie);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered_once_whatever_it_asks(commands in commands()) {
        let mut sent = Vec::new();
        for header in &commands {
            sent.extend_from_slice(&header.bytes());
            if header.command == wire::command::WRITE {
                sent.resize(sent.len() + header.length as usize, 0xab);
            }
        }
        let got = exchange(sent, false);
        let answers = simple_answers(&got, |cookie| {
            let header = &commands[cookie as usize];
            if header.command == wire::command::READ { header.length as usize } else { 0 }
        });
        prop_assert_eq!(answers.len(), commands.len());
        for ((cookie, error), header) in answers.iter().zip(&commands) {
            prop_assert_eq!(*cookie, header.cookie);
            let end = header.offset.checked_add(u64::from(header.length));
            let outside = end.is_none_or(|end| end > SIZE as u64);
            prop_assert!(!outside || *error != 0, "{:?} was done", header);
        }
    }

    #[test]
    fn garbage_for_commands_cuts_off(garbage in proptest::collection::vec(any::<u8>(), 0..4000), structured: bool) {
        let good = Header { flags: 0, command: wire::command::READ, cookie: 5, offset: 0, length: 512 };
        let mut sent = good.bytes().to_vec();
        sent.extend_from_slice(&garbage);
        // An end without a hang is what is asked for; that it did not fall, `exchange` looks at.
        let _got = exchange(sent, structured);
    }

    #[test]
    fn garbage_for_options_is_refused_or_cuts_off(
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
        which in prop_oneof![0..20_u32, any::<u32>()],
        length in prop_oneof![0..400_u32, any::<u32>()],
        tls in prop_oneof![Just(Tls::Absent), Just(Tls::Demanded), Just(Tls::Stands)],
    ) {
        runtime().block_on(async {
            let (mut client, mut server) = duplex(1024 * 1024);
            let mut sent = BytesMut::new();
            sent.put_u64(wire::OPTION_MAGIC);
            sent.put_u32(which);
            sent.put_u32(length);
            sent.put_slice(&garbage);
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut buffer = BytesMut::new();
            let told = told();
            let ended = negotiate(&mut server, &mut buffer, &told, tls, true);
            let _outcome = tokio::time::timeout(LIMIT, ended).await.expect("it hangs");
        });
    }

    #[test]
    fn nothing_is_told_before_tls_stands(
        body in proptest::collection::vec(any::<u8>(), 0..100),
        which in 0..20_u32,
    ) {
        let mut out = BytesMut::new();
        let mut structured = false;
        let outcome = answer(which, Bytes::from(body), &told(), Tls::Demanded, true, &mut structured, &mut out);
        let begins = matches!(outcome, Some(tasuki_volume::export::negotiate::Outcome::Transmit { .. }));
        prop_assert!(!begins && !structured);
        let size = (SIZE as u64).to_be_bytes();
        prop_assert!(!out.windows(8).any(|window| window == size));
        prop_assert!(!out.windows(4).any(|window| window == b"data"));
    }
}

#[test]
fn an_export_is_chosen_by_its_name_or_by_none() {
    let ask = |name: &[u8]| {
        let mut body = BytesMut::new();
        body.put_u32(name.len() as u32);
        body.put_slice(name);
        body.put_u16(0);
        let mut out = BytesMut::new();
        answer(option::GO, body.freeze(), &told(), Tls::Absent, true, &mut true, &mut out)
    };
    assert!(ask(b"data").is_some() && ask(b"").is_some());
    assert!(ask(b"dat").is_none() && ask(b"data2").is_none());
}
