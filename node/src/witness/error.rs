//! Why a witness does not do it.

use std::{io, path::PathBuf};

use tasuki_core::ids::Lineage;

use crate::{
    app::{AppError, error::Exit},
    edge::grpc::ServeError,
    identity::IdentityError,
};

/// What goes wrong at a witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// R24: a record, or a call, of another registry.
    #[error("this witness serves lineage {ours}; what was asked belongs to {theirs}")]
    OtherLineage {
        /// The witness's.
        ours: Lineage,
        /// The other.
        theirs: Lineage,
    },
    /// R17: a record that cannot be read is not a blank one.
    #[error("{}: the tie-break record is damaged: {why}", place.display())]
    Damaged {
        /// The file.
        place: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process serves this folder.
    #[error("another witness process serves {}", .0.display())]
    Running(PathBuf),
    /// A member that is no witness.
    #[error("{name} is {} in the configuration of cluster {cluster}", if *.server { "a server, not a witness," } else { "a witness, not a server," })]
    OtherRole {
        /// Who.
        name: String,
        /// Of which cluster.
        cluster: String,
        /// It is a server.
        server: bool,
    },
    /// This process is a witness of that cluster already.
    #[error("{} serves cluster {cluster} already, as {name}", folder.display())]
    Member {
        /// The witness's folder.
        folder: PathBuf,
        /// The cluster.
        cluster: String,
        /// As whom.
        name: String,
    },
    /// No such cluster here.
    #[error("{} serves no cluster called {cluster}", folder.display())]
    NoCluster {
        /// The witness's folder.
        folder: PathBuf,
        /// The cluster.
        cluster: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", place.display())]
    Files {
        /// The file or folder.
        place: PathBuf,
        /// The system's word for it.
        source: io::Error,
    },
    /// A record that would go back.
    #[error("the tie-break record has number {have} and does not go back to {wanted}")]
    Backwards {
        /// What it has.
        have: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// The folder is a server's.
    #[error("{} is the data folder of a server", .0.display())]
    ServersFolder(PathBuf),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A port in use, for example.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The part that votes did not start.
    #[error("the witness of cluster {cluster} does not start: {why}")]
    Tree {
        /// The cluster.
        cluster: String,
        /// What happened.
        why: String,
    },
}

impl WitnessError {
    /// The stable code; `docs/errors` has a page for each.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherLineage { .. } => "TSK-1751",
            Self::Damaged { .. } => "TSK-1752",
            Self::Running(_) => "TSK-1753",
            Self::OtherRole { .. } => "TSK-1754",
            Self::Member { .. } | Self::ServersFolder(_) => "TSK-1755",
            Self::NoCluster { .. } => "TSK-1756",
            Self::Files { .. } => "TSK-1757",
            Self::Backwards { .. } => "TSK-1758",
            Self::Tree { .. } => "TSK-1759",
            Self::Identity(error) => error.code(),
            Self::Serve(ServeError::InUse(_)) => "TSK-1680",
            Self::Serve(ServeError::Listen { .. }) => "TSK-1681",
            Self::Serve(ServeError::Serve(_)) => "TSK-1682",
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::OtherLineage { .. } => {
                "join the witness to the cluster that is meant: `tasuki cluster token --server NAME` there, \
                 then `tasuki witness join` here"
                    .into()
            }
            Self::Damaged { place, .. } => format!(
                "keep {} for inquiry; with both servers up, `tasuki witness leave` and join anew: the leader \
                 writes a new record",
                place.display()
            ),
            Self::Running(_) => "one process serves all clusters of a folder; end the other one first".into(),
            Self::OtherRole { server: true, .. } => {
                "use `tasuki cluster join` for a server, or make it a [[witness]] in the configuration".into()
            }
            Self::OtherRole { .. } => "use `tasuki witness join` and `tasuki witness`".into(),
            Self::Member { cluster, .. } => {
                format!("nothing to do; to join anew, `tasuki witness leave {cluster}` first")
            }
            Self::NoCluster { .. } => "`tasuki witness list` shows the clusters".into(),
            Self::Files { .. } => "make the folder readable and writable, with free space".into(),
            Self::Backwards { .. } => {
                "the caller's store is older than the record: let it catch up with the other server".into()
            }
            Self::ServersFolder(_) => {
                "give the witness a folder of its own by --data, best on another machine".into()
            }
            Self::Identity(error) => error.remedy(),
            Self::Serve(_) => "the message says what to change".into(),
            Self::Tree { .. } => "the message says what is missing; the witness tries again by itself".into(),
        }
    }

    /// A failure at a file or folder.
    pub(super) fn files(place: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let place = place.into();
        move |source| Self::Files { place, source }
    }
}

impl From<WitnessError> for AppError {
    fn from(error: WitnessError) -> Self {
        let exit = match error {
            WitnessError::Identity(error) => return error.into(),
            WitnessError::NoCluster { .. } => Exit::NotFound,
            WitnessError::OtherRole { .. } | WitnessError::Member { .. } | WitnessError::Running(_) => {
                Exit::Refused
            }
            WitnessError::ServersFolder(_) => Exit::Usage,
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
