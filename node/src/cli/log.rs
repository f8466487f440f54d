//! The log of the long-running processes, on stderr, for whoever keeps the output of the service.
//! `TASUKI_LOG` says how much.

use std::{
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "info,openraft=error,ractor=off";
/// A pipe that is ready takes at least so many bytes without waiting.
const AT_ONCE: usize = 4096;

/// For the guard: a line that nobody takes is dropped. Whoever reads the log may be stopped, or wait
/// for a disk; the lease's end does not wait for them (R10).
pub fn without_waiting() {
    let filter = EnvFilter::try_from_env("TASUKI_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_writer(|| Lossy(io::stderr()));
    // An error says that somebody else, a test for example, keeps the log already.
    let _ = log.try_init();
}

/// Writes what can be written at once, and drops the rest.
struct Lossy<W>(W);

impl<W: Write + AsFd> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO) == Ok(1) {
            // What comes of it does not matter either: there is nowhere to say so.
            let _ = self.0.write(&line[..line.len().min(AT_ONCE)]);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    #[test]
    fn r10_a_log_that_nobody_reads_does_not_hold_the_guard_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = Lossy(writer);
        let line = [b'x'; 1000];
        for _ in 0..1000 {
            log.write_all(&line).unwrap(); // would wait for ever at the 64th or so
        }
        drop(log);
        let mut kept = Vec::new();
        reader.read_to_end(&mut kept).unwrap();
        assert!(kept.len() >= AT_ONCE && kept.len() % line.len() == 0, "{}", kept.len());
    }
}
