//! File systems on a disk: what is there, making one, checking one.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tasuki_storage::volume::{Area, Content};
use tokio::process::Command;

/// More of what a program prints is not shown.
const SHOWN: usize = 600;

/// What a device or file holds, where that is known to be something. A file that is not there yet holds
/// nothing. It is only read, whoever has it open.
pub(super) fn found(path: &Path) -> io::Result<Option<Content>> {
    match File::open(path) {
        Ok(file) => Content::of(&Reading::of(file, path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An area that is only looked at.
#[derive(Debug)]
struct Reading {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Reading {
    fn of(mut file: File, path: &Path) -> io::Result<Self> {
        // The length of a device is that of its end.
        let size = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self { file, path: path.to_owned(), size })
    }

    fn never() -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, "it is only looked at")
    }
}

impl Area for Reading {
    fn place(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn measure(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(Self::never())
    }

    fn flush(&self) -> io::Result<()> {
        Err(Self::never())
    }

    fn trim(&self, _: u64, _: u64) -> io::Result<()> {
        Err(Self::never())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<()> {
        Err(Self::never())
    }
}

/// Makes one over whatever is there.
pub(super) async fn make(name: &str, device: &Path) -> Result<(), String> {
    let over: &[&str] = match name {
        "ext2" | "ext3" | "ext4" => &["-q", "-F"],
        "reiserfs" => &["-q", "-f", "-f"],
        _ => &["-q", "-f"],
    };
    let program = format!("mkfs.{name}");
    let (code, said) = run(&program, over, device).await?;
    if code == 0 { Ok(()) } else { Err(format!("{program} ended with exit code {code}: {said}")) }
}

/// Mends what can be mended without a question. Journals of other file systems are replayed at the
/// mount.
pub(super) async fn check(name: &str, device: &Path) -> Result<(), String> {
    let arguments: &[&str] = match name {
        "ext2" | "ext3" | "ext4" => &["-p"],
        "reiserfs" => &["-a"],
        _ => return Ok(()),
    };
    let program = format!("fsck.{name}");
    let (code, said) = run(&program, arguments, device).await?;
    tracing::info!(device = %device.display(), %program, code, said, "the file system was checked");
    // 1: mended. 2: mended, and a mounted one would have to be mounted anew; it is not mounted.
    if code & !3 == 0 { Ok(()) } else { Err(format!("{program} ended with exit code {code}: {said}")) }
}

/// Runs a program on a device to its end; its exit code and the last of what it printed. It is killed
/// when nobody waits for it any more.
async fn run(program: &str, arguments: &[&str], device: &Path) -> Result<(i32, String), String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(arguments)
        .arg(device)
        .env("PATH", &path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = lines.join("; ");
    let from = said.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    Ok((output.status.code().unwrap_or(-1), said[from..].to_owned()))
}
