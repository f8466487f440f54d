//! What happened, in order: a number that two runs of one seed must agree on, the last lines for
//! whoever looks at a failure, and all of them when asked for.

use std::collections::VecDeque;

/// Lines that a failure shows.
const KEPT: usize = 160;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    aloud: bool,
}

impl Trace {
    /// An empty trace; `aloud` prints every line at once.
    #[must_use]
    pub fn new(aloud: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, last: VecDeque::new(), aloud }
    }

    /// One more line, at `now` nanoseconds.
    pub fn say(&mut self, now: u64, line: &str) {
        let line = format!("{:>10.3} {line}", now as f64 / 1e9);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.lines += 1;
        if self.aloud {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Stands for everything that was said.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
