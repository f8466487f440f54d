//! Two copies of one volume in one process, joined in memory, on devices whose power goes. `tests/vm` runs
//! it in a virtual machine, and its checks outside of it.
//!
//! ```text
//!  pair write FOLDER SEED WRITES RULE writes through the data path to FOLDER/{meta1,data1,meta2,data2}, and
//!                                     to FOLDER/ledger what was flushed; with all rules, or without one
//!  pair check IMAGE SEED FLUSHED      looks at a disk that lost its power
//!  pair replay LOG SEED               takes the power at each flush that dm-log-writes recorded
//!  pair table                         where the five are on the disk, for dmsetup
//! ```
#![allow(clippy::unwrap_used)]

mod check;
mod load;
mod recording;
mod write;

use std::path::Path;

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
        _ => {
            eprintln!("usage: pair write|check|replay|table …");
            std::process::exit(2);
        }
    }
}
