//! Keys and certificates of one cluster.
//!
//! The authority is rebuilt from its key and names whenever something is issued: its certificate
//! need not be parsed for that, and what is issued always names the same issuer.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
    date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use tasuki_core::{
    ids::{Lineage, ServerName},
    time::WallTime,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{IdentityError, Role};

/// How long the founder's own administrator certificate is valid; nobody's is valid for longer.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 31_556_952);

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate, and behind it the authority's.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// All PEM texts of a server.
#[derive(Clone)]
pub(super) struct Pki {
    pub ca_pem: String,
    pub ca_key: String,
    /// SHA-256 of the authority's certificate (DER), in hexadecimal.
    pub fingerprint: String,
    pub server_pem: String,
    pub server_key: String,
}

impl Pki {
    /// A new authority, with certificates for the founding server and an administrator.
    pub fn create(
        cluster: &str,
        lineage: &Lineage,
        server: &ServerName,
        addresses: &[IpAddr],
    ) -> Result<(Self, Credentials), IdentityError> {
        let key = KeyPair::generate().map_err(crypto)?;
        let ca = authority(cluster, lineage).self_signed(&key).map_err(crypto)?;
        let server_key = KeyPair::generate().map_err(crypto)?;
        let mut pki = Self {
            ca_pem: ca.pem(),
            ca_key: key.serialize_pem(),
            fingerprint: fingerprint(ca.der()),
            server_pem: String::new(),
            server_key: server_key.serialize_pem(),
        };
        pki.server_pem =
            pki.issue_server(cluster, lineage, server, addresses, server_key.public_key_raw())?;
        let admin = pki.issue_operator(cluster, lineage, "admin", Role::Admin, from_now(LONGEST))?;
        Ok((pki, admin))
    }

    /// A server's certificate for its public key, the authority's behind it.
    pub fn issue_server(
        &self,
        cluster: &str,
        lineage: &Lineage,
        server: &ServerName,
        addresses: &[IpAddr],
        public_key: &[u8],
    ) -> Result<String, IdentityError> {
        check_label("server", server.as_str())?;
        // An uncompressed point: anything else would make a certificate that nobody can use.
        if public_key.len() != 65 || public_key.first() != Some(&4) {
            return Err(IdentityError::Crypto("the public key is not a P-256 point of 65 bytes".into()));
        }
        let mut params = leaf(lineage, server.as_str(), &format!("{server}.server.tasuki"))?;
        params.subject_alt_names.push(dns("localhost")?);
        let mut all = vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        all.extend(addresses);
        all.sort_unstable();
        all.dedup();
        params.subject_alt_names.extend(all.into_iter().map(SanType::IpAddress));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(cluster, lineage, &params, &RawKey(public_key))
    }

    /// An operator's certificate and key, good until `end`: people leave, servers do not.
    pub fn issue_operator(
        &self,
        cluster: &str,
        lineage: &Lineage,
        name: &str,
        role: Role,
        end: WallTime,
    ) -> Result<Credentials, IdentityError> {
        if self.ca_key.is_empty() {
            return Err(IdentityError::NoAuthority);
        }
        check_label("operator", name)?;
        let mut params = leaf(lineage, name, &format!("{name}.{role}.operator.tasuki"))?;
        // Only `clientAuth`: no operator can pass for a server.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // A certificate ends on a whole second.
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end.0 / 1000);
        let key = KeyPair::generate().map_err(crypto)?;
        let certificate = self.sign(cluster, lineage, &params, &key)?;
        Ok(Credentials { certificate, key: key.serialize_pem() })
    }

    fn sign(
        &self,
        cluster: &str,
        lineage: &Lineage,
        params: &CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<String, IdentityError> {
        let key = KeyPair::from_pem(&self.ca_key).map_err(crypto)?;
        let issuer = Issuer::new(authority(cluster, lineage), key);
        let certificate = params.signed_by(public_key, &issuer).map_err(crypto)?;
        Ok(format!("{}{}", certificate.pem(), self.ca_pem))
    }
}

/// The public key of a joining server, as it sent it.
struct RawKey<'a>(&'a [u8]);

impl PublicKeyData for RawKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn authority(cluster: &str, lineage: &Lineage) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&format!("Tasuki cluster {cluster}"), lineage);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    never_expires(&mut params);
    params
}

fn leaf(lineage: &Lineage, name: &str, domain: &str) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name, lineage);
    params.subject_alt_names = vec![dns(domain)?, dns(&format!("{lineage}.lineage.tasuki"))?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    never_expires(&mut params);
    Ok(params)
}

fn subject(name: &str, lineage: &Lineage) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject.push(DnType::OrganizationName, lineage.as_str());
    subject
}

/// Valid long before it was made: a server whose clock is wrong after a power cut must still be
/// able to talk to its peers. And 9999 is what RFC 5280 writes for "no end".
fn never_expires(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
}

/// The moment so long from now, by this machine's clock; [`LONGEST`] from now at most.
pub(super) fn from_now(span: Duration) -> WallTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let end = now.as_secs().saturating_add(span.min(LONGEST).as_secs().max(1));
    WallTime(end.saturating_mul(1000))
}

fn dns(name: &str) -> Result<SanType, IdentityError> {
    Ok(SanType::DnsName(name.try_into().map_err(crypto)?))
}

/// Whether a name can be one label of a DNS name.
pub(super) fn check_label(what: &'static str, name: &str) -> Result<(), IdentityError> {
    let refuse = |why| Err(IdentityError::Name { what, name: name.to_owned(), why });
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > 63 {
        return refuse("it is longer than 63 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return refuse("it has a character other than letters, digits, `-` and `_`");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return refuse("it begins or ends with `-`");
    }
    Ok(())
}

/// Random bytes of the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IdentityError::Crypto("the system has no random numbers".into()))?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// SHA-256 of a certificate, in hexadecimal.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    sha256_hex(certificate)
}

/// The certificates in a PEM text.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| format!("not a certificate in PEM form ({e})"))?;
    if all.is_empty() { Err("holds no certificate".into()) } else { Ok(all) }
}

pub(super) fn crypto(error: rcgen::Error) -> IdentityError {
    IdentityError::Crypto(error.to_string())
}
