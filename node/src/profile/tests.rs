#![allow(clippy::unwrap_used)]

use tasuki_core::{config::ClusterConfig, ids::Revision};

use super::*;
use crate::identity::create_cluster;

fn config() -> ClusterConfig {
    let text = include_str!("../../../deploy/samples/three-servers.toml");
    tasuki_config::parse(text, "three-servers.toml").unwrap().config
}

fn cluster() -> (tempfile::TempDir, Identity) {
    let data = tempfile::tempdir().unwrap();
    let identity = create_cluster(data.path(), "c", &"kiki".into(), &[]).unwrap();
    (data, identity)
}

fn profile(identity: &Identity, sequence: u64) -> Profile {
    Profile { sequence: Revision(sequence), ..Profile::first(identity.lineage().clone(), &config()) }
}

#[test]
fn what_the_cluster_signed_is_read_again() {
    let (data, identity) = cluster();
    assert_eq!(SignedProfile::load(&identity, data.path()).unwrap(), None);
    let signed = SignedProfile::sign(&identity, profile(&identity, 7)).unwrap();
    signed.save(data.path()).unwrap();
    let again = SignedProfile::load(&identity, data.path()).unwrap().unwrap();
    assert_eq!((again.profile(), again.signed_by()), (signed.profile(), "kiki"));
    // A later version may add what this one does not know.
    let mut value = serde_json::to_value(signed.profile()).unwrap();
    value["color"] = "green".into();
    let signature = identity.sign(value.to_string().as_bytes()).unwrap();
    let later = serde_json::json!({ "signed_by": "lala", "signature": signature, "profile": value });
    assert_eq!(
        SignedProfile::check(&identity, &later.to_string(), "there").unwrap().profile(),
        signed.profile()
    );
}

#[test]
fn what_anybody_else_changed_is_not_trusted() {
    let (data, identity) = cluster();
    let signed = SignedProfile::sign(&identity, profile(&identity, 7)).unwrap();
    let refused = |text: &str| SignedProfile::check(&identity, text, "there").unwrap_err().to_string();
    let higher = signed.text().replace("\"sequence\": 7", "\"sequence\": 8");
    assert_ne!(higher, signed.text());
    assert!(refused(&higher).contains("does not match"), "{}", refused(&higher));
    assert!(refused("{}").contains("not a signed profile"));
    let (_other, foreign) = cluster();
    let theirs = SignedProfile::sign(&foreign, profile(&foreign, 9)).unwrap();
    assert!(refused(&theirs.text()).contains("does not match"));
    // Of our authority, but of another lineage: a registry that was recovered by force (R24).
    let old = Profile { lineage: tasuki_core::ids::Lineage::new("0123"), ..profile(&identity, 9) };
    let old = SignedProfile::sign(&identity, old).unwrap();
    assert!(refused(&old.text()).contains("another registry"));
    fs::write(profile_file(data.path()), higher).unwrap();
    assert_eq!(SignedProfile::load(&identity, data.path()).unwrap_err().code(), "TSK-1771");
}
