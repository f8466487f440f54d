#![allow(clippy::unwrap_used)]

use super::*;

fn kiki() -> ServerName {
    "kiki".into()
}

/// 2026-11-22 08:03:12.
const NOW: WallTime = WallTime(1_795_334_592_000);

#[test]
fn it_is_made_once_with_a_backup_and_opened_again() {
    let data = tempfile::tempdir().unwrap();
    let made = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap();
    assert_eq!(made.place(), data.path().join("local/kiki.olr"));
    let location = fs::read_to_string(location_file(data.path())).unwrap();
    let home = data.path().display();
    assert_eq!(location, format!("olrconfig_loc={home}/local/kiki.olr\ntasuki_home={home}\n"));
    let [backup] = &backups(data.path(), &kiki()).unwrap()[..] else { panic!() };
    let path = data.path().join("local/kiki/backup_20261122_080312.olr");
    assert_eq!(backup.to_string(), format!("kiki     2026/11/22 08:03:12     {}", path.display()));

    let mut again = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap();
    assert_eq!(again.content(), made.content());
    again.set_profile("{\"a\": 1}").unwrap();
    let again = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap();
    assert_eq!(again.profile().unwrap(), "{\"a\":1}");
    assert_eq!(backups(data.path(), &kiki()).unwrap().len(), 1, "no backup by itself");
}

#[test]
fn backups_are_listed_newest_first_and_none_replaces_another() {
    let data = tempfile::tempdir().unwrap();
    let made = LocalRegistry::create(data.path(), &kiki(), None, NOW).unwrap();
    made.backup(data.path(), NOW).unwrap();
    made.backup(data.path(), WallTime(NOW.0 - 86_400_000)).unwrap();
    let at: Vec<String> = backups(data.path(), &kiki()).unwrap().into_iter().map(|one| one.at).collect();
    assert_eq!(at, ["2026/11/22 08:03:13", "2026/11/22 08:03:12", "2026/11/21 08:03:12"]);
}

#[test]
fn every_flipped_byte_is_noticed_and_the_restore_command_named() {
    let data = tempfile::tempdir().unwrap();
    let made = LocalRegistry::create(data.path(), &kiki(), None, NOW).unwrap();
    let whole = fs::read(made.place()).unwrap();
    for at in 0..whole.len() {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        fs::write(made.place(), &torn).unwrap();
        let error = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap_err();
        assert_eq!(error.code(), "TSK-1765", "byte {at}: {error}");
    }
    let error = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap_err();
    let backup = backups(data.path(), &kiki()).unwrap().remove(0).path;
    assert!(
        error.remedy().contains(&format!("tasuki registry local restore {}", backup.display())),
        "{error}"
    );
    fs::remove_file(made.place()).unwrap();
    let error = LocalRegistry::open(data.path(), &kiki(), NOW).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");

    fs::write(made.place(), &whole[..whole.len() / 2]).unwrap();
    let (place, aside) = restore(data.path(), &kiki(), &backup).unwrap();
    assert_eq!(place, made.place());
    assert_eq!(fs::read(aside.unwrap()).unwrap(), &whole[..whole.len() / 2], "what was there is kept");
    assert_eq!(LocalRegistry::open(data.path(), &kiki(), NOW).unwrap().content(), made.content());
}

#[test]
fn only_a_whole_backup_of_this_server_is_restored() {
    let data = tempfile::tempdir().unwrap();
    let made = LocalRegistry::create(data.path(), &kiki(), None, NOW).unwrap();
    let other = tempfile::tempdir().unwrap();
    let lala = LocalRegistry::create(other.path(), &"lala".into(), None, NOW).unwrap();
    let junk = data.path().join("junk");
    fs::write(&junk, "no registry").unwrap();
    for wrong in [lala.place(), &junk, &data.path().join("nothing")] {
        let error = restore(data.path(), &kiki(), wrong).unwrap_err();
        assert_eq!(error.code(), "TSK-1768", "{error}");
    }
    assert_eq!(LocalRegistry::open(data.path(), &kiki(), NOW).unwrap().content(), made.content());
    let _listens = std::os::unix::net::UnixListener::bind(data.path().join("tasuki.sock")).unwrap();
    let backup = backups(data.path(), &kiki()).unwrap().remove(0).path;
    assert_eq!(restore(data.path(), &kiki(), &backup).unwrap_err().code(), "TSK-1767");
}
