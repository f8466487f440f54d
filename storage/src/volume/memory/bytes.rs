//! The bytes of an area in memory, and what is written to them.

use std::{collections::BTreeMap, sync::Arc};

use super::SECTOR;

/// Bytes are kept in pieces of this size.
pub const PAGE: u64 = 4096;

/// One write.
#[derive(Clone)]
pub struct Written {
    pub number: u64,
    pub offset: u64,
    pub what: What,
    pub durable: bool,
}

/// What it makes of the place.
#[derive(Clone)]
pub enum What {
    Bytes(Vec<u8>),
    Zeroes(u64),
}

impl Written {
    pub fn length(&self) -> u64 {
        match &self.what {
            What::Bytes(bytes) => bytes.len() as u64,
            What::Zeroes(length) => *length,
        }
    }

    /// Its parts, each inside one sector.
    pub fn sectors(&self) -> impl Iterator<Item = Self> + '_ {
        let end = self.offset + self.length();
        let mut at = self.offset;
        std::iter::from_fn(move || {
            let next = (at / SECTOR * SECTOR + SECTOR).min(end);
            let what = match &self.what {
                _ if at >= end => return None,
                What::Zeroes(_) => What::Zeroes(next - at),
                What::Bytes(bytes) => {
                    let place = |at: u64| usize::try_from(at - self.offset).unwrap_or(usize::MAX);
                    What::Bytes(bytes.get(place(at)..place(next)).unwrap_or_default().to_vec())
                }
            };
            let part = Self { number: self.number, offset: at, what, durable: self.durable };
            at = next;
            Some(part)
        })
    }
}

/// Pages that are not all zeroes.
#[derive(Clone, Default)]
pub struct Bytes(pub BTreeMap<u64, Arc<Vec<u8>>>);

impl Bytes {
    pub fn page(&self, page: u64) -> Arc<Vec<u8>> {
        self.0.get(&page).cloned().unwrap_or_else(|| Arc::new(vec![0; PAGE as usize]))
    }

    pub fn read(&self, bytes: &mut [u8], offset: u64) {
        for (page, within, at, length) in spans(offset, bytes.len() as u64) {
            let Some(target) = bytes.get_mut(at..at + length) else { continue };
            match self.0.get(&page).and_then(|page| page.get(within..within + length)) {
                Some(found) => target.copy_from_slice(found),
                None => target.fill(0),
            }
        }
    }

    pub fn apply(&mut self, written: &Written) {
        for (page, within, at, length) in spans(written.offset, written.length()) {
            if length as u64 == PAGE && matches!(written.what, What::Zeroes(_)) {
                self.0.remove(&page);
                continue;
            }
            let kept = self.0.entry(page).or_insert_with(|| Arc::new(vec![0; PAGE as usize]));
            let Some(target) = Arc::make_mut(kept).get_mut(within..within + length) else { continue };
            match &written.what {
                What::Zeroes(_) => target.fill(0),
                What::Bytes(bytes) => {
                    target.copy_from_slice(bytes.get(at..at + length).unwrap_or_default());
                }
            }
        }
    }
}

/// Cuts a span at pages: page, place in it, place in the span, length.
fn spans(offset: u64, length: u64) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let next = (at / PAGE * PAGE + PAGE).min(end);
        let span = (at / PAGE, narrow(at % PAGE), narrow(at - offset), narrow(next - at));
        at = next;
        Some(span)
    })
}
