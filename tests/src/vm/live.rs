//! A machine that is told what to do while it runs, and whose power goes when whoever looks at it wants.

use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use tempfile::TempDir;

use super::{Kit, Machine, watch::LIMIT};

/// A machine that can be booted again and again, on the same disks.
#[derive(Debug)]
pub struct Packed {
    kit: Kit,
    _folder: TempDir,
    first: PathBuf,
    disks: Vec<PathBuf>,
    more: Vec<String>,
}

/// One that runs.
#[derive(Debug)]
pub struct Live {
    name: String,
    child: Child,
    orders: ChildStdin,
    console: Arc<Console>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Console {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Console {
    fn lines(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kit {
    /// Packs one of two machines that a cable joins: its plug and the other one's are in this folder. It has
    /// a file `me` with its number.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn packed(&self, machine: &Machine, number: usize, plugs: &Path) -> Result<Packed, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut machine = machine.clone();
        machine.files.push(("me".to_owned(), format!("{number}\n")));
        let first = self.pack(&machine, folder.path())?;
        let more = super::pair::cable(plugs, number);
        Ok(Packed { kit: self.clone(), _folder: folder, first, disks: machine.disks, more })
    }
}

impl Packed {
    /// Starts it; the name is for messages.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn boot(&self, name: &str) -> Result<Live, String> {
        let mut qemu = self.kit.command(&self.first, &self.disks, &self.more);
        let mut child = qemu.stdin(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("QEMU has no console".into());
        };
        let console = Arc::new(Console::default());
        let told = console.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                told.lines().0.push(line);
                told.more.notify_all();
            }
            told.lines().1 = true;
            told.more.notify_all();
        });
        Ok(Live { name: name.to_owned(), child, orders, console, reader: Some(reader) })
    }
}

impl Live {
    /// Waits until that many lines of the console begin so, from this line on; the last one's number, and its
    /// rest.
    ///
    /// # Errors
    /// When the machine ends before, or takes longer than any machine does.
    pub fn until(&self, from: usize, begin: &str, count: usize) -> Result<(usize, String), String> {
        let end = Instant::now() + LIMIT;
        let mut lines = self.console.lines();
        loop {
            let found = lines.0.iter().enumerate().skip(from);
            let mut found = found.filter_map(|(at, line)| Some((at, line.strip_prefix(begin)?)));
            if let Some((at, rest)) = found.nth(count - 1) {
                return Ok((at, rest.trim().to_owned()));
            }
            let left = end.saturating_duration_since(Instant::now());
            if lines.1 || left.is_zero() {
                let text = lines.0.join("\n");
                return Err(format!("{}: never {count} times {begin:?}:\n{text}", self.name));
            }
            lines = self.console.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives it an order.
    ///
    /// # Errors
    /// When it has ended.
    pub fn order(&mut self, words: &str) -> io::Result<()> {
        writeln!(self.orders, "{words}")?;
        self.orders.flush()
    }

    /// Takes its power; all that was on its console until then.
    #[must_use]
    pub fn cut(mut self) -> Vec<String> {
        self.end();
        std::mem::take(&mut self.console.lines().0)
    }

    fn end(&mut self) {
        let _it_has_ended = self.child.kill();
        let _it_has_ended = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _a_thread_of_ours = reader.join();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}
