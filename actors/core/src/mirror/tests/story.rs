//! Stories: `stories/*.txt`, each a world, a script of what happens (`> …`), and under each line what
//! follows. `UPDATE=1` rewrites what follows; look at the difference before keeping it.
//!
//! A story about a rule names what is taken out (`without RULE: what then goes wrong`): told again
//! without it, the same script has to end so. Everything that can happen by itself happens after each
//! line, unless it is held back (`hold …`, `let go`); what is joined with `and` happens at once.

use std::{fs, path::Path};

use super::{
    Side,
    disk::name,
    lapse::{self, Lapse},
    moves::{Held, Move, pairs},
    settings::{Gap, Settings},
    table::Table,
    world::World,
};
use crate::mirror::state::{Wake, Wish};

/// A story as it is written.
struct Story {
    settings: Settings,
    without: Option<(String, String)>,
}

fn read(head: &str) -> Story {
    let mut story = Story { settings: Settings::of(2), without: None };
    for line in head.lines().filter(|line| !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("without ") {
            let (rule, why) = rest.split_once(": ").unwrap();
            story.without = Some((rule.to_owned(), why.to_owned()));
        }
        for word in line.strip_prefix("with ").into_iter().flat_map(|words| words.split(", ")) {
            let settings = &mut story.settings;
            match word.split_once(' ') {
                Some((number, "copies")) => settings.sides = number.parse().unwrap(),
                Some((number, "extents" | "extent")) => settings.extents = number.parse().unwrap(),
                Some(("known", "equal")) => settings.known_equal = true,
                Some(("resync", "by hand")) => settings.automatic = false,
                Some(("no", "going on without a disk")) => settings.diskless = false,
                _ => panic!("{word} is nothing that a story can have"),
            }
        }
    }
    story
}

fn side(word: &str) -> Side {
    (0..3).find(|side| name(*side).as_str() == word).unwrap_or_else(|| panic!("who is {word}?"))
}

impl World {
    /// Does one thing of a line.
    fn act(&mut self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let made = match words[..] {
            ["open", who] => self.make(&Move::Assign(side(who))),
            ["release"] => self.make(&Move::Release),
            ["gone", who] => self.make(&Move::Gone(side(who))),
            ["write", who, extent] => self.make(&Move::Write(side(who), extent.parse().unwrap())),
            ["flush", who] => self.make(&Move::Flush(side(who))),
            ["settle", who] => self.make(&Move::Settle(side(who))) | self.make(&Move::Keep(side(who))),
            ["read", who] => self.make(&Move::Read(side(who))),
            ["cut", one, other] => self.make(&Move::Cut(side(one), side(other))),
            ["heal", one, other] => self.make(&Move::Heal(side(one), side(other))),
            ["kill", who] => self.make(&Move::Kill(side(who))),
            ["power", who] => self.make(&Move::Power(side(who), 0)),
            ["start", who] => self.make(&Move::Return(side(who))),
            ["freeze", who] => self.make(&Move::Freeze(side(who))),
            ["thaw", who] => self.make(&Move::Thaw(side(who))),
            ["disk", "of", who, "fails"] => self.make(&Move::FailDisk(side(who))),
            ["disk", "of", who, "works"] => self.make(&Move::MendDisk { side: side(who), other: false }),
            ["disk", "of", who, "is", "new"] => self.make(&Move::MendDisk { side: side(who), other: true }),
            ["slow", who, peer] => self.make(&Move::Slow(side(who), side(peer))),
            ["patience", who] => self.make(&Move::Wake(side(who), Wake::Patience)),
            ["force", who] => self.make(&Move::Force(side(who))),
            ["grow", who] => self.make(&Move::Grow(side(who))),
            ["unclear"] => self.make(&Move::Unclear(self.asked.len().wrapping_sub(1))),
            ["arrive"] => self.make(&Move::Arrive(0)),
            ["vanish"] => self.make(&Move::Vanish(0)),
            ["deliver"] => self.deliver_one(),
            ["drop"] => (0..self.streams.len()).any(|at| self.make(&Move::Drop(at))),
            ["wish", who, ref wish @ ..] => self.make(&Move::Wish(side(who), wish_of(wish))),
            ["hold", ref what @ ..] => self.hold(what, true),
            ["let", "go", _, ..] => self.hold(&words[2..], false),
            ["let", "go"] => {
                self.held = Held::default();
                true
            }
            ["run"] => true,
            _ => panic!("{text} is nothing that happens in a story"),
        };
        if !made {
            self.say(format!("   not possible: {text}"));
        }
    }

    fn deliver_one(&mut self) -> bool {
        (0..self.streams.len()).any(|at| self.make(&Move::Deliver(at)))
    }

    fn hold(&mut self, what: &[&str], hold: bool) -> bool {
        let held = &mut self.held;
        match *what {
            ["proposals"] => held.proposals = hold,
            ["registry", "of", who] => held.registry.push(side(who)),
            ["frames"] => held.frames = hold,
            ["words"] => held.words = hold,
            ["local"] => held.local = hold,
            ["ends"] => held.ends = hold,
            ["calls"] => held.calls = hold,
            ["time"] => held.wakes = hold,
            ["copies"] => held.copies = hold,
            _ => panic!("{what:?} cannot be held"),
        }
        true
    }

    /// One line; what it said.
    pub(super) fn line(&mut self, text: &str) -> Vec<String> {
        text.split(" and ").for_each(|one| self.act(one));
        self.run();
        std::mem::take(&mut self.trace).into()
    }
}

fn wish_of(words: &[&str]) -> Wish {
    match *words {
        ["pause"] => Wish::Pause,
        ["resume"] => Wish::Resume,
        ["cancel"] => Wish::Cancel,
        ["rebuild", peer, ref how @ ..] => Wish::Rebuild {
            peer: name(side(peer)),
            full: how.contains(&"full"),
            discard: how.contains(&"discard"),
        },
        _ => panic!("nobody wishes {words:?}"),
    }
}

/// What a story should look like, with what really follows; and what went wrong, if anything did.
fn played(text: &str, settings: &Settings, table: &mut Table) -> (String, Option<String>) {
    let (head, script) = text.split_at(text.find("\n>").unwrap() + 1);
    let mut world = World::new(settings.clone());
    world.trace.clear();
    world.telling = true;
    world.table = Some(Table::default());
    let mut out = head.to_owned();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out += &format!("> {command}\n");
            for said in world.line(command) {
                out += &format!("  {said}\n");
            }
        } else if !line.starts_with("  ") {
            out += &format!("{line}\n"); // comments and blank lines stay
        }
    }
    // At the end nothing is held back, and everybody is there: it has to come to rest.
    world.telling = false;
    world.held = Held::default();
    for (one, other) in pairs(world.sides()) {
        world.make(&Move::Heal(one, other));
    }
    world.run();
    table.merge(world.table.unwrap_or_default());
    (out, world.broken)
}

fn taken_out(rule: &str) -> (Option<Lapse>, Option<Gap>) {
    let lapse = Lapse::ALL.into_iter().find(|lapse| format!("{lapse:?}") == rule);
    let gap = Gap::ALL.into_iter().find(|gap| format!("{gap:?}") == rule);
    assert!(lapse.is_some() || gap.is_some(), "{rule} is no rule that can be taken out");
    (lapse, gap)
}

/// All stories with their files.
fn stories() -> Vec<(std::path::PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mirror/tests/stories");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

/// What the machines did in all stories.
pub fn table_of_stories() -> Table {
    let mut table = Table::default();
    for (_, text) in stories() {
        let story = read(&text);
        played(&text, &story.settings, &mut table);
    }
    table
}

#[test]
fn every_story_ends_as_written() {
    let mut wrong = Vec::new();
    for (file, written) in stories() {
        let story = read(&written);
        let (played, broken) = played(&written, &story.settings, &mut Table::default());
        let name = file.display();
        if let Some(why) = broken {
            wrong.push(format!("{name}: {why}\n{played}"));
        } else if written != played && std::env::var_os("UPDATE").is_some() {
            fs::write(&file, played).unwrap();
        } else if written != played {
            wrong.push(format!("{name}\n{played}"));
        }
    }
    assert!(wrong.is_empty(), "these ended otherwise (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn every_story_of_a_rule_ends_badly_without_it() {
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (file, text) in stories() {
        let Story { mut settings, without: Some((rule, expected)) } = read(&text) else { continue };
        let (lapse, gap) = taken_out(&rule);
        settings.gap = gap;
        lapse::take_out(lapse);
        let (told, broken) = played(&text, &settings, &mut Table::default());
        lapse::take_out(None);
        if broken.as_ref() != Some(&expected) {
            wrong.push(format!("{}: {broken:?} instead of {expected}\n{told}", file.display()));
        }
        seen.push(rule);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names =
        Lapse::ALL.iter().map(|it| format!("{it:?}")).chain(Gap::ALL.iter().map(|it| format!("{it:?}")));
    let missing: Vec<String> = names.filter(|rule| !seen.contains(rule)).collect();
    assert!(missing.is_empty(), "no story is told without {missing:?}");
}
