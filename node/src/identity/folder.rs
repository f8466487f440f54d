//! The identity folder: what is in it, who may read it, and how it survives a crash.
//!
//! `identity.json` is written last: a folder without it holds nothing, whatever else is there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rcgen::KeyPair;
use tasuki_core::ids::{Incarnation, ServerName};

use super::{
    Facts, Identity, IdentityError,
    caller::{Caller, names_of},
    pki::{self, Credentials, Pki},
};

const FACTS: &str = "identity.json";
const INCARNATION: &str = "incarnation";
const CA_PEM: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const SERVER_PEM: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
const LINK_KEY: &str = "link.key";

/// Where the identity of the server with this data folder is kept.
#[must_use]
pub fn identity_folder(data: &Path) -> PathBuf {
    data.join("identity")
}

/// Counts this start of the node, durably, and says which one it is.
///
/// # Errors
/// When there is no identity, or the counter cannot be read or written.
pub fn next_incarnation(data: &Path) -> Result<Incarnation, IdentityError> {
    let folder = Folder::open(data)?;
    let text = folder.read_text(INCARNATION)?;
    let last: u64 =
        text.trim().parse().map_err(|_| folder.damaged(INCARNATION, "it is not a number".into()))?;
    let next = Incarnation(last).next();
    folder.write(INCARNATION, format!("{next}\n").as_bytes())?;
    Ok(next)
}

/// An identity folder.
pub(super) struct Folder {
    place: PathBuf,
}

impl Folder {
    /// A folder for a new identity.
    pub fn create(data: &Path) -> Result<Self, IdentityError> {
        let folder = Self { place: identity_folder(data) };
        let files = |source| IdentityError::Files { place: folder.place.clone(), source };
        if folder.place.join(FACTS).try_exists().map_err(files)? {
            let holds = folder.facts().map_or_else(
                |_| "a server".into(),
                |facts| format!("server {} of cluster {}", facts.server, facts.cluster),
            );
            return Err(IdentityError::Exists { place: folder.place, holds });
        }
        fs::create_dir_all(data).map_err(files)?;
        match fs::DirBuilder::new().mode(0o700).create(&folder.place) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(files(e)),
            _ => Ok(folder),
        }
    }

    /// A new folder for what is handed out.
    pub fn empty(place: &Path) -> Result<Self, IdentityError> {
        let files = |source| IdentityError::Files { place: place.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(files)?;
        if fs::read_dir(place).map_err(files)?.next().is_some() {
            return Err(IdentityError::NotEmpty { place: place.to_owned() });
        }
        Ok(Self { place: place.to_owned() })
    }

    /// Writes the authority's certificate, for whoever has to recognise a server.
    pub fn write_authority(&self, ca_pem: &str) -> Result<(), IdentityError> {
        self.write(CA_PEM, ca_pem.as_bytes())
    }

    /// The folder of an identity that exists.
    pub fn open(data: &Path) -> Result<Self, IdentityError> {
        let place = identity_folder(data);
        match fs::metadata(place.join(FACTS)) {
            Ok(_) => Ok(Self { place }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(IdentityError::Missing { place }),
            Err(source) => Err(IdentityError::Files { place, source }),
        }
    }

    pub fn store(&self, identity: &Identity, last: Incarnation) -> Result<(), IdentityError> {
        let Identity { facts, pki, link_key } = identity;
        self.write(CA_PEM, pki.ca_pem.as_bytes())?;
        self.write(CA_KEY, pki.ca_key.as_bytes())?;
        self.write(SERVER_PEM, pki.server_pem.as_bytes())?;
        self.write(SERVER_KEY, pki.server_key.as_bytes())?;
        self.write(LINK_KEY, link_key)?;
        self.write(INCARNATION, format!("{last}\n").as_bytes())?;
        let mut json = serde_json::to_vec_pretty(facts).map_err(|e| self.damaged(FACTS, e.to_string()))?;
        json.push(b'\n');
        self.write(FACTS, &json)
    }

    pub fn write_credentials(&self, name: &str, issued: &Credentials) -> Result<(), IdentityError> {
        self.write(&format!("{name}.pem"), issued.certificate.as_bytes())?;
        self.write(&format!("{name}.key"), issued.key.as_bytes())
    }

    pub fn load(&self) -> Result<Identity, IdentityError> {
        for (name, forbidden) in [("", 0o022), (CA_KEY, 0o077), (SERVER_KEY, 0o077), (LINK_KEY, 0o077)] {
            self.check_mode(name, forbidden)?;
        }
        let facts = self.facts()?;
        let link_key = <[u8; 32]>::try_from(self.read(LINK_KEY)?)
            .map_err(|bytes| self.damaged(LINK_KEY, format!("it has {} bytes instead of 32", bytes.len())))?;
        let ca_pem = self.read_text(CA_PEM)?;
        let ca = self.certificates(CA_PEM, &ca_pem)?.remove(0);
        let pki = Pki {
            fingerprint: pki::fingerprint(&ca),
            ca_pem,
            ca_key: self.read_text(CA_KEY)?,
            server_pem: self.read_text(SERVER_PEM)?,
            server_key: self.read_text(SERVER_KEY)?,
        };
        self.check_parts(&facts, &pki)?;
        Ok(Identity { facts, pki, link_key })
    }

    /// Files that were mixed from two folders show here, not as a puzzling TLS error later.
    pub fn check_parts(&self, facts: &Facts, pki: &Pki) -> Result<(), IdentityError> {
        let chain = self.certificates(SERVER_PEM, &pki.server_pem)?;
        let (holder, lineage) = names_of(&chain[0]).map_err(|e| self.damaged(SERVER_PEM, e))?;
        if lineage != facts.lineage {
            return Err(self.damaged(
                SERVER_PEM,
                format!("it belongs to lineage {lineage}, {FACTS} says {}", facts.lineage),
            ));
        }
        if holder != Caller::Server(facts.server.clone()) {
            return Err(
                self.damaged(SERVER_PEM, format!("it belongs to {holder}, {FACTS} says {}", facts.server))
            );
        }
        let ca = self.certificates(CA_PEM, &pki.ca_pem)?;
        if chain.get(1) != ca.first() {
            return Err(self.damaged(SERVER_PEM, format!("it was not issued by the authority in {CA_PEM}")));
        }
        for (name, key, certificate) in
            [(SERVER_KEY, &pki.server_key, &chain[0]), (CA_KEY, &pki.ca_key, &ca[0])]
        {
            if name == CA_KEY && key.is_empty() {
                continue; // a witness does not hold it
            }
            let key = KeyPair::from_pem(key).map_err(|e| self.damaged(name, e.to_string()))?;
            let parsed = webpki::EndEntityCert::try_from(certificate)
                .map_err(|e| self.damaged(name, e.to_string()))?;
            if !parsed.subject_public_key_info().ends_with(key.public_key_raw()) {
                return Err(self.damaged(name, "it is not the key of the certificate beside it".into()));
            }
        }
        Ok(())
    }

    fn facts(&self) -> Result<Facts, IdentityError> {
        serde_json::from_slice(&self.read(FACTS)?).map_err(|e| self.damaged(FACTS, e.to_string()))
    }

    fn certificates(
        &self,
        name: &str,
        pem: &str,
    ) -> Result<Vec<tokio_rustls::rustls::pki_types::CertificateDer<'static>>, IdentityError> {
        pki::certificates(pem).map_err(|e| self.damaged(name, e))
    }

    fn check_mode(&self, name: &str, forbidden: u32) -> Result<(), IdentityError> {
        let place = if name.is_empty() { self.place.clone() } else { self.place.join(name) };
        match fs::metadata(&place) {
            Ok(found) if found.mode() & forbidden != 0 => {
                Err(IdentityError::Exposed { place, mode: found.mode() & 0o7777 })
            }
            Ok(_) => Ok(()),
            Err(source) => Err(IdentityError::Files { place, source }),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, IdentityError> {
        let place = self.place.join(name);
        fs::read(&place).map_err(|source| IdentityError::Files { place, source })
    }

    fn read_text(&self, name: &str) -> Result<String, IdentityError> {
        String::from_utf8(self.read(name)?).map_err(|_| self.damaged(name, "it is not text".into()))
    }

    /// Old content or new content, never half of it, whatever happens in between.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), IdentityError> {
        let place = self.place.join(name);
        let draft = self.place.join(format!(".{name}.new"));
        let write = || {
            // One left by a crash may have been made with other permissions.
            match fs::remove_file(&draft) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&draft, &place)?;
            File::open(&self.place)?.sync_all()
        };
        write().map_err(|source| IdentityError::Files { place: place.clone(), source })
    }

    fn damaged(&self, name: &str, why: String) -> IdentityError {
        IdentityError::Damaged { place: self.place.join(name), why }
    }
}

/// A server name that a joining server may ask for.
pub(super) fn check_server_name(server: &ServerName) -> Result<(), IdentityError> {
    pki::check_label("server", server.as_str())
}
