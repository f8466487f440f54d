//! Who this server is, and how it proves it.
//!
//! Everything is kept in `<data>/identity/`:
//!
//! | file | content | who else holds it |
//! |---|---|---|
//! | `identity.json` | server, Raft id, lineage, cluster | – |
//! | `incarnation` | how often the node was started | – |
//! | `ca.pem`, `ca.key` | the cluster's authority | every server, so that a join can be served anywhere; a witness has no key there |
//! | `server.pem`, `server.key` | this server's certificate (with the authority's behind it) and key | nobody has the key |
//! | `link.key` | 32 bytes that authenticate heartbeats | every server |
//! | `admin.pem`, `admin.key` | an operator's certificate, on the founding server only | whoever copies it |
//!
//! A certificate says three things, all as DNS names, which every TLS library checks and shows:
//! what its holder is (`kiki.server.tasuki`, `aoi.admin.operator.tasuki`), and of which registry
//! (`<lineage>.lineage.tasuki`). The lineage stands in the organisation field too, for people.
//!
//! Further people get theirs from `tasuki cluster certificate`, in folders of their own: they end.
//!
//! Certificates of servers do not expire: a cluster that stops on a date that nobody remembers is
//! no high availability, and taking a server out is a change of the registry, not of a calendar.

mod authority;
mod caller;
mod error;
mod export_clients;
mod folder;
mod hand_out;
mod pki;
mod signing;
mod tls;
mod token;
mod welcome;

use std::{fmt, net::IpAddr, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{Incarnation, Lineage, RaftId, ServerName},
    time::WallTime,
};

pub use self::{
    authority::{Authority, verify_authority},
    caller::{Caller, Role, caller_from_certificates, caller_of},
    error::IdentityError,
    folder::{identity_folder, next_incarnation},
    pki::Credentials,
    tls::{explain_tls, server_domain},
    token::Token,
    welcome::{KeyRequest, Welcome},
};
use self::{folder::Folder, pki::Pki};

/// The Raft id of the server that founds a cluster.
pub const FOUNDER: RaftId = RaftId(1);

/// What identifies a server, apart from its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    server: ServerName,
    raft_id: RaftId,
    lineage: Lineage,
    cluster: String,
}

/// This server's identity with its keys. Never printed whole.
#[derive(Clone)]
pub struct Identity {
    facts: Facts,
    pki: Pki,
    link_key: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Founds a cluster: makes its lineage, authority and link key, and this server's and an
/// administrator's certificate, in `<data>/identity`.
///
/// # Errors
/// When `data` already holds an identity, when a name does not fit into a certificate, or when
/// nothing can be written there.
pub fn create_cluster(
    data: &Path,
    cluster: &str,
    server: &ServerName,
    addresses: &[IpAddr],
) -> Result<Identity, IdentityError> {
    let folder = Folder::create(data)?;
    let lineage = Lineage::new(pki::hex(&pki::random::<16>()?));
    let (pki, admin) = Pki::create(cluster, &lineage, server, addresses)?;
    let identity = Identity {
        facts: Facts { server: server.clone(), raft_id: FOUNDER, lineage, cluster: cluster.to_owned() },
        pki,
        link_key: pki::random::<32>()?,
    };
    folder.write_credentials("admin", &admin)?;
    folder.store(&identity, Incarnation(0))?;
    Ok(identity)
}

impl Identity {
    /// Reads the identity of the server whose data folder this is, and checks that it is whole.
    ///
    /// # Errors
    /// When there is none, when others may read its keys, or when its parts do not belong together.
    pub fn load(data: &Path) -> Result<Self, IdentityError> {
        Folder::open(data)?.load()
    }

    /// Refuses to be another server, or of another cluster, than the one that was meant.
    ///
    /// # Errors
    /// Names the data folder, whose it is, and whose it was meant to be.
    pub fn expect(
        &self,
        data: &Path,
        cluster: Option<&str>,
        server: Option<&ServerName>,
    ) -> Result<(), IdentityError> {
        let same =
            cluster.is_none_or(|c| c == self.facts.cluster) && server.is_none_or(|s| *s == self.facts.server);
        if same {
            return Ok(());
        }
        Err(IdentityError::Another {
            place: identity_folder(data),
            holds: format!("server {} of cluster {}", self.facts.server, self.facts.cluster),
            wanted: format!(
                "server {} of cluster {}",
                server.unwrap_or(&self.facts.server),
                cluster.unwrap_or(&self.facts.cluster)
            ),
        })
    }

    /// This server.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.facts.server
    }

    /// The id under which its store votes (R23).
    #[must_use]
    pub fn raft_id(&self) -> RaftId {
        self.facts.raft_id
    }

    /// The registry that it belongs to (R24).
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.facts.lineage
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.facts.cluster
    }

    /// The key that authenticates heartbeats.
    #[must_use]
    pub fn link_key(&self) -> &[u8; 32] {
        &self.link_key
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pki.ca_pem
    }

    /// SHA-256 of the authority's certificate, in hexadecimal.
    #[must_use]
    pub fn ca_fingerprint(&self) -> &str {
        &self.pki.fingerprint
    }

    /// A new join token for this cluster. The registry gets its id and digest; the operator its
    /// text, once.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new_token(&self) -> Result<Token, IdentityError> {
        Token::create(&self.pki.fingerprint)
    }

    /// A certificate for a person or a program outside: what they may do is written in it. There is
    /// no revocation, so it should end soon; ten years from now at the latest. With it comes when it
    /// ends.
    ///
    /// # Errors
    /// When the name does not fit into a certificate, or this is a witness, which cannot sign.
    pub fn issue_operator(
        &self,
        name: &str,
        role: Role,
        valid: Duration,
    ) -> Result<(Credentials, WallTime), IdentityError> {
        let end = pki::from_now(valid);
        let issued = self.pki.issue_operator(&self.facts.cluster, &self.facts.lineage, name, role, end)?;
        Ok((issued, end))
    }

    /// Everything that a joining server needs: a certificate for the public key it made, and what
    /// all servers share. `last` is the highest incarnation the registry knows of a server of
    /// that name, so that its heartbeats are not taken for old ones.
    ///
    /// # Errors
    /// When the name or the key does not fit into a certificate.
    pub fn issue_server(
        &self,
        server: &ServerName,
        raft_id: RaftId,
        addresses: &[IpAddr],
        public_key: &[u8],
        last: Incarnation,
    ) -> Result<Welcome, IdentityError> {
        let server_pem =
            self.pki.issue_server(&self.facts.cluster, &self.facts.lineage, server, addresses, public_key)?;
        Ok(Welcome {
            server: server.clone(),
            raft_id,
            lineage: self.facts.lineage.clone(),
            cluster: self.facts.cluster.clone(),
            ca_pem: self.pki.ca_pem.clone(),
            ca_key: self.pki.ca_key.clone(),
            link_key: self.link_key.to_vec(),
            server_pem,
            last_incarnation: last,
        })
    }
}

#[cfg(test)]
mod tests;
