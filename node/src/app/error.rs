//! The one table from an error to its code, its gRPC status, its exit code and its remedy.
//!
//! `docs/errors` has a page for each code; a test compares.

use serde::{Deserialize, Serialize};
use tasuki_actors::handle::RegistryError;
use tasuki_core::registry::Refusal;

use super::{caller::Role, resources::ResourceError};
use crate::identity::IdentityError;

/// Why an intention was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// An argument that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// No such object.
    #[error("no {kind} is called {name}")]
    NotFound {
        /// Server, group, registry key.
        kind: Kind,
        /// As it was asked for.
        name: String,
    },
    /// The registry refused.
    #[error("{0}")]
    Refused(Refusal),
    /// Nobody whom a quorum follows.
    #[error("the cluster has no quorum: {0}")]
    NoQuorum(String),
    /// It may have happened or not.
    #[error("the outcome is unclear: {0}")]
    Unclear(String),
    /// The caller's role is too small.
    #[error("{who} is {}, and this needs {}", has.word(), needs.word())]
    PermissionDenied {
        /// Who asked.
        who: String,
        /// What they are.
        has: Role,
        /// What they should be.
        needs: Role,
    },
    /// The caller did not say who they are, or not credibly.
    #[error("{0}")]
    Unauthenticated(String),
    /// A configuration with mistakes.
    #[error("the configuration has {} mistake{}", mistakes(.0), if mistakes(.0) == 1 { "" } else { "s" })]
    Config(Vec<Problem>),
    /// A configuration that some server cannot work with.
    #[error("{0}")]
    ConfigElsewhere(String),
    /// Something that stops every service and was not acknowledged.
    #[error("{0} stops every service of the cluster")]
    NotAcknowledged(&'static str),
    /// The node cannot be reached; only on the side of the caller.
    #[error("{0}")]
    Unreachable(String),
    /// A file that could not be read or written.
    #[error("{0}")]
    File(String),
    /// Waited for the outcome as long as was allowed.
    #[error("{0}")]
    TookTooLong(String),
    /// The work was accepted and did not succeed.
    #[error("{0}")]
    Failed(String),
    /// About a resource, a type or a server pool.
    #[error("{0}")]
    Resource(#[from] ResourceError),
    /// An error with a code of its own, from below (identity, store) or from another node.
    #[error("{message}")]
    Coded {
        /// Its code.
        code: String,
        /// What happened.
        message: String,
        /// What to do.
        remedy: String,
        /// How the command line ends.
        exit: Exit,
    },
}

/// What was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server.
    Server,
    /// A group.
    Group,
    /// A registry key.
    Key,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Group => "group",
            Self::Key => "registry key",
        })
    }
}

/// One mistake in a configuration, or a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `TSK-10nn`.
    pub code: String,
    /// The file as the caller named it.
    pub file: String,
    /// From 1; 0 when about the whole file.
    pub line: u32,
    /// From 1; 0 when about the whole line.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// It works nevertheless.
    pub warning: bool,
    /// For a terminal, with the line and a caret.
    pub rendered: String,
}

fn mistakes(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| !problem.warning).count()
}

/// How the command line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// The command line or an argument makes no sense.
    Usage = 2,
    /// No such server, group or key.
    NotFound = 3,
    /// Refused, or in conflict with what is.
    Refused = 4,
    /// No quorum, or the node cannot be reached.
    Unreachable = 5,
    /// The caller may not.
    PermissionDenied = 6,
}

impl AppError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Invalid(_) => "TSK-1601",
            Self::NotFound { kind: Kind::Server, .. } => "TSK-1602",
            Self::NotFound { kind: Kind::Group, .. } => "TSK-1603",
            Self::NotFound { kind: Kind::Key, .. } => "TSK-1604",
            Self::Refused(refusal) => refusal_code(refusal),
            Self::NoQuorum(_) => "TSK-1620",
            Self::Unclear(_) => "TSK-1621",
            Self::Unreachable(_) => "TSK-1622",
            Self::TookTooLong(_) => "TSK-1623",
            Self::Failed(_) => "TSK-1624",
            Self::PermissionDenied { .. } => "TSK-1630",
            Self::Unauthenticated(_) => "TSK-1631",
            Self::Config(_) => "TSK-1650",
            Self::ConfigElsewhere(_) => "TSK-1651",
            Self::NotAcknowledged(_) => "TSK-1660",
            Self::File(_) => "TSK-1670",
            Self::Resource(error) => error.code(),
            Self::Coded { code, .. } => code,
        }
    }

    /// How the command line ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid(_) | Self::NotAcknowledged(_) => Exit::Usage,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Refused(
                Refusal::NoSuchServer(_)
                | Refusal::NoSuchGroup(_)
                | Refusal::NoSuchMonitor(_)
                | Refusal::NoSuchPool(_)
                | Refusal::NoSuchVolume(_),
            ) => Exit::NotFound,
            Self::Refused(Refusal::Token(_)) | Self::PermissionDenied { .. } | Self::Unauthenticated(_) => {
                Exit::PermissionDenied
            }
            Self::Refused(_) | Self::ConfigElsewhere(_) => Exit::Refused,
            Self::NoQuorum(_) | Self::Unclear(_) | Self::Unreachable(_) => Exit::Unreachable,
            Self::Config(_) | Self::File(_) | Self::TookTooLong(_) | Self::Failed(_) => Exit::Failed,
            Self::Resource(error) => error.exit(),
            Self::Coded { exit, .. } => *exit,
        }
    }

    /// The gRPC status.
    #[must_use]
    pub fn grpc(&self) -> tonic::Code {
        match self {
            Self::Invalid(_) | Self::Config(_) | Self::NotAcknowledged(_) => tonic::Code::InvalidArgument,
            Self::Unauthenticated(_) => tonic::Code::Unauthenticated,
            Self::Unclear(_) => tonic::Code::Unknown,
            Self::TookTooLong(_) => tonic::Code::DeadlineExceeded,
            Self::Refused(Refusal::MovedOn { .. }) => tonic::Code::Aborted,
            other => match other.exit() {
                Exit::Failed => tonic::Code::Internal,
                Exit::Usage => tonic::Code::InvalidArgument,
                Exit::NotFound => tonic::Code::NotFound,
                Exit::Refused => tonic::Code::FailedPrecondition,
                Exit::Unreachable => tonic::Code::Unavailable,
                Exit::PermissionDenied => tonic::Code::PermissionDenied,
            },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Invalid(_) => "correct the argument; --help shows what is expected",
            Self::NotFound { kind: Kind::Server, .. } => "`tasuki server list` shows the servers",
            Self::NotFound { kind: Kind::Group, .. } => "`tasuki group status` shows the groups",
            Self::NotFound { kind: Kind::Key, .. } => "`tasuki registry list` shows the keys",
            Self::Refused(refusal) => refusal_remedy(refusal),
            Self::NoQuorum(_) => {
                "`tasuki cluster status` shows which servers are up; start enough of them for a quorum"
            }
            Self::Unclear(_) => "look at `tasuki cluster status` before you repeat it: it may have happened",
            Self::Unreachable(_) => {
                "check that the node runs (`systemctl status tasuki`) and that --data or --address names it"
            }
            Self::TookTooLong(_) => "it goes on by itself; `tasuki explain GROUP` says what it waits for",
            Self::Failed(_) => "`tasuki explain GROUP` says why; the resource's log has its output",
            Self::PermissionDenied { .. } => "ask an administrator, or use a certificate with that role",
            Self::Unauthenticated(_) => {
                "give --identity DIR with a certificate of this cluster, or use the local socket as root"
            }
            Self::Config(_) => "correct the file; `tasuki config check FILE` shows each mistake in its place",
            Self::ConfigElsewhere(_) => {
                "put right what the servers name, then push again; nothing was changed"
            }
            Self::NotAcknowledged(_) => "say --yes if that is what you want",
            Self::File(_) => "check the path, its permissions and the free space",
            Self::Resource(error) => error.remedy(),
            Self::Coded { remedy, .. } => remedy,
        }
    }
}

fn refusal_code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoSuchServer(_) => "TSK-1602",
        Refusal::NoSuchGroup(_) => "TSK-1603",
        Refusal::AlreadyRuns { .. } => "TSK-1605",
        Refusal::NotRunning(_) => "TSK-1606",
        Refusal::Busy(_) => "TSK-1607",
        Refusal::NotAllowed { .. } => "TSK-1608",
        Refusal::NowhereToGo(_) => "TSK-1609",
        Refusal::ServerDown(_) | Refusal::NotJoined(_) => "TSK-1610",
        Refusal::WrongMode(_) => "TSK-1611",
        Refusal::MovedOn { .. }
        | Refusal::OtherIncarnation { .. }
        | Refusal::StillOwned { .. }
        | Refusal::OtherEpoch { .. }
        | Refusal::NotOwner { .. }
        | Refusal::OtherVolumeEpoch { .. }
        | Refusal::OlderRecord { .. } => "TSK-1612",
        Refusal::ServerInUse(_) => "TSK-1613",
        Refusal::OtherLineage(_) | Refusal::AlreadyInitialised => "TSK-1614",
        Refusal::Token(_) => "TSK-1640",
        Refusal::NoSuchMonitor(_) => "TSK-1615",
        Refusal::StopsOthers { .. } => "TSK-1616",
        Refusal::Disabled(_) => "TSK-1617",
        Refusal::Exclusive { .. } => "TSK-1618",
        Refusal::NotInPool { .. } => "TSK-1619",
        Refusal::NoSuchPool(_) => "TSK-1625",
        Refusal::PoolFull { .. } => "TSK-1626",
        Refusal::NotForPool { .. } => "TSK-1627",
        Refusal::FencingUnderWay(_) => "TSK-1730",
        Refusal::AlreadyFenced(_) => "TSK-1731",
        Refusal::NotFenced(_) => "TSK-1732",
        Refusal::StillUp(_) => "TSK-1733",
        Refusal::FenceFirst(_) => "TSK-1734",
        Refusal::StillFenced(_) => "TSK-1735",
        Refusal::RunsNoGroups(_) => "TSK-1750",
        Refusal::NotYet { .. } => "TSK-1840",
        Refusal::TooOld { .. } => "TSK-1841",
        Refusal::NoSuchVolume(_) => "TSK-1800",
        Refusal::VolumeKnown(_) => "TSK-1801",
        Refusal::NotGood { .. } => "TSK-1802",
        Refusal::LastGood(_) => "TSK-1803",
        Refusal::VolumeOpen { .. } => "TSK-1804",
    }
}

fn refusal_remedy(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoSuchServer(_) => "`tasuki server list` shows the servers; `tasuki server add` adds one",
        Refusal::NoSuchGroup(_) => "`tasuki group status` shows the groups",
        Refusal::AlreadyRuns { .. } => "nothing to do; `tasuki group move` brings it elsewhere",
        Refusal::NotRunning(_) => "`tasuki group start` starts it",
        Refusal::Busy(_) => "wait until it has stopped; `tasuki group status` shows it",
        Refusal::NotAllowed { .. } => "name a server from the group's list, or add this one and push",
        Refusal::NowhereToGo(_) => "`tasuki explain GROUP` says why no other server can take it",
        Refusal::ServerDown(_) => "start the server, or name another one",
        Refusal::NotJoined(_) => "join it first: `tasuki cluster token`, then `tasuki cluster join` there",
        Refusal::WrongMode(_) => "`tasuki cluster resume` lets the cluster run again",
        Refusal::MovedOn { .. }
        | Refusal::OtherIncarnation { .. }
        | Refusal::StillOwned { .. }
        | Refusal::OtherEpoch { .. }
        | Refusal::NotOwner { .. }
        | Refusal::OtherVolumeEpoch { .. }
        | Refusal::OlderRecord { .. } => "something changed meanwhile; look at it and try again",
        Refusal::ServerInUse(_) => {
            "keep the server in the file, or take it out with `tasuki server remove SERVER`"
        }
        Refusal::OtherLineage(_) | Refusal::AlreadyInitialised => {
            "this is another cluster than the one meant; check --data or --address"
        }
        Refusal::NoSuchVolume(_) => {
            "`tasuki mirror status` shows the volumes; start its group once to make it"
        }
        Refusal::VolumeKnown(_) => "nothing to do; `tasuki mirror status` shows it",
        Refusal::NotGood { .. } => "`tasuki mirror status` says which copies are good; let the resync end",
        Refusal::LastGood(_) => "bring another copy up to date first",
        Refusal::VolumeOpen { .. } => "stop its group first: `tasuki group stop`",
        Refusal::NoSuchMonitor(_) => "`tasuki cluster status` shows the monitors",
        Refusal::StopsOthers { .. } => "stop those first, or say --force to stop them with it",
        Refusal::Disabled(_) => "`tasuki resource enable` allows it to run again",
        Refusal::Exclusive { .. } => "move the other exclusive group away first",
        Refusal::NoSuchPool(_) => "`tasuki pool status` shows the pools",
        Refusal::PoolFull { .. } | Refusal::NotForPool { .. } => {
            "nothing to do: the pools are filled again by the configuration of now"
        }
        Refusal::NotInPool { .. } => "name a server of its pools; `tasuki pool status` shows them",
        Refusal::FencingUnderWay(_) => "wait for its outcome; `tasuki fence status` shows it",
        Refusal::AlreadyFenced(_) => "nothing to do; start the server to bring it back",
        Refusal::NotFenced(_) => "`tasuki fence status` shows what was fenced",
        Refusal::StillUp(_) => "`tasuki server shutdown SERVER` stops it in order",
        Refusal::FenceFirst(_) => "`tasuki fence status` shows how far its fencing is",
        Refusal::StillFenced(_) => {
            "it is let in by itself once it runs; `tasuki fence status` says what is missing"
        }
        Refusal::NotYet { .. } => {
            "bring every server and witness to this version; `tasuki cluster status` names those that are missing"
        }
        Refusal::TooOld { .. } => "start the newer version there again",
        Refusal::RunsNoGroups(_) => "end its node, and run `tasuki witness` there instead",
        Refusal::Token(_) => "make a new token with `tasuki cluster token` on a member",
    }
}

impl From<RegistryError> for AppError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => Self::Refused(refusal),
            RegistryError::NoQuorum(why) => Self::NoQuorum(why),
            RegistryError::Unclear(why) => Self::Unclear(why),
        }
    }
}

impl From<IdentityError> for AppError {
    fn from(error: IdentityError) -> Self {
        let exit = match &error {
            IdentityError::Exists { .. }
            | IdentityError::Another { .. }
            | IdentityError::NoAuthority
            | IdentityError::NotEmpty { .. } => Exit::Refused,
            IdentityError::Missing { .. } => Exit::NotFound,
            IdentityError::TokenForm(_) | IdentityError::Name { .. } => Exit::Usage,
            IdentityError::NoAnswer { .. } => Exit::Unreachable,
            IdentityError::WrongCluster { .. }
            | IdentityError::NoCertificate
            | IdentityError::ForeignCertificate(_)
            | IdentityError::NotAServer(_) => Exit::PermissionDenied,
            _ => Exit::Failed,
        };
        Self::Coded {
            code: error.code().to_owned(),
            message: error.to_string(),
            remedy: error.remedy(),
            exit,
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
