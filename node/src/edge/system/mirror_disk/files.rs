//! Which files have something in some places of a disk: on ext2, ext3 and ext4, by their own tools.
//!
//! The disk itself is only read. Its journal may hold what its tables do not say yet, so the tables and
//! the journal are copied (`e2image`), the journal is played back in that copy, and there the files are
//! looked for.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_volume::device::apart::apart;
use tokio::{process::Command, task::spawn_blocking, time::timeout};

use crate::app::mirrors::{FileFinder, FilesFound, Look};

/// All of it takes at most so long.
const LIMIT: Duration = Duration::from_secs(60);
/// Writing out what a mounted file system keeps back may have to wait for the other copy.
const SYNC: Duration = Duration::from_secs(5);
/// So many blocks are looked up; of more, some at equal distances.
const BLOCKS: u64 = 2000;
/// So many bytes are read to see what is empty.
const READ: u64 = 1 << 30;
/// So many files are named.
const FILES: usize = 1000;
/// The journal's inode, and the first that is a file of somebody's.
const JOURNAL: u64 = 8;
const FIRST: u64 = 11;
/// Each look has a copy of its own.
static LOOKS: AtomicU64 = AtomicU64::new(0);

/// Finds files by the tools of ext4.
pub struct ExtFiles;

#[async_trait]
impl FileFinder for ExtFiles {
    async fn find(&self, look: Look, scratch: &Path) -> FilesFound {
        if !["ext2", "ext3", "ext4"].contains(&look.filesystem.as_str()) {
            let note = format!("files are named on ext2, ext3 and ext4, not on {}", look.filesystem);
            return FilesFound { note, ..FilesFound::default() };
        }
        let looked = timeout(LIMIT, found(&look, scratch)).await;
        looked.unwrap_or_else(|_| Err(format!("the files were not found within {LIMIT:?}"))).unwrap_or_else(
            |note| FilesFound { note: format!("the files are not known: {note}"), ..FilesFound::default() },
        )
    }
}

/// A copy of the tables, removed when nobody looks at it any more.
struct Tables(PathBuf);

impl Drop for Tables {
    fn drop(&mut self) {
        let _it_may_not_be_there = fs::remove_file(&self.0);
    }
}

async fn found(look: &Look, scratch: &Path) -> Result<FilesFound, String> {
    if let Some(mount) = look.mounted.clone() {
        let synced = spawn_blocking(move || {
            apart(&[], move || {
                let folder = File::open(mount)?;
                rustix::fs::syncfs(&folder).map_err(io::Error::from)
            })
        });
        // Without it the newest files are missing, and nothing else.
        let _or_not = timeout(SYNC, synced).await;
    }
    let number = LOOKS.fetch_add(1, Ordering::Relaxed);
    let tables = Tables(scratch.join(format!("looking-{}-{number}.img", std::process::id())));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(scratch);
    made.map_err(|error| format!("{}: {error}", scratch.display()))?;
    run("e2image", &["-r".as_ref(), look.data.as_os_str(), tables.0.as_os_str()]).await?;
    // It says 1 when it has played something back.
    let play = ["-E".as_ref(), "journal_only".as_ref(), "-y".as_ref(), tables.0.as_os_str()];
    let _or_there_was_none = run("e2fsck", &play).await;
    let size = block_size(&tables.0).map_err(|error| format!("its superblock: {error}"))?;
    let (data, places) = (look.data.clone(), look.places.clone());
    let chosen = spawn_blocking(move || {
        let area = File::open(&data)?;
        let mut block = vec![0; usize::try_from(size).unwrap_or_default()];
        Ok::<_, io::Error>(blocks_of(&places, size, |number| {
            area.read_exact_at(&mut block, *number * size).is_ok() && block.iter().any(|byte| *byte != 0)
        }))
    });
    let chosen = chosen.await.map_err(|error| error.to_string())?;
    let (blocks, every) = chosen.map_err(|error| format!("{}: {error}", look.data.display()))?;
    let words: Vec<String> = blocks.iter().map(u64::to_string).collect();
    let answer = debugfs(&tables.0, &format!("icheck {}", words.join(" "))).await?;
    let inodes = inodes_in(&answer);
    let files: BTreeSet<u64> =
        inodes.iter().copied().filter(|inode| *inode == 2 || *inode >= FIRST).collect();
    let words: Vec<String> = files.iter().take(FILES).map(u64::to_string).collect();
    let names = if words.is_empty() {
        String::new()
    } else {
        debugfs(&tables.0, &format!("ncheck {}", words.join(" "))).await?
    };
    let mut notes = Vec::new();
    if every > 1 {
        notes.push(format!("one block of {every} was looked at"));
    }
    if files.len() > FILES {
        notes.push(format!("{} files in all", files.len()));
    }
    if inodes.contains(&JOURNAL) {
        notes.push("the journal of the file system too".to_owned());
    }
    Ok(FilesFound { files: names_in(&names), note: notes.join("; ") })
}

/// The blocks to look up, and of how many one is. What is empty belongs to no file: after a crash
/// everything that was in use counts as different, which is much more than what is.
fn blocks_of(places: &[(u64, u64)], size: u64, is_filled: impl FnMut(&u64) -> bool) -> (Vec<u64>, u64) {
    let runs = places.iter().map(|(offset, length)| (offset / size, (offset + length).div_ceil(size)));
    let all = runs.clone().map(|(first, end)| end - first).sum::<u64>();
    let blocks = runs.flat_map(|(first, end)| first..end);
    let thinned = |blocks: &mut dyn Iterator<Item = u64>, all: u64| {
        let every = all.div_ceil(BLOCKS).max(1);
        (blocks.step_by(usize::try_from(every).unwrap_or(usize::MAX)).collect(), every)
    };
    if all <= BLOCKS || all.saturating_mul(size) > READ {
        return thinned(&mut { blocks }, all);
    }
    let filled: Vec<u64> = blocks.filter(is_filled).collect();
    let all = filled.len() as u64;
    thinned(&mut filled.into_iter(), all)
}

fn block_size(image: &Path) -> io::Result<u64> {
    let mut bytes = [0; 4];
    File::open(image)?.read_exact_at(&mut bytes, 1024 + 24)?;
    let log = u32::from_le_bytes(bytes);
    let size = 1024_u64.checked_shl(log).filter(|size| (1024..=65536).contains(size));
    size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is none"))
}

/// `icheck` prints a block and its inode a line, or that there is none.
fn inodes_in(answer: &str) -> BTreeSet<u64> {
    answer.lines().filter_map(|line| line.split_once('\t')?.1.trim().parse().ok()).collect()
}

/// `ncheck` prints an inode and its name a line; one with several names has several lines.
fn names_in(answer: &str) -> Vec<String> {
    let lines = answer.lines().filter_map(|line| line.split_once('\t'));
    let names = lines.filter(|(inode, _)| inode.trim().parse::<u64>().is_ok());
    let names: BTreeSet<String> = names.map(|(_, name)| name.trim().replacen("//", "/", 1)).collect();
    names.into_iter().collect()
}

async fn debugfs(image: &Path, request: &str) -> Result<String, String> {
    run("debugfs", &["-R".as_ref(), request.as_ref(), image.as_os_str()]).await
}

async fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<String, String> {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{program} (of e2fsprogs): {error}"))?;
    if !done.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_read() {
        let blocks = "Block\tInode number\n1537\t12\n1538\t<block not found>\n9\t8\n";
        assert_eq!(inodes_in(blocks), BTreeSet::from([8, 12]));
        let names = "Inode\tPathname\n12\t//kiki.txt\n13\t/dir/a name\n";
        assert_eq!(names_in(names), ["/dir/a name", "/kiki.txt"]);
    }

    #[test]
    fn many_blocks_are_looked_at_at_equal_distances() {
        let all = |_: &u64| true;
        assert_eq!(blocks_of(&[(0, 8192), (40960, 1)], 4096, all), (vec![0, 1, 10], 1));
        for length in [1 << 28, 1 << 31] {
            let (blocks, every) = blocks_of(&[(0, length)], 4096, all);
            assert!(blocks.len() as u64 <= BLOCKS && every > 1 && blocks[1] == every, "{every}");
        }
        let few = |block: &u64| block % 1000 == 7;
        assert_eq!(blocks_of(&[(0, 10_000 * 4096)], 4096, few), ((7..10_000).step_by(1000).collect(), 1));
    }

    #[tokio::test]
    async fn the_files_of_an_image_are_found_by_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk");
        File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let source = folder.path().join("content");
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::write(source.join("sub/wanted"), vec![0x77; 20_000]).unwrap();
        fs::write(source.join("other"), vec![0x66; 20_000]).unwrap();
        let made = std::process::Command::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-d"])
            .args([&source, &image])
            .output();
        let Some(made) = made.ok().filter(|made| made.status.success()) else {
            println!("skipped, because mkfs.ext4 is missing or cannot fill an image");
            return;
        };
        drop(made);
        let bytes = fs::read(&image).unwrap();
        let at = bytes.windows(4096).step_by(4096).position(|block| block == [0x77; 4096]).unwrap();
        let places = vec![(at as u64 * 4096, 4096)];
        let look = Look { data: image.clone(), filesystem: "ext4".into(), mounted: None, places };
        let found = ExtFiles.find(look, &folder.path().join("scratch")).await;
        assert_eq!(found, FilesFound { files: vec!["/sub/wanted".into()], note: String::new() });
        assert_eq!(fs::read(&image).unwrap(), bytes, "the disk is only read");
        assert_eq!(fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0, "nothing is left");
    }
}
