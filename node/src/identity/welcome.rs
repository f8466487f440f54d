//! What passes between a joining server and the one that lets it in.
//!
//! The joining server makes its key itself and sends only the public half; the answer travels over
//! a connection whose authority the token has vouched for.

use std::path::Path;

use rcgen::KeyPair;
use tasuki_core::ids::{Incarnation, Lineage, RaftId, ServerName};

use super::{
    Facts, Identity, IdentityError, Token,
    folder::{Folder, check_server_name},
    pki::{self, Pki},
};

/// The key of a server that is about to join. Lost when the join fails, and then of no use.
pub struct KeyRequest {
    server: ServerName,
    key: KeyPair,
    folder: Folder,
}

/// The answer to a join: all that a member needs.
#[derive(Clone)]
pub struct Welcome {
    /// The server that joins.
    pub server: ServerName,
    /// The Raft id it was given.
    pub raft_id: RaftId,
    /// The registry's lineage.
    pub lineage: Lineage,
    /// The cluster's name.
    pub cluster: String,
    /// The authority's certificate, PEM.
    pub ca_pem: String,
    /// The authority's key, PEM: every server can let others in.
    pub ca_key: String,
    /// The key that authenticates heartbeats, 32 bytes.
    pub link_key: Vec<u8>,
    /// The server's new certificate, PEM, with the authority's behind it.
    pub server_pem: String,
    /// The highest incarnation known of a server of this name; the next start counts on from it.
    pub last_incarnation: Incarnation,
}

impl KeyRequest {
    /// Prepares `data` for the identity of `server` and makes its key.
    ///
    /// # Errors
    /// When `data` already holds an identity or cannot be written, or the name cannot stand in a
    /// certificate: before anything is sent.
    pub fn new(data: &Path, server: &ServerName) -> Result<Self, IdentityError> {
        check_server_name(server)?;
        let folder = Folder::create(data)?;
        let key = KeyPair::generate().map_err(pki::crypto)?;
        Ok(Self { server: server.clone(), key, folder })
    }

    /// The public half, to be sent with the token's secret.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key_raw().to_vec()
    }

    /// Checks the answer against the token and keeps it.
    ///
    /// # Errors
    /// When the answer is not for this server or not from the token's cluster, or cannot be
    /// written. Nothing counts as joined then.
    pub fn store(self, welcome: Welcome, token: &Token) -> Result<Identity, IdentityError> {
        let wrong = |why: String| IdentityError::WrongCluster { address: "the other end".into(), why };
        if welcome.server != self.server {
            return Err(wrong(format!("it answered for server {}", welcome.server)));
        }
        let ca = pki::certificates(&welcome.ca_pem).map_err(wrong)?;
        let fingerprint = pki::fingerprint(&ca[0]);
        if !token.is_of(&fingerprint) {
            return Err(wrong("it handed out another authority than the token names".into()));
        }
        let link_key = <[u8; 32]>::try_from(welcome.link_key.as_slice())
            .map_err(|_| wrong("the link key it handed out has not 32 bytes".into()))?;
        let identity = Identity {
            facts: Facts {
                server: welcome.server,
                raft_id: welcome.raft_id,
                lineage: welcome.lineage,
                cluster: welcome.cluster,
            },
            pki: Pki {
                ca_pem: welcome.ca_pem,
                ca_key: welcome.ca_key,
                fingerprint,
                server_pem: welcome.server_pem,
                server_key: self.key.serialize_pem(),
            },
            link_key,
        };
        self.folder.check_parts(&identity.facts, &identity.pki)?;
        self.folder.store(&identity, welcome.last_incarnation)?;
        Ok(identity)
    }
}
