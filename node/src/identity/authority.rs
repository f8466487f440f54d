//! Whom a joining server talks to: found out from the token, before the secret is sent.
//!
//! Two connections are made. The first sends nothing: it only reads the chain that the other end
//! presents, and accepts it if it leads to the authority whose fingerprint is in the token. The
//! second one trusts that authority and nothing else; over it the secret may go.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tasuki_core::ids::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{
            CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
        },
        pki_types::{CertificateDer, ServerName as TlsName, TrustAnchor, UnixTime},
    },
};
use tonic::transport::ClientTlsConfig;

use super::{
    Caller, IdentityError, Token,
    caller::names_of,
    pki,
    tls::{choose_provider, explain_tls, server_domain},
};

/// A server of the token's cluster, and the authority that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Which server answered.
    pub server: ServerName,
    /// The authority.
    anchor: TrustAnchor<'static>,
}

impl Authority {
    /// For the call that sends the secret: trusts this authority and this server only.
    #[must_use]
    pub fn client_tls(&self) -> ClientTlsConfig {
        choose_provider();
        ClientTlsConfig::new().trust_anchor(self.anchor.clone()).domain_name(server_domain(&self.server))
    }
}

/// Finds out whether a server of the cluster that issued `token` answers at `address`. Sends
/// nothing of the token.
///
/// # Errors
/// When nobody answers within `patience`, or not that cluster.
pub async fn verify_authority(
    address: SocketAddr,
    token: &Token,
    patience: Duration,
) -> Result<Authority, IdentityError> {
    let no_answer = |why: String| IdentityError::NoAnswer { address: address.to_string(), why };
    let verifier = Arc::new(TokenVerifier {
        token: token.clone(),
        algorithms: ring::default_provider().signature_verification_algorithms,
        provider: Arc::new(ring::default_provider()),
        found: Mutex::new(None),
        refused: Mutex::new(None),
    });
    let mut config = ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| IdentityError::Crypto(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(TlsName::from(address.ip()), stream).await
    };
    let outcome = timeout(patience, connect).await;
    if let Some(why) = verifier.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(IdentityError::WrongCluster { address: address.to_string(), why });
    }
    match outcome {
        Err(_) => return Err(no_answer(format!("no answer within {patience:?}"))),
        Ok(Err(e)) => return Err(no_answer(explain_tls(&e).unwrap_or_else(|| e.to_string()))),
        Ok(Ok(_)) => {}
    }
    let found = verifier.found.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.ok_or_else(|| no_answer("the connection ended before it was verified".into()))
}

/// Accepts a chain that leads to the token's authority.
#[derive(Debug)]
struct TokenVerifier {
    token: Token,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<Authority>>,
    refused: Mutex<Option<String>>,
}

impl TokenVerifier {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Authority, String> {
        let authority = chain
            .iter()
            .find(|c| self.token.is_of(&pki::fingerprint(c)))
            .ok_or("its authority is another one than the token names")?
            .clone()
            .into_owned();
        let (Caller::Server(server), _) = names_of(certificate)? else {
            return Err("its certificate is not a server's".into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).map_err(|e| e.to_string())?;
        let name = TlsName::try_from(server_domain(&server)).map_err(|e| e.to_string())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| e.to_string())?
            .verify_server_cert(certificate, &[], &name, &[], now)
            .map_err(|e| e.to_string())?;
        let anchor = webpki::anchor_from_trusted_cert(&authority).map_err(|e| e.to_string())?.to_owned();
        Ok(Authority { server, anchor })
    }
}

impl ServerCertVerifier for TokenVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &TlsName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(certificate, chain, now) {
            Ok(authority) => {
                *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(authority);
                Ok(ServerCertVerified::assertion())
            }
            Err(why) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
