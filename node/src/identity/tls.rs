//! TLS as the cluster uses it: one authority, certificates on both sides.

use std::{error::Error, sync::Arc};

use tasuki_core::ids::ServerName;
use tokio_rustls::rustls::{
    self,
    AlertDescription::{BadCertificate, CertificateExpired, DecryptError, UnknownCA},
    CertificateError,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity as PemIdentity, ServerTlsConfig};

use super::{Credentials, Identity, IdentityError, export_clients::ExportClients, pki::certificates};

/// The name under which a server's certificate is checked, whatever address it was reached at.
#[must_use]
pub fn server_domain(server: &ServerName) -> String {
    format!("{server}.server.tasuki")
}

/// Makes *ring* the process's cryptography. Without a word, rustls panics as soon as a second
/// provider is linked in by some dependency.
pub(super) fn choose_provider() {
    // An error says that it has been chosen before.
    let _ = ring::default_provider().install_default();
}

impl Identity {
    /// For the server side. A client certificate is checked when there is one; a call without one
    /// is refused by the service, which can say why (only the join needs none).
    #[must_use]
    pub fn server_tls(&self) -> ServerTlsConfig {
        choose_provider();
        ServerTlsConfig::new()
            .identity(PemIdentity::from_pem(&self.pki.server_pem, &self.pki.server_key))
            .client_ca_root(Certificate::from_pem(&self.pki.ca_pem))
            .client_auth_optional(true)
    }

    /// For exports of volumes over TCP: whoever connects shows the certificate of a server or of an
    /// administrator of this cluster.
    ///
    /// # Errors
    /// When the identity's own files are not what they should be.
    pub fn export_tls(&self) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let wrong = |error: &dyn Error| IdentityError::Crypto(error.to_string());
        let own = certificates(&self.pki.server_pem).map_err(IdentityError::Crypto)?;
        let key =
            PrivateKeyDer::from_pem_slice(self.pki.server_key.as_bytes()).map_err(|error| wrong(&error))?;
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(Arc::new(self.export_clients()?))
            .with_single_cert(own, key)
            .map_err(|error| wrong(&error))?;
        Ok(Arc::new(config))
    }

    /// Who may connect to them.
    pub(super) fn export_clients(&self) -> Result<ExportClients, IdentityError> {
        choose_provider();
        let wrong = |error: &dyn Error| IdentityError::Crypto(error.to_string());
        let mut authority = rustls::RootCertStore::empty();
        for certificate in certificates(&self.pki.ca_pem).map_err(IdentityError::Crypto)? {
            authority.add(certificate).map_err(|error| wrong(&error))?;
        }
        let signed = WebPkiClientVerifier::builder(Arc::new(authority)).build();
        let signed = signed.map_err(|error| wrong(&error))?;
        Ok(ExportClients { signed, lineage: self.lineage().clone() })
    }

    /// For calls to the server `to`, with this server's certificate.
    #[must_use]
    pub fn client_tls(&self, to: &ServerName) -> ClientTlsConfig {
        choose_provider();
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.pki.ca_pem))
            .identity(PemIdentity::from_pem(&self.pki.server_pem, &self.pki.server_key))
            .domain_name(server_domain(to))
    }
}

impl Credentials {
    /// For an operator's calls. `ca_pem` is the cluster's authority; the server is checked by the
    /// address it is called at, or by `domain` (see [`server_domain`]) where that is known.
    #[must_use]
    pub fn client_tls(&self, ca_pem: &str, domain: Option<&str>) -> ClientTlsConfig {
        choose_provider();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca_pem))
            .identity(PemIdentity::from_pem(&self.certificate, &self.key));
        match domain {
            Some(domain) => tls.domain_name(domain),
            None => tls,
        }
    }
}

/// What a failed connection means for an operator, when it failed because of a certificate.
#[must_use]
pub fn explain_tls(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        // tokio wraps what rustls says into an `io::Error`, whose `source` skips it.
        let inner = io.and_then(std::io::Error::get_ref).and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner.or_else(|| error.downcast_ref::<rustls::Error>()) {
            return Some(explain(tls));
        }
        // An alert that comes after the handshake (TLS 1.3 refuses clients late) passes through
        // HTTP/2, which keeps nothing but its text.
        if let Some(alert) = io.map(ToString::to_string).and_then(|t| Some(t.split_once(ALERT)?.1.to_owned()))
        {
            let known = [UnknownCA, DecryptError, BadCertificate, CertificateExpired];
            let found = known.into_iter().find(|a| alert.starts_with(&format!("{a:?}")));
            return Some(match found {
                Some(found) => explain(&rustls::Error::AlertReceived(found)),
                None => format!("TLS: {ALERT}{alert} (TSK-1111)"),
            });
        }
        next = error.source();
    }
    None
}

/// How rustls begins what it says of an alert.
const ALERT: &str = "received fatal alert: ";

fn explain(error: &rustls::Error) -> String {
    let text = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "its certificate is of another cluster",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "another server of the cluster answers there",
        rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }) => {
            "its certificate is not a server's"
        }
        rustls::Error::AlertReceived(UnknownCA | DecryptError | BadCertificate) => {
            "it says that our certificate is of another cluster"
        }
        rustls::Error::AlertReceived(CertificateExpired) => "it says that our certificate has expired",
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS",
        other => return format!("TLS: {other} (TSK-1111)"),
    };
    format!("{text} (TSK-1111)")
}
