//! Who may use exports of volumes over TCP: they read and write the disk past its file system, so servers
//! and administrators may, and nobody who may only read or run groups.

use std::sync::Arc;

use tasuki_core::ids::Lineage;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::caller::{Caller, Role, names_of};

/// Lets in whom the cluster's authority has signed, and who may do everything.
#[derive(Debug)]
pub(super) struct ExportClients {
    /// Checks what the authority has signed.
    pub signed: Arc<dyn ClientCertVerifier>,
    /// R24: of this registry.
    pub lineage: Lineage,
}

impl ClientCertVerifier for ExportClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.signed.verify_client_cert(certificate, chain, now)?;
        let may = match names_of(certificate) {
            Ok((Caller::Server(_) | Caller::Operator { role: Role::Admin, .. }, lineage)) => {
                lineage == self.lineage
            }
            _ => false,
        };
        may.then_some(verified).ok_or_else(|| CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
