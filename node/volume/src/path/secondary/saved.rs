//! What only a loser has, saved before it is overwritten.
//!
//! A file is a line of JSON that says what it is, then for each span its offset and length in bytes (two
//! little-endian numbers of eight bytes) and what was there.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use tasuki_core::ids::ServerName;
use tokio::task::spawn_blocking;

use crate::path::copy::{Copy, DiskError};

const PART: u64 = 1024 * 1024;

/// Writes what these extents hold to a new file; durable when it returns.
///
/// # Errors
/// When the copy cannot be read, or the file not be written.
pub async fn save(
    copy: &Arc<Copy>,
    folder: &Path,
    winner: &ServerName,
    spans: &[(u64, u64)],
) -> Result<Option<PathBuf>, DiskError> {
    if spans.is_empty() {
        return Ok(None);
    }
    let geometry = copy.geometry();
    let spans: Vec<(u64, u64)> = spans
        .iter()
        .map(|(first, end)| (first * geometry.extent, (end * geometry.extent).min(geometry.size)))
        .collect();
    let local = copy.local();
    let name = format!("{}-{}-epoch-{}.saved", copy.volume, copy.server, local.epoch);
    let head = format!(
        "{{\"volume\":\"{}\",\"server\":\"{}\",\"overwritten_from\":\"{winner}\",\"epoch\":{},\"generation\":{},\"size\":{}}}\n",
        copy.volume,
        copy.server,
        local.epoch.0,
        local.history.generation().0,
        geometry.size,
    );
    let (folder, copy) = (folder.to_owned(), copy.clone());
    let path = spawn_blocking(move || write(&copy, &folder, &name, head.as_bytes(), &spans)).await??;
    tracing::info!(path = %path.display(), "what only this copy has was saved");
    Ok(Some(path))
}

fn write(copy: &Copy, folder: &Path, name: &str, head: &[u8], spans: &[(u64, u64)]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let mut out = io::BufWriter::with_capacity(PART as usize, &file);
    out.write_all(head)?;
    let mut bytes = Vec::new();
    for (start, end) in spans {
        out.write_all(&start.to_le_bytes())?;
        out.write_all(&(end - start).to_le_bytes())?;
        let mut at = *start;
        while at < *end {
            let part = (end - at).min(PART);
            bytes.resize(usize::try_from(part).unwrap_or_default(), 0);
            copy.read_now(at, &mut bytes)?;
            out.write_all(&bytes)?;
            at += part;
        }
    }
    out.flush()?;
    drop(out);
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(path)
}
