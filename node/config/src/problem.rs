//! What is wrong with a configuration: one mistake, or all of them.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A stable code; each has a page `docs/errors/TSK-nnnn.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, for the test that each has its page.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// `TSK-nnnn`
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("TSK-", $code),)*
                }
            }
        }
    };
}

codes! {
    /// The file cannot be read.
    Unreadable = "1001",
    /// The text is not TOML.
    Syntax = "1002",
    /// A key or section that does not exist.
    UnknownKey = "1003",
    /// A value of another type.
    WrongType = "1004",
    /// A key or section that must be there is not.
    Missing = "1005",
    /// A value that is none of the possible ones.
    BadValue = "1006",
    /// Not a duration with its unit.
    BadDuration = "1007",
    /// Not a usable name.
    BadName = "1008",
    /// Two things of one name.
    DuplicateName = "1009",
    /// Not an address, subnet or prefix.
    BadAddress = "1010",
    /// An address that is used twice.
    DuplicateAddress = "1011",
    /// An address outside its network.
    OutsideNetwork = "1012",
    /// A name that names nothing.
    UnknownName = "1013",
    /// Times that cannot work together.
    ImpossibleTimes = "1014",
    /// Resources that wait for each other.
    DependencyCycle = "1015",
    /// A script or program that is missing or not executable.
    Script = "1016",
    /// Something that this version cannot do.
    NotSupported = "1017",
    /// Too many servers.
    TooManyServers = "1018",
    /// A server without an address on a heartbeat network.
    NoHeartbeatAddress = "1019",
    /// A resource type that cannot be.
    BadType = "1020",
    /// A line of dependencies that cannot be read.
    BadDependency = "1021",
    /// A key that this type of thing does not have.
    NotOfThisType = "1022",
    /// Dependencies that would never allow a start.
    NeverStarts = "1023",
    /// Server pools that cannot be filled.
    BadPool = "1024",
    /// A monitor that could not watch, or could not mend, what it names.
    BadMonitor = "1025",
    /// Something that others need cannot be deleted.
    StillNeeded = "1026",
    /// A witness where a server is needed.
    NotAServer = "1060",
    /// A witness that cannot be what it is configured to be.
    BadWitness = "1061",
    /// Warning: a witness that nobody asks.
    IdleWitness = "1062",
    /// An even number of voting files.
    EvenVotingFiles = "1063",
    /// A voting file that cannot be one.
    BadVotingFile = "1064",
    /// A tie-break that lacks what it needs.
    BadTieBreak = "1065",
    /// Warning: a tie-break that allows two masters.
    UnsafeTieBreak = "1066",
    /// A fencing device that could not fence.
    BadFence = "1067",
    /// Warning: a fencing device that no server has.
    IdleFence = "1068",
    /// A tie-break by fence without devices that prove a server off.
    FenceNoTieBreak = "1069",
    /// No heartbeat path that carries votes.
    NoLanHeartbeat = "1070",
    /// A serial line between other than two servers.
    SerialLine = "1071",
    /// Warning: what goes on at a quorum's loss, and what is marked to, do not fit.
    ReadOnlyMismatch = "1072",
    /// Warning: this machine cannot freeze what runs.
    CannotFreeze = "1073",
    /// Mirrored data on too few or too many servers.
    MirrorCopies = "1074",
    /// An area of a mirrored disk that something else uses.
    MirrorArea = "1075",
    /// A voting file on a mirrored disk.
    VotingFileOnMirror = "1076",
    /// Warning: a restart of the node interrupts a mirrored disk.
    MirrorRestart = "1077",
    /// A port of mirrored disks that does not fit.
    MirrorPort = "1078",
    /// Not a size with its unit, or one that cannot be.
    BadSize = "1079",
    /// Warning: only one heartbeat path.
    OneHeartbeatPath = "1050",
    /// Warning: a voter that adds nothing.
    EvenVoters = "1051",
    /// Warning: two servers without a tie-break.
    NoTieBreak = "1052",
    /// Warning: no watchdog.
    NoWatchdog = "1053",
    /// Warning: a watchdog that makes takeovers wait.
    SlowWatchdog = "1054",
    /// Warning: what a stop dependency takes down does not come back by itself.
    StaysDown = "1055",
    /// Warning: a setting for one server on something whose servers change.
    BoundToServer = "1056",
    /// Warning: a dependency on what is not there to be waited for.
    NothingToWaitFor = "1057",
    /// Warning: no network is set apart for the servers.
    NoInterconnect = "1770",
}

impl Code {
    /// Whether this is only a warning.
    #[must_use]
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::OneHeartbeatPath
                | Self::EvenVoters
                | Self::NoTieBreak
                | Self::NoWatchdog
                | Self::SlowWatchdog
                | Self::StaysDown
                | Self::BoundToServer
                | Self::NothingToWaitFor
                | Self::NoInterconnect
                | Self::IdleWitness
                | Self::UnsafeTieBreak
                | Self::IdleFence
                | Self::ReadOnlyMismatch
                | Self::CannotFreeze
                | Self::MirrorRestart
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One mistake, or one thing worth a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its stable code.
    pub code: Code,
    /// The file.
    pub file: String,
    /// The line, from 1; `None` when the problem is not about a place in the file.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What stands there.
    pub found: Option<String>,
    /// What could stand there.
    pub expected: Option<String>,
    /// What to do.
    pub remedy: String,
    #[serde(skip)]
    pub(crate) excerpt: Option<Excerpt>,
}

/// The line, and how much of it to underline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) line: String,
    pub(crate) width: usize,
}

impl Problem {
    /// A problem that is not about a place in a file.
    pub(crate) fn nowhere(code: Code, file: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            found: None,
            expected: None,
            remedy: String::new(),
            excerpt: None,
        }
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The problem as people read it, on several lines, the last one without line end.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = |style: &str, text: &str| {
            if colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let (kind, style) = if self.code.is_warning() { ("warning", "1;33") } else { ("error", "1;31") };
        let mut out =
            format!("{}: {}", paint(style, &format!("{kind}[{}]", self.code)), paint("1", &self.message));
        let number = self.line.map_or(String::new(), |line| line.to_string());
        let margin = " ".repeat(number.len().max(1));
        let bar = paint("34", "|");
        if !self.file.is_empty() {
            let place = match (self.line, self.column) {
                (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
                _ => self.file.clone(),
            };
            out += &format!("\n{margin}{} {place}", paint("34", "-->"));
        }
        if let (Some(excerpt), Some(column)) = (&self.excerpt, self.column) {
            let caret = paint(style, &"^".repeat(excerpt.width));
            out += &format!("\n{margin} {bar}\n{} {bar} {}", paint("34", &number), excerpt.line);
            out += &format!("\n{margin} {bar} {}{caret}", " ".repeat(column - 1));
        }
        let notes = [("found", self.found.as_deref()), ("expected", self.expected.as_deref())];
        let remedy = Some(self.remedy.as_str()).filter(|remedy| !remedy.is_empty());
        for (label, note) in notes.into_iter().chain([("remedy", remedy)]) {
            if let Some(note) = note {
                out += &format!("\n{margin} {} {label}: {note}", paint("34", "="));
            }
        }
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Never empty.
/// Serialises as a list of [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// `None` when there is nothing wrong.
    pub(crate) fn from_problems(problems: Vec<Problem>) -> Option<Self> {
        if problems.is_empty() { None } else { Some(Self { problems }) }
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All of them as people read them, with colours when asked.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            out += &problem.render(colour);
            out += "\n\n";
        }
        let count = self.problems.len();
        out + &format!("{count} {}", if count == 1 { "error" } else { "errors" })
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}
