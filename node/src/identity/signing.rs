//! What the cluster's authority signs besides certificates. Every server holds its key, and every
//! server can check the signature by the authority's certificate alone.

use rcgen::{KeyPair, SigningKey};

use super::{Identity, IdentityError, pki};

impl Identity {
    /// Signs in the name of the cluster.
    ///
    /// # Errors
    /// When the authority's key cannot be used.
    pub fn sign(&self, content: &[u8]) -> Result<String, IdentityError> {
        let key = KeyPair::from_pem(&self.pki.ca_key).map_err(pki::crypto)?;
        Ok(pki::hex(&key.sign(content).map_err(pki::crypto)?))
    }

    /// Whether a signature was made in the name of this cluster, for exactly this content.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, content: &[u8], signature: &str) -> Result<(), String> {
        let signature = bytes_of(signature).ok_or("the signature is not hexadecimal")?;
        let authority = pki::certificates(&self.pki.ca_pem)?.remove(0);
        let authority = webpki::EndEntityCert::try_from(&authority).map_err(|error| error.to_string())?;
        authority
            .verify_signature(webpki::ring::ECDSA_P256_SHA256, content, &signature)
            .map_err(|_| "the signature does not match the content".to_owned())
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
