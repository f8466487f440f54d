//! What one NBD client can make the process hold: 64 MiB, whatever it sends and however little it reads.
#![allow(clippy::unwrap_used)]

#[path = "support/heap.rs"]
mod heap;
#[path = "support/memory.rs"]
mod memory;

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering::SeqCst},
    time::Duration,
};

use bytes::BytesMut;
use memory::Memory;
use tasuki_volume::{
    block::Door,
    export::{
        transmit::transmit,
        wire::{self, Header, command},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::watch,
};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;
/// One test at a time: they share the heap.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
/// What a connection may have under way.
const BOUND: usize = 64 * MIB;
/// For everything that is not data: buffers, tasks, and the numbers of who waits.
const BESIDES: usize = 4 * MIB;
/// Commands with a mebibyte each: four times the bound.
const COMMANDS: u64 = 256;

/// A client of the volume. What serves it ends with the stream.
fn connect(door: Door) -> (DuplexStream, watch::Sender<bool>) {
    let (client, server) = duplex(64 * 1024);
    let (open, closing) = watch::channel(false);
    tokio::spawn(transmit(server, BytesMut::new(), door, false, closing));
    (client, open)
}

fn command(command: u16, cookie: u64, length: usize) -> Vec<u8> {
    Header { flags: 0, command, cookie, offset: 0, length: length as u32 }.bytes().to_vec()
}

/// Another client is answered so often: who could go on has gone on since.
async fn others_are_served(door: &Door) {
    let (mut client, _open) = connect(door.clone());
    for cookie in 0..200 {
        client.write_all(&command(command::TRIM, cookie, 0)).await.unwrap();
        let mut answer = [0; 16];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[8..16], cookie.to_be_bytes());
    }
}

async fn until(mut is: impl FnMut() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limit = Duration::from_secs(120); // only so that a hang is a failure
    runtime.block_on(async { tokio::time::timeout(limit, test).await.expect("it hangs") });
}

/// Takes an answer to each command, with so much data each.
async fn answers(client: &mut DuplexStream, length: usize) {
    let mut data = vec![0; 16 + length];
    for _ in 0..COMMANDS {
        client.read_exact(&mut data).await.unwrap();
        assert_eq!(data[..8], [&wire::SIMPLE_MAGIC.to_be_bytes()[..], &[0; 4]].concat());
    }
}

#[test]
fn a_client_that_reads_no_answers_holds_no_more_than_the_bound() {
    run(async {
        let (memory, door) = Memory::serve(MIB);
        let since = heap::Since::now();
        let (mut client, _open) = connect(door.clone());
        for cookie in 0..COMMANDS {
            client.write_all(&command(command::READ, cookie, MIB)).await.unwrap();
        }
        until(|| memory.counts.reads.load(SeqCst) >= 60).await;
        others_are_served(&door).await;
        println!("{} reads, {} bytes at most", memory.counts.reads.load(SeqCst), since.most());
        assert!(since.most() > 60 * MIB, "it was to be measured");
        answers(&mut client, MIB).await;
        assert!(since.most() <= BOUND + BESIDES, "{} bytes", since.most());
        assert_eq!(memory.counts.reads.load(SeqCst), COMMANDS, "in the end all are answered");
    });
}

#[test]
fn writes_that_a_volume_does_not_answer_hold_no_more_than_the_bound() {
    run(async {
        let (memory, door) = Memory::serve(MIB);
        let data = vec![7; MIB];
        memory.freeze(true);
        let since = heap::Since::now();
        let (client, _open) = connect(door.clone());
        let (mut read, mut write) = tokio::io::split(client);
        let sending = tokio::spawn(async move {
            for cookie in 0..COMMANDS {
                write.write_all(&command(command::WRITE, cookie, MIB)).await.unwrap();
                write.write_all(&data).await.unwrap();
            }
        });
        until(|| memory.waiting() >= 60).await;
        others_are_served(&door).await;
        println!("{} writes, {} bytes at most", memory.waiting(), since.most());
        assert!(since.most() > 60 * MIB, "it was to be measured");
        assert!(since.most() <= BOUND + BESIDES, "{} bytes", since.most());
        memory.freeze(false);
        let mut answer = [0; 16];
        for _ in 0..COMMANDS {
            read.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer[4..8], [0; 4]);
        }
        sending.await.unwrap();
        assert!(since.most() <= BOUND + BESIDES, "{} bytes", since.most());
    });
}
