//! Bringing a copy up to date, with and without compression.

use std::{os::unix::fs::FileExt, time::Instant};

use tasuki_core::config::Compression;
use tasuki_volume::path::Options;

use crate::{
    BLOCK, Bench, PACKED, RESYNC, SIZE,
    pair::{Pair, Way},
};

impl Bench {
    pub fn resync(&self) {
        let mut table = self.table(RESYNC, "MiB/s");
        let (from, to) = (self.open("raw"), self.open("raw2"));
        let mut bytes = vec![0; 1 << 20];
        table.line("copying one file to the other", || {
            let began = Instant::now();
            for at in 0..SIZE >> 20 {
                from.read_exact_at(&mut bytes, at << 20).unwrap();
                bytes[0] = at as u8 | 1;
                to.write_all_at(&bytes, at << 20).unwrap();
            }
            to.sync_data().unwrap();
            (SIZE >> 20) as f64 / began.elapsed().as_secs_f64()
        });
        let mut pair = Pair::new(self, Some(Way::Tls));
        let filled = SIZE / 2;
        let writes = (0..filled >> 20).map(|at| {
            let mut bytes = vec![at as u8 | 1; 1 << 20];
            bytes[..8].copy_from_slice(&at.to_le_bytes());
            (at << 20, bytes)
        });
        let took = pair.resync(writes, &[false, true]);
        table.line("what differs, all of it different", || (filled >> 20) as f64 / took[0]);
        table.line("all, half of it equal and half zeroes", || (SIZE >> 20) as f64 / took[1]);
        println!();
    }

    /// How much compression costs, or gains, on a link that is as fast as memory; and what goes over it.
    pub fn packed(&self) {
        let mut table = self.table(PACKED, "MiB/s");
        let megabytes = 256_u64;
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let options = Options { compression, ..Options::default() };
            let mut pair = Pair::with(self, Some(Way::Tls), SIZE, &options);
            let mut state = 1_u64;
            let writes = (0..megabytes).map(|at| {
                let mut bytes = vec![7; 1 << 20];
                for word in bytes.chunks_exact_mut(16) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    word[..8].copy_from_slice(&state.to_le_bytes());
                }
                (at << 20, bytes)
            });
            let took = pair.resync(writes, &[false]);
            table.line(&format!("{compression:?}"), || megabytes as f64 / took[0]);
        }
        println!();
    }

    /// A large sparse volume: what differs at random places, and all of it.
    pub fn one_in_a_hundred(&self, size: u64) {
        let title =
            format!("resync of a sparse volume of {} GiB, one block in a hundred written", size >> 30);
        let mut table = self.table(&title, "seconds");
        let mut pair = Pair::with(self, Some(Way::Tls), size, &Options::default());
        let blocks = size / BLOCK as u64;
        let writes = (0..blocks / 100).map(|at| {
            let place = at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % blocks;
            let mut bytes = vec![3; BLOCK];
            bytes[..8].copy_from_slice(&place.to_le_bytes());
            (place * BLOCK as u64, bytes)
        });
        let took = pair.resync(writes, &[false, true]);
        table.line("all of it", || took[1]);
        table.line("what differs", || took[0]);
        println!();
    }
}
