//! A loser's data, saved before it is overwritten: as an image that can be mounted, with a page beside it
//! that says what it is.
//!
//! The image has the size of the volume; what is nothing but zeroes takes no space in it. It is the whole
//! copy where there is space for that, since only then a file system in it is as it was. Otherwise it has
//! what is overwritten, and the page beside it names those places. It has its name only once it is whole
//! and durable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, FileExt as _, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::Serialize;
use tasuki_core::{ids::ServerName, mirror::DiskState};
use tokio::task::spawn_blocking;

use crate::path::{
    copy::{Copy, DiskError},
    resync::sums,
};

const PART: u64 = 1024 * 1024;
/// What is zero in so many bytes takes no space.
const BLOCK: usize = 4096;

/// The page beside an image.
#[derive(Serialize)]
struct Page<'a> {
    volume: &'a str,
    server: &'a str,
    overwritten_from: &'a str,
    epoch: u64,
    generation: u64,
    size: u64,
    /// The image has all of the copy, and not only the places named.
    whole: bool,
    /// What was overwritten: offset and length in bytes.
    places: Vec<(u64, u64)>,
}

/// Writes the copy, or what these extents hold, to a new image; durable when it returns. An image that
/// was made of the same data before stays: what is half overwritten is not saved in its place.
///
/// # Errors
/// When the copy cannot be read, or the image not be written.
pub async fn save(
    copy: &Arc<Copy>,
    folder: &Path,
    winner: &ServerName,
    spans: &[(u64, u64)],
) -> Result<Option<PathBuf>, DiskError> {
    if spans.is_empty() {
        return Ok(None);
    }
    let (folder, copy, winner, spans) = (folder.to_owned(), copy.clone(), winner.clone(), spans.to_vec());
    let path = spawn_blocking(move || write(&copy, &folder, &winner, &spans)).await??;
    tracing::info!(path = %path.display(), "what only this copy has was saved");
    Ok(Some(path))
}

fn write(copy: &Copy, folder: &Path, winner: &ServerName, spans: &[(u64, u64)]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (local, geometry) = (copy.local(), copy.geometry());
    let generation = local.history.generation();
    // Generations are given out once: a copy of the same one is the same copy.
    let name = format!("{}-{}-generation-{generation}", copy.volume, copy.server);
    let path = folder.join(format!("{name}.img"));
    if local.disk == DiskState::Inconsistent && path.exists() {
        return Ok(path);
    }
    let size = geometry.size;
    let whole = has_space_for(folder, size)?;
    let places: Vec<(u64, u64)> = spans
        .iter()
        .map(|(first, end)| (first * geometry.extent, (end * geometry.extent).min(size)))
        .map(|(start, end)| (start, end - start))
        .collect();
    let page = Page {
        volume: copy.volume.as_str(),
        server: copy.server.as_str(),
        overwritten_from: winner.as_str(),
        epoch: local.epoch.0,
        generation: generation.0,
        size,
        whole,
        places,
    };
    let new = |name: &str| -> io::Result<(PathBuf, File)> {
        let path = folder.join(format!("{name}.new"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok((path, file))
    };
    let (half, image) = new(&format!("{name}.img"))?;
    image.set_len(size)?;
    if whole {
        fill(copy, &image, 0, size)?;
    } else {
        page.places.iter().try_for_each(|(start, length)| fill(copy, &image, *start, *length))?;
    }
    image.sync_all()?;
    let (half_page, mut file) = new(&format!("{name}.json"))?;
    serde_json::to_writer_pretty(&mut file, &page)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&half_page, folder.join(format!("{name}.json")))?;
    fs::rename(&half, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(path)
}

/// More places than this are not sent: then everything is saved.
const PLACES: usize = 32_768;

/// Spans of extents, as a frame carries them.
pub fn places_of(spans: &[(u64, u64)]) -> Bytes {
    if spans.len() > PLACES {
        return Bytes::new();
    }
    let bytes: Vec<u8> =
        spans.iter().flat_map(|(first, end)| [first.to_le_bytes(), end.to_le_bytes()]).flatten().collect();
    bytes.into()
}

/// The same, from a frame; `None` where it says nothing.
pub fn places_in(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    let pairs = bytes.chunks_exact(16).map(|pair| Some((number(&pair[..8])?, number(&pair[8..])?)));
    pairs.collect::<Option<Vec<_>>>().filter(|spans| !spans.is_empty())
}

/// What either names; in order, and nothing twice.
pub fn union(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, end) in all {
        match joined.last_mut().filter(|last| last.1 >= first) {
            Some(last) => last.1 = last.1.max(end),
            None => joined.push((first, end)),
        }
    }
    joined
}

/// Whether the folder's file system keeps at least as much again as this takes.
fn has_space_for(folder: &Path, size: u64) -> io::Result<bool> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize) / 2 >= size)
}

fn fill(copy: &Copy, image: &File, start: u64, length: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    let (mut at, end) = (start, start + length);
    while at < end {
        let part = (end - at).min(PART);
        bytes.resize(usize::try_from(part).unwrap_or_default(), 0);
        copy.read_now(at, &mut bytes)?;
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            if !sums::is_zero(block) {
                image.write_all_at(block, at + (number * BLOCK) as u64)?;
            }
        }
        at += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_either_side_wrote_is_named_once() {
        assert_eq!(union(&[(0, 2), (8, 9)], &[(1, 3), (3, 4), (20, 21)]), [(0, 4), (8, 9), (20, 21)]);
        assert_eq!(union(&[], &[]), []);
    }

    #[test]
    fn places_go_through_a_frame_and_too_many_say_nothing() {
        let spans = vec![(1, 3), (7, u64::MAX)];
        assert_eq!(places_in(&places_of(&spans)), Some(spans));
        assert_eq!(places_in(&places_of(&vec![(0, 1); PLACES + 1])), None);
        assert_eq!(places_in(&[]), None);
    }
}
