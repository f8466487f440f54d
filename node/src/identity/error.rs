//! What can be wrong with an identity, a certificate or a token, each with its code and remedy.

use std::{io, path::PathBuf};

/// An identity, certificate or token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder is taken.
    #[error("{} already holds the identity of {holds}", place.display())]
    Exists {
        /// The identity folder.
        place: PathBuf,
        /// Whose it is.
        holds: String,
    },
    /// The folder is empty.
    #[error("{} holds no identity", place.display())]
    Missing {
        /// The identity folder.
        place: PathBuf,
    },
    /// Somebody else's folder.
    #[error("{} holds the identity of {holds}, not of {wanted}", place.display())]
    Another {
        /// The identity folder.
        place: PathBuf,
        /// Whose it is.
        holds: String,
        /// Whose it was meant to be.
        wanted: String,
    },
    /// Others may read a key.
    #[error("{} may be read or changed by others than its owner (mode {mode:04o})", place.display())]
    Exposed {
        /// The file or folder.
        place: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file that is not what it should be.
    #[error("{}: {why}", place.display())]
    Damaged {
        /// The file.
        place: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", place.display())]
    Files {
        /// The file or folder.
        place: PathBuf,
        /// The system's word for it.
        source: io::Error,
    },
    /// A name that does not fit into a certificate.
    #[error("{what} name {name:?} cannot stand in a certificate: {why}")]
    Name {
        /// `server`, `operator` or `cluster`.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Text that is not a join token.
    #[error("this is not a join token: {0}")]
    TokenForm(&'static str),
    /// Who answers is not the cluster that issued the token.
    #[error("the server at {address} is not of the cluster that issued this token: {why}")]
    WrongCluster {
        /// Where.
        address: String,
        /// How that shows.
        why: String,
    },
    /// Nobody answers there.
    #[error("no Tasuki server answers at {address}: {why}")]
    NoAnswer {
        /// Where.
        address: String,
        /// What happened.
        why: String,
    },
    /// A call without a client certificate, where one is needed.
    #[error("this call needs a client certificate of the cluster, and none was presented")]
    NoCertificate,
    /// A certificate that does not say who its holder is in this cluster.
    #[error("the certificate presented is not one of this cluster: {0}")]
    ForeignCertificate(String),
    /// A certificate of the right cluster, but not of a server.
    #[error("only servers of the cluster may make this call; {0} is not one")]
    NotAServer(String),
    /// A witness is asked to sign.
    #[error("this member is a witness: it does not hold the authority's key and cannot sign certificates")]
    NoAuthority,
    /// What is handed out wants a folder of its own.
    #[error("{} is not an empty folder", place.display())]
    NotEmpty {
        /// The folder.
        place: PathBuf,
    },
    /// The library that makes certificates refused.
    #[error("cannot make a key or certificate: {0}")]
    Crypto(String),
}

impl IdentityError {
    /// The stable code; `docs/errors` has a page for each.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "TSK-1101",
            Self::Missing { .. } => "TSK-1102",
            Self::Another { .. } => "TSK-1103",
            Self::Exposed { .. } => "TSK-1104",
            Self::Damaged { .. } => "TSK-1105",
            Self::Name { .. } => "TSK-1106",
            Self::TokenForm(_) => "TSK-1107",
            Self::WrongCluster { .. } => "TSK-1108",
            Self::NoAnswer { .. } => "TSK-1109",
            Self::NoCertificate => "TSK-1110",
            Self::ForeignCertificate(_) => "TSK-1111",
            Self::NotAServer(_) => "TSK-1112",
            Self::Files { .. } => "TSK-1114",
            Self::Crypto(_) => "TSK-1115",
            Self::NoAuthority => "TSK-1119",
            Self::NotEmpty { .. } => "TSK-1120",
        }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Exists { .. } => {
                "Use another --data folder, or move this one away if that server is never to come back.".into()
            }
            Self::Missing { .. } => {
                "Run `tasuki cluster init` on the first server, `tasuki cluster join` on every other, or \
                 name the right --data folder."
                    .into()
            }
            Self::Another { .. } => {
                "Name the data folder of the server that was meant; nothing was changed.".into()
            }
            Self::Exposed { place, .. } => format!(
                "Find out who has read it, then `chmod {} {}`.",
                if place.is_dir() { "0700" } else { "0600" },
                place.display()
            ),
            Self::Damaged { .. } => {
                "Restore the identity folder from this server's own backup, or join anew with an empty \
                 data folder."
                    .into()
            }
            Self::Files { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "Run as the user that owns the data folder (root on most machines).".into()
            }
            Self::Files { .. } => "Make the folder readable and writable, with free space, and repeat.".into(),
            Self::Name { .. } => {
                "Use 1 to 63 letters, digits, `-` and `_`; `-` neither first nor last.".into()
            }
            Self::TokenForm(_) => {
                "Copy the whole line that `tasuki cluster token` printed; it begins with `tasuki1.`.".into()
            }
            Self::WrongCluster { .. } => {
                "Check the address; if it is right, issue a new token on a server of the cluster you mean. \
                 The secret was not sent."
                    .into()
            }
            Self::NoAnswer { .. } => {
                "Check address and port, that the node runs there, and that no firewall is between.".into()
            }
            Self::NoCertificate => {
                "Name a folder with `ca.pem`, `NAME.pem` and `NAME.key` by --identity, or call on the server \
                 itself over its local socket."
                    .into()
            }
            Self::ForeignCertificate(_) => {
                "Use a certificate that this cluster issued; a server of another cluster must not be configured \
                 with these addresses."
                    .into()
            }
            Self::NotAServer(_) => "Use the service that is meant for operators.".into(),
            Self::NoAuthority => "Run it on a server of the cluster.".into(),
            Self::NotEmpty { .. } => {
                "Name a folder that does not exist yet: each certificate has its own, with `ca.pem` in it.".into()
            }
            Self::Crypto(_) => "Report it with this text: it should not happen.".into(),
        }
    }
}
