//! What the lab prints: lines, and below them one line that changes. On a terminal that line is
//! replaced in its place; elsewhere there are only the lines.
//!
//! Nothing here fails: a lab whose terminal is gone must still be taken down in order.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use tasuki_core::time::WallTime;

use super::service::{Change, Service};
use crate::cli::output::{Output, Style};

/// Where the lab prints.
#[derive(Debug)]
pub(super) struct Screen {
    out: Output,
    terminal: bool,
    live: String,
}

impl Screen {
    pub(super) fn new(out: Output) -> Self {
        Self { out, terminal: !out.json && io::stdout().is_terminal(), live: String::new() }
    }

    pub(super) fn color(&self) -> bool {
        self.out.color
    }

    /// Text for people.
    pub(super) fn say(&mut self, text: &str) {
        if !self.out.json {
            self.print(text);
        }
    }

    /// Something that happened: a line for people, or an object for programs.
    pub(super) fn event<T: Serialize>(&mut self, value: &T, text: &str) {
        if self.out.json {
            let line = serde_json::to_string(value).unwrap_or_default();
            self.print(&line);
        } else {
            self.print(text);
        }
    }

    /// Replaces the changing line; nothing where lines cannot be replaced.
    pub(super) fn live(&mut self, text: String) {
        if self.terminal && text != self.live {
            self.live = text;
            let line = self.live_line();
            write(&format!("\r{line}"));
        }
    }

    /// The changing line has said its last.
    pub(super) fn end_live(&mut self) {
        if !std::mem::take(&mut self.live).is_empty() {
            write("\r\u{1b}[K");
        }
    }

    fn print(&mut self, text: &str) {
        let clear = if self.live.is_empty() { "" } else { "\r\u{1b}[K" };
        let live = self.live_line();
        write(&format!("{clear}{text}\n{live}"));
    }

    /// Without wrapping: a line too long for the terminal is cut off there.
    fn live_line(&self) -> String {
        if self.live.is_empty() {
            return String::new();
        }
        format!("\u{1b}[?7l{}\u{1b}[K\u{1b}[?7h", self.live)
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _the_terminal_may_be_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `01:02:03.004Z`: UTC, as in logs and events.
pub(super) fn clock(at: WallTime) -> String {
    let text = at.to_string();
    text.get(11..).unwrap_or(&text).to_owned()
}

/// A change in a line.
pub(super) fn change(at: WallTime, change: &Change, color: bool) -> String {
    let stamp = Style::Dim.paint(&clock(at), color);
    match change {
        Change::Up { server } => {
            format!("{stamp}  {}, on {server}", Style::Good.paint("service up", color))
        }
        Change::Down { server } => {
            format!("{stamp}  {}, was on {server}", Style::Bad.paint("service down", color))
        }
        Change::Back(outage) => {
            let route = if outage.from == outage.to {
                format!("again on {}", outage.to)
            } else {
                format!("on {}, was on {}", outage.to, outage.from)
            };
            format!("{stamp}  {} after {} ms, {route}", Style::Good.paint("service up", color), outage.ms)
        }
    }
}

/// The service in one line.
pub(super) fn service(service: &Service, now: WallTime, color: bool) -> String {
    let ms = now.0.saturating_sub(service.since.0);
    let mut text = match &service.by {
        None => Style::Warn.paint("○ not up yet", color),
        Some(by) if service.up => {
            format!("{} on {} for {}", Style::Good.paint("● up", color), by.server, span(ms))
        }
        Some(by) => {
            let down = Style::Bad.paint("○ DOWN", color);
            format!("{down} for {:.1} s, was on {}", tenths(ms), by.server)
        }
    };
    if let Some(outage) = &service.last_outage {
        let route = if outage.from == outage.to {
            format!("on {}", outage.to)
        } else {
            format!("{} → {}", outage.from, outage.to)
        };
        text.push_str(&format!(
            " · last outage {} ms ({route}, {} ago)",
            outage.ms,
            span(now.0.saturating_sub(outage.ended.0))
        ));
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn tenths(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// `12 s`, `3 min 2 s`, `1 h 5 min`.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::service::{Answer, Outage};

    #[test]
    fn the_service_in_one_line() {
        let mut seen = Service { since: WallTime(1000), ..Service::default() };
        assert_eq!(service(&seen, WallTime(1500), false), "○ not up yet");
        seen.by = Some(Answer { server: "kiki".into(), pid: 1 });
        assert_eq!(service(&seen, WallTime(2240), false), "○ DOWN for 1.2 s, was on kiki");
        seen.up = true;
        let ended = WallTime(171_000);
        seen.last_outage = Some(Outage { ms: 1240, from: "kiki".into(), to: "lala".into(), ended });
        assert_eq!(
            service(&seen, WallTime(183_000), false),
            "● up on kiki for 3 min 2 s · last outage 1240 ms (kiki → lala, 12 s ago)"
        );
        assert_eq!(span(3_900_000), "1 h 5 min");
    }
}
