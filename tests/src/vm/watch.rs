//! What is seen of a machine from outside: its console, and its end.

use std::{
    io::{BufRead, BufReader},
    process::Child,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A machine that takes longer than this is broken, or the one it runs on is.
pub(super) const LIMIT: Duration = Duration::from_secs(150);
/// How often it is asked whether nobody looks any more.
const LOOK: Duration = Duration::from_millis(100);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was reset.
    Reset,
    /// Its scenario came to its end.
    InOrder,
    /// Its power was cut.
    Cut,
    /// It ran still when nobody looked any more.
    Running,
}

/// What was seen of a machine from outside.
#[derive(Debug)]
pub struct Seen {
    /// How it ended.
    pub ended: Ended,
    /// When, since it was started.
    pub at: Duration,
    /// What was on its console, and when.
    pub lines: Vec<(Duration, String)>,
}

impl Seen {
    /// When a line that begins so first appeared, and the rest of it.
    #[must_use]
    pub fn mark(&self, begin: &str) -> Option<(Duration, &str)> {
        self.lines.iter().find_map(|(at, line)| Some((*at, line.strip_prefix(begin)?.trim())))
    }

    /// The console, for a message.
    #[must_use]
    pub fn console(&self) -> String {
        self.lines.iter().map(|(at, line)| format!("{:7.2} {line}\n", at.as_secs_f64())).collect()
    }
}

/// Reads the console until the machine ends, is cut, or all is over, and tells of its lines. Times
/// are counted from `began`.
pub(super) fn watch(
    mut machine: Child,
    began: Instant,
    cut: Option<&(String, usize)>,
    over: &AtomicBool,
    tell: &mut dyn FnMut(Duration, &str),
) -> Result<Seen, String> {
    let console = machine.stdout.take().ok_or("QEMU has no console")?;
    let (sender, console_lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send((began.elapsed(), line)).is_err() {
                return;
            }
        }
    });
    let mut lines: Vec<(Duration, String)> = Vec::new();
    let mut until_cut = cut.map(|(_, count)| *count);
    let ended = loop {
        if began.elapsed() > LIMIT {
            break None;
        }
        match console_lines.recv_timeout(LOOK) {
            Ok((at, line)) => {
                let end = line.starts_with("MARK end of the scenario");
                if cut.is_some_and(|(begin, _)| line.starts_with(begin)) {
                    until_cut = until_cut.map(|left| left.saturating_sub(1));
                }
                tell(at, &line);
                lines.push((at, line));
                if until_cut == Some(0) {
                    break Some(Ended::Cut);
                }
                if end {
                    break Some(Ended::InOrder);
                }
            }
            // QEMU has closed the console: it has ended, which it does at a reset only.
            Err(mpsc::RecvTimeoutError::Disconnected) => break Some(Ended::Reset),
            Err(mpsc::RecvTimeoutError::Timeout) if over.load(Ordering::Relaxed) => {
                break Some(Ended::Running);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    };
    let at = began.elapsed();
    let still_runs = ended != Some(Ended::Reset);
    if still_runs {
        machine.kill().map_err(|error| error.to_string())?;
    }
    let status = machine.wait().map_err(|error| error.to_string())?;
    let _a_thread_of_ours = reader.join();
    // What it said before it was killed.
    lines.extend(console_lines.try_iter());
    let Some(ended) = ended else {
        let seen = Seen { ended: Ended::InOrder, at, lines };
        return Err(format!("nothing happened within {LIMIT:?}:\n{}", seen.console()));
    };
    let seen = Seen { ended, at, lines };
    if !still_runs && !status.success() {
        return Err(format!("QEMU failed with {status}:\n{}", seen.console()));
    }
    Ok(seen)
}
