//! Two copies of one volume on devices whose power goes: in one process, joined in memory; or each on a machine
//! of its own. `tests/vm` runs it in virtual machines, and its checks outside of them.
//!
//! ```text
//!  pair write FOLDER SEED WRITES RULE writes through the data path to FOLDER/{meta1,data1,meta2,data2}, and
//!                                     to FOLDER/ledger what was flushed; with all rules, or without one
//!  pair check IMAGE SEED FLUSHED      looks at a disk that lost its power
//!  pair replay LOG SEED               takes the power at each flush that dm-log-writes recorded
//!  pair table                         where the five are on the disk, for dmsetup
//!
//!  pair sizes                         of a management and a data area
//!  pair server META DATA ME PEER ADDRESS PATIENCE RATE
//!                                     one copy; orders come on standard input (`apart.rs`). Waits so many
//!                                     seconds for the peer, copies so many bytes a second
//!  pair device WAY META DATA EPOCH    the volume as a device, by way of ublk or nbd; with a peer (`device.rs`)
//!  pair compare SEED META1 DATA1 META2 DATA2 FIRST LAST …
//!                                     the copies of kiki and lala are whole and equal, and have these writes
//!  pair state META ME                 how a copy is
//! ```
#![allow(clippy::unwrap_used)]

mod apart;
mod check;
mod device;
mod load;
mod recording;
mod watched;
mod write;

use std::path::Path;

use apart::Here;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().unwrap();
    match words.as_slice() {
        ["write", folder, seed, writes, rule] => {
            write::run(Path::new(folder), number(seed), number(writes), write::without(rule));
        }
        ["check", image, seed, flushed] => check::image(Path::new(image), number(seed), number(flushed)),
        ["replay", log, seed] => check::replay(Path::new(log), number(seed)),
        ["table"] => load::table(),
        ["sizes"] => println!("{} {}", load::places()[0].size, load::VOLUME),
        ["server", meta, data, server, peer, at, patience, rate] => {
            let here = Here { meta: Path::new(meta), data: Path::new(data), server, peer };
            apart::run(&here, at.parse().unwrap(), apart::options(number(patience), number(rate)));
        }
        ["device", way, meta, data, epoch] => {
            device::run(way, (Path::new(meta), Path::new(data)), number(epoch));
        }
        ["compare", seed, meta1, data1, meta2, data2, spans @ ..] => {
            let copy =
                |meta, data, server| Here { meta: Path::new(meta), data: Path::new(data), server, peer: "" };
            let copies = [copy(*meta1, *data1, "kiki"), copy(*meta2, *data2, "lala")];
            let spans: Vec<(u64, u64)> =
                spans.chunks(2).map(|span| (number(span[0]), number(span[1]))).collect();
            match apart::compare(number(seed), [&copies[0], &copies[1]], &spans) {
                Ok(said) => println!("{said}"),
                Err(why) => check::fail(&why),
            }
        }
        ["state", meta, server] => println!("{:?}", apart::state(Path::new(meta), server)),
        _ => {
            eprintln!("usage: pair write|check|replay|table|sizes|server|device|compare|state …");
            std::process::exit(2);
        }
    }
}
