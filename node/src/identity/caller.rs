//! Who is calling: read from the certificate that the TLS layer has verified, or from the local
//! socket's peer credentials.

use std::fmt;

use tasuki_core::ids::{Lineage, ServerName};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::{
    Extensions,
    transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo},
};

use super::IdentityError;

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and run groups and servers.
    Operator,
    /// Everything.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl Role {
    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "viewer" => Some(Self::Viewer),
            "operator" => Some(Self::Operator),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A server of this cluster.
    Server(ServerName),
    /// A person with a certificate of this cluster.
    Operator {
        /// Who.
        name: String,
        /// What they may do.
        role: Role,
    },
    /// A process on this machine, over the local socket.
    Local {
        /// Its user id.
        uid: u32,
        /// Its user's name, or the id when there is none.
        user: String,
    },
    /// Nobody in particular.
    Anonymous,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => write!(f, "server {server}"),
            Self::Operator { name, role } => write!(f, "{role} {name}"),
            Self::Local { user, .. } => write!(f, "local user {user}"),
            Self::Anonymous => f.write_str("somebody without a certificate"),
        }
    }
}

/// Who a chain of certificates speaks for. The TLS layer has already verified that the cluster's
/// authority signed the first of them.
///
/// # Errors
/// When it names another lineage (R24), or nobody.
pub fn caller_from_certificates(
    chain: &[CertificateDer<'_>],
    lineage: &Lineage,
) -> Result<Caller, IdentityError> {
    let Some(first) = chain.first() else { return Ok(Caller::Anonymous) };
    let (caller, found) = names_of(first).map_err(IdentityError::ForeignCertificate)?;
    if found != *lineage {
        return Err(IdentityError::ForeignCertificate(format!(
            "it belongs to lineage {found}, this registry is {lineage}"
        )));
    }
    Ok(caller)
}

/// Who makes this call, from what the transport noted about its connection.
///
/// # Errors
/// When a certificate was presented that is not of this cluster.
pub fn caller_of(extensions: &Extensions, lineage: &Lineage) -> Result<Caller, IdentityError> {
    if let Some(local) = extensions.get::<UdsConnectInfo>() {
        return Ok(local.peer_cred.map_or(Caller::Anonymous, |peer| {
            let uid = peer.uid();
            let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
            Caller::Local { uid, user: user.map_or_else(|| uid.to_string(), |u| u.name) }
        }));
    }
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
    match tls.and_then(TlsConnectInfo::peer_certs) {
        Some(chain) => caller_from_certificates(&chain, lineage),
        None => Ok(Caller::Anonymous),
    }
}

/// The holder and the lineage that a certificate names.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Result<(Caller, Lineage), String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|e| e.to_string())?;
    let (mut caller, mut lineage) = (None, None);
    for name in parsed.valid_dns_names() {
        let labels: Vec<&str> = name.split('.').collect();
        match labels[..] {
            [server, "server", "tasuki"] => caller = Some(Caller::Server(ServerName::new(server))),
            [name, role, "operator", "tasuki"] => {
                let role = Role::parse(role).ok_or_else(|| format!("it names an unknown role {role:?}"))?;
                caller = Some(Caller::Operator { name: name.to_owned(), role });
            }
            [id, "lineage", "tasuki"] => lineage = Some(Lineage::new(id)),
            _ => {}
        }
    }
    match (caller, lineage) {
        (Some(caller), Some(lineage)) => Ok((caller, lineage)),
        _ => Err("it names no server or operator of a Tasuki cluster".into()),
    }
}
