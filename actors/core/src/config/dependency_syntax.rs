//! Dependencies on one line, as the reference writes them.
//!
//! ```text
//! hard(a,global:b,intermediate:type:t) pullup:always(a) attraction(type:t) dispersion:active(c)
//! ```
//!
//! Kinds are separated by spaces, the names in one pair of brackets by commas; modifiers stand
//! before the name, `type:` last. `always` and `active` change the kind and stand before its
//! bracket. What is wrong is told with its place in the text, so that whoever read the text from a
//! file can point at it.

use std::{fmt, ops::Range};

use super::{
    Named, StartDependency, StartKind, StopDependency,
    spelling::{nearest, one_of},
};
use crate::ids::{ResourceName, TypeName};

/// The kinds of start dependency, in the order in which they are written.
pub const START_KINDS: [&str; 5] = ["hard", "weak", "attraction", "pullup", "dispersion"];

/// The modifiers before a name: for each start kind, and of the one stop kind.
const HARD: &[&str] = &["intermediate", "global"];
const WEAK: &[&str] = &["concurrent", "global", "uniform"];
const ATTRACTION: &[&str] = &["intermediate"];
const PULLUP: &[&str] = &["intermediate", "global"];
const DISPERSION: &[&str] = &["intermediate"];
const STOP_HARD: &[&str] = &["intermediate", "global", "shutdown"];
/// Every modifier that there is, for whoever writes one at the wrong place.
const MODIFIERS: [&str; 7] =
    ["intermediate", "global", "concurrent", "uniform", "shutdown", "always", "active"];

/// A dependency and the bytes of the text that name it, from its first modifier to its last letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// The dependency.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// What is wrong with a line of dependencies, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct SyntaxError {
    /// The bytes of the wrong word; empty where something is missing.
    pub span: Range<usize>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line of dependencies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such kind.
    #[error("`{word}` is no kind of {of}")]
    Kind {
        /// What stands there.
        word: String,
        /// Of start or of stop dependency.
        of: Side,
    },
    /// A kind that the reference has in later versions only.
    #[error("`exclusion` belongs to later versions of the reference and does not exist here")]
    Exclusion,
    /// A modifier that does not exist, or that this kind does not have.
    #[error("`{word}` is no modifier of `{kind}`")]
    Modifier {
        /// What stands there.
        word: String,
        /// Of which kind.
        kind: &'static str,
        /// Those that this kind has.
        allowed: &'static [&'static str],
    },
    /// A modifier of the kind, written before a name, or the other way round.
    #[error("`{word}` of `{kind}` stands at the wrong side of the bracket")]
    OtherSide {
        /// Which.
        word: &'static str,
        /// Of which kind.
        kind: &'static str,
        /// How it is written.
        right: String,
    },
    /// The same modifier twice.
    #[error("`{0}` stands here twice")]
    Twice(&'static str),
    /// `type:` before another modifier.
    #[error("`type` does not stand last, before the name")]
    TypeNotLast,
    /// No name where one must be.
    #[error("a name is missing")]
    NoName,
    /// A name with something in it that names do not have.
    #[error("`{word}` has {bad:?} in it")]
    BadName {
        /// What stands there.
        word: String,
        /// The first such character.
        bad: char,
    },
    /// Something else instead of a bracket.
    #[error("an opening bracket is missing after `{0}`")]
    NoOpening(String),
    /// A bracket that is not closed.
    #[error("the bracket is not closed")]
    NoClosing,
    /// Something that belongs nowhere.
    #[error("{0:?} does not belong here")]
    Stray(char),
}

/// Which of the two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// START_DEPENDENCIES.
    Start,
    /// STOP_DEPENDENCIES.
    Stop,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start dependency",
            Self::Stop => "stop dependency",
        })
    }
}

impl Fault {
    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Kind { of: Side::Start, .. } | Self::Exclusion => one_of(START_KINDS),
            Self::Kind { of: Side::Stop, .. } => "`hard`, the only kind of stop dependency".to_owned(),
            Self::Modifier { allowed: [], kind, .. } => format!("`{kind}(` without a modifier"),
            Self::Modifier { allowed, .. } => {
                format!(
                    "{}, each at most once, then the name",
                    one_of(allowed.iter().copied().chain(["type"]))
                )
            }
            Self::OtherSide { right, .. } => format!("`{right}`"),
            Self::Twice(_) => "each modifier once".to_owned(),
            Self::TypeNotLast => "modifiers, then `type:`, then the name of a type".to_owned(),
            Self::NoName => "the name of a resource, or `type:` and the name of a type".to_owned(),
            Self::BadName { .. } => "a name, then `,` or `)`".to_owned(),
            Self::NoOpening(_) => "`kind(name,name)`".to_owned(),
            Self::NoClosing => "`)` after the last name, or `,` before another one".to_owned(),
            Self::Stray(_) => "kinds separated by spaces: `hard(a) pullup(a)`".to_owned(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let meant = |near: Option<&str>| near.map(|near| format!("did you mean `{near}`?"));
        match self {
            Self::Kind { word, of: Side::Start } => {
                meant(nearest(word, START_KINDS)).unwrap_or_else(|| "use one of these kinds".to_owned())
            }
            Self::Kind { of: Side::Stop, .. } => "use `hard`, or make it a start dependency".to_owned(),
            Self::Exclusion => "use `dispersion` to keep two resources on different servers".to_owned(),
            Self::Modifier { word, allowed, kind } => {
                meant(nearest(word, allowed.iter().copied().chain(["type"]))).unwrap_or_else(|| {
                    if MODIFIERS.contains(&word.as_str()) {
                        format!("`{kind}` does not have it: take it out")
                    } else {
                        "take it out, or correct it".to_owned()
                    }
                })
            }
            Self::OtherSide { right, .. } => format!("write `{right}`"),
            Self::Twice(_) => "take one of the two out".to_owned(),
            Self::TypeNotLast => "put `type:` directly before the name".to_owned(),
            Self::NoName => "write a name there, or take the comma or the brackets out".to_owned(),
            Self::BadName { .. } => "correct the name, or close the bracket before it goes on".to_owned(),
            Self::NoOpening(word) => format!("write `{word}(NAME)`"),
            Self::NoClosing => "close the bracket".to_owned(),
            Self::Stray(_) => "take it out".to_owned(),
        }
    }
}

/// Reads START_DEPENDENCIES. The order is that of the text.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_start(text: &str) -> Result<Vec<Written<StartDependency>>, SyntaxError> {
    let mut found = Vec::new();
    for item in Reader::new(text, Side::Start).items()? {
        let has = |word| item.modifiers.contains(&word);
        let (intermediate, global) = (has("intermediate"), has("global"));
        let kind = match item.kind {
            Kind::Hard => StartKind::Hard { intermediate, global },
            Kind::Weak => StartKind::Weak { concurrent: has("concurrent"), global, uniform: has("uniform") },
            Kind::Attraction => StartKind::Attraction { intermediate },
            Kind::Pullup => StartKind::Pullup { always: item.marked, intermediate, global },
            Kind::Dispersion => StartKind::Dispersion { active: item.marked, intermediate },
        };
        found.push(Written { value: StartDependency { on: item.on, kind }, span: item.span });
    }
    Ok(found)
}

/// Reads STOP_DEPENDENCIES. The order is that of the text.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_stop(text: &str) -> Result<Vec<Written<StopDependency>>, SyntaxError> {
    let mut found = Vec::new();
    for item in Reader::new(text, Side::Stop).items()? {
        let has = |word| item.modifiers.contains(&word);
        let value = StopDependency {
            intermediate: has("intermediate"),
            global: has("global"),
            shutdown: has("shutdown"),
            on: item.on,
        };
        found.push(Written { value, span: item.span });
    }
    Ok(found)
}

/// Puts start dependencies into the order in which they are written, each once.
pub fn normalise_start(dependencies: &mut Vec<StartDependency>) {
    dependencies.sort_by(|a, b| (a.kind.head(), &a.on, a.kind).cmp(&(b.kind.head(), &b.on, b.kind)));
    dependencies.dedup();
}

/// Puts stop dependencies into the order in which they are written, each once.
pub fn normalise_stop(dependencies: &mut Vec<StopDependency>) {
    dependencies.sort();
    dependencies.dedup();
}

/// START_DEPENDENCIES on one line, in normal order.
#[must_use]
pub fn start_line(dependencies: &[StartDependency]) -> String {
    let mut sorted = dependencies.to_vec();
    normalise_start(&mut sorted);
    let lists = sorted.chunk_by(|a, b| a.kind.head() == b.kind.head()).map(|list| {
        let names: Vec<String> = list.iter().map(StartDependency::inner).collect();
        format!("{}({})", list[0].kind.word(), names.join(","))
    });
    lists.collect::<Vec<_>>().join(" ")
}

/// STOP_DEPENDENCIES on one line, in normal order.
#[must_use]
pub fn stop_line(dependencies: &[StopDependency]) -> String {
    let mut sorted = dependencies.to_vec();
    normalise_stop(&mut sorted);
    if sorted.is_empty() {
        return String::new();
    }
    format!("hard({})", sorted.iter().map(StopDependency::inner).collect::<Vec<_>>().join(","))
}

impl fmt::Display for Named {
    /// `db` or `type:database`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(name) => f.pad(name.as_str()),
            Self::Type(name) => f.pad(&format!("type:{name}")),
        }
    }
}

impl fmt::Display for StartDependency {
    /// `pullup:always(global:db)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.kind.word(), self.inner())
    }
}

impl fmt::Display for StopDependency {
    /// `hard(intermediate:db)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hard({})", self.inner())
    }
}

impl StartDependency {
    fn inner(&self) -> String {
        let (intermediate, global) = match self.kind {
            StartKind::Hard { intermediate, global } | StartKind::Pullup { intermediate, global, .. } => {
                (intermediate, global)
            }
            StartKind::Weak { global, .. } => (false, global),
            StartKind::Attraction { intermediate } | StartKind::Dispersion { intermediate, .. } => {
                (intermediate, false)
            }
        };
        let (concurrent, uniform) = match self.kind {
            StartKind::Weak { concurrent, uniform, .. } => (concurrent, uniform),
            _ => (false, false),
        };
        let words = [
            (concurrent, "concurrent"),
            (intermediate, "intermediate"),
            (global, "global"),
            (uniform, "uniform"),
        ];
        with_modifiers(&words, &self.on)
    }
}

impl StopDependency {
    fn inner(&self) -> String {
        let words =
            [(self.intermediate, "intermediate"), (self.global, "global"), (self.shutdown, "shutdown")];
        with_modifiers(&words, &self.on)
    }
}

fn with_modifiers(words: &[(bool, &str)], on: &Named) -> String {
    let mut text: String = words.iter().filter(|(is, _)| *is).map(|(_, word)| format!("{word}:")).collect();
    text.push_str(&on.to_string());
    text
}

impl StartKind {
    /// The kind as it stands before the bracket.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hard { .. } => "hard",
            Self::Weak { .. } => "weak",
            Self::Attraction { .. } => "attraction",
            Self::Pullup { always: false, .. } => "pullup",
            Self::Pullup { always: true, .. } => "pullup:always",
            Self::Dispersion { active: false, .. } => "dispersion",
            Self::Dispersion { active: true, .. } => "dispersion:active",
        }
    }

    /// What orders the brackets of a line.
    fn head(&self) -> (usize, &'static str) {
        let word = self.word();
        let place = START_KINDS.iter().position(|kind| word.split(':').next() == Some(kind));
        (place.unwrap_or(START_KINDS.len()), word)
    }
}

// --- reading --------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hard,
    Weak,
    Attraction,
    Pullup,
    Dispersion,
}

impl Kind {
    fn read(word: &str, side: Side) -> Option<Self> {
        match (word, side) {
            ("hard", _) => Some(Self::Hard),
            ("weak", Side::Start) => Some(Self::Weak),
            ("attraction", Side::Start) => Some(Self::Attraction),
            ("pullup", Side::Start) => Some(Self::Pullup),
            ("dispersion", Side::Start) => Some(Self::Dispersion),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Weak => "weak",
            Self::Attraction => "attraction",
            Self::Pullup => "pullup",
            Self::Dispersion => "dispersion",
        }
    }

    /// The modifiers before a name.
    fn modifiers(self, side: Side) -> &'static [&'static str] {
        match (self, side) {
            (Self::Hard, Side::Stop) => STOP_HARD,
            (Self::Hard, Side::Start) => HARD,
            (Self::Weak, _) => WEAK,
            (Self::Attraction, _) => ATTRACTION,
            (Self::Pullup, _) => PULLUP,
            (Self::Dispersion, _) => DISPERSION,
        }
    }

    /// The modifiers before the bracket.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Pullup => &["always"],
            Self::Dispersion => &["active"],
            Self::Hard | Self::Weak | Self::Attraction => &[],
        }
    }
}

struct Item {
    kind: Kind,
    marked: bool,
    modifiers: Vec<&'static str>,
    on: Named,
    span: Range<usize>,
}

struct Reader<'a> {
    text: &'a str,
    side: Side,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, side: Side) -> Self {
        Self { text, side, at: 0 }
    }

    fn items(mut self) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            let Some(next) = self.peek() else { return Ok(items) };
            if matches!(next, '(' | ')' | ',' | ':') {
                return Err(self.wrong(self.at..self.at + next.len_utf8(), Fault::Stray(next)));
            }
            let (kind, marked) = self.kind()?;
            self.list(kind, marked, &mut items)?;
        }
    }

    /// `pullup:always`, up to the bracket.
    fn kind(&mut self) -> Result<(Kind, bool), SyntaxError> {
        let (word, span) = self.word();
        if word == "exclusion" {
            return Err(self.wrong(span, Fault::Exclusion));
        }
        let unknown = Fault::Kind { word: word.to_owned(), of: self.side };
        let kind = Kind::read(word, self.side).ok_or_else(|| self.wrong(span.clone(), unknown))?;
        let mut marked = false;
        while self.eat(':') {
            let (word, span) = self.word();
            let Some(mark) = kind.marks().iter().copied().find(|mark| *mark == word) else {
                let inside = kind.modifiers(self.side).iter().copied().find(|inside| *inside == word);
                let fault = match inside {
                    Some(inside) => Fault::OtherSide {
                        word: inside,
                        kind: kind.word(),
                        right: format!("{}({inside}:NAME)", kind.word()),
                    },
                    None => {
                        Fault::Modifier { word: word.to_owned(), kind: kind.word(), allowed: kind.marks() }
                    }
                };
                return Err(self.wrong(span, fault));
            };
            if marked {
                return Err(self.wrong(span, Fault::Twice(mark)));
            }
            marked = true;
        }
        let head = self.text[span.start..self.at].to_owned();
        self.skip_space();
        if self.eat('(') {
            return Ok((kind, marked));
        }
        let end = span.start + head.len();
        Err(self.wrong(end..end, Fault::NoOpening(head)))
    }

    /// `a,global:b)`
    fn list(&mut self, kind: Kind, marked: bool, items: &mut Vec<Item>) -> Result<(), SyntaxError> {
        loop {
            self.skip_space();
            items.push(self.item(kind, marked)?);
            let end = self.at;
            self.skip_space();
            let here = self.at;
            match self.peek() {
                Some(',') => self.at += 1,
                Some(')') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(other @ ('(' | ':')) => return Err(self.wrong(here..here + 1, Fault::Stray(other))),
                _ => return Err(self.wrong(end..end, Fault::NoClosing)),
            }
        }
    }

    /// `intermediate:type:t`: the last word is the name, whatever it is.
    fn item(&mut self, kind: Kind, marked: bool) -> Result<Item, SyntaxError> {
        let start = self.at;
        let mut words = vec![self.word()];
        while self.eat(':') {
            words.push(self.word());
        }
        let Some((name, name_span)) = words.pop() else {
            return Err(self.wrong(start..start, Fault::NoName));
        };
        let last = words.len().saturating_sub(1);
        let of_type = words.last().is_some_and(|(word, _)| *word == "type");
        let mut modifiers = Vec::new();
        for (place, (word, span)) in words.into_iter().enumerate() {
            if word == "type" {
                if place == last {
                    continue;
                }
                return Err(self.wrong(span, Fault::TypeNotLast));
            }
            let modifier = self.modifier(kind, word, &span)?;
            if modifiers.contains(&modifier) {
                return Err(self.wrong(span, Fault::Twice(modifier)));
            }
            modifiers.push(modifier);
        }
        if name.is_empty() {
            return Err(self.wrong(name_span, Fault::NoName));
        }
        if let Some(bad) = name.chars().find(|c| matches!(c, '#' | '"' | '\'' | '=')) {
            return Err(self.wrong(name_span, Fault::BadName { word: name.to_owned(), bad }));
        }
        let on = if of_type {
            Named::Type(TypeName::from(name))
        } else {
            Named::Resource(ResourceName::from(name))
        };
        Ok(Item { kind, marked, modifiers, on, span: start..name_span.end })
    }

    fn modifier(&self, kind: Kind, word: &str, span: &Range<usize>) -> Result<&'static str, SyntaxError> {
        let allowed = kind.modifiers(self.side);
        if let Some(known) = allowed.iter().copied().find(|known| *known == word) {
            return Ok(known);
        }
        let mark = kind.marks().iter().copied().find(|mark| *mark == word);
        let fault = match mark {
            Some(mark) => Fault::OtherSide {
                word: mark,
                kind: kind.word(),
                right: format!("{}:{mark}(NAME)", kind.word()),
            },
            None => Fault::Modifier { word: word.to_owned(), kind: kind.word(), allowed },
        };
        Err(self.wrong(span.clone(), fault))
    }

    fn word(&mut self) -> (&'a str, Range<usize>) {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ':'));
        let span = self.at..self.at + end.unwrap_or(rest.len());
        self.at = span.end;
        (&self.text[span.clone()], span)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let is = self.peek() == Some(c);
        self.at += if is { c.len_utf8() } else { 0 };
        is
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, span: Range<usize>, fault: Fault) -> SyntaxError {
        SyntaxError { span, fault }
    }
}

#[cfg(test)]
mod tests;
