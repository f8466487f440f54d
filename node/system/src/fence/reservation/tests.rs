//! Over a disk in memory that keeps the rules of SPC-4 for registrants-only reservations.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::fence::scsi::Held;

const KIKI: u64 = 0x11;
const LALA: u64 = 0x22;
const MOMO: u64 = 0x33;

/// What all servers see.
#[derive(Default)]
struct Shared {
    /// By initiator.
    keys: Vec<(&'static str, u64)>,
    held: Option<Held>,
    /// Answered once, instead of the next command.
    attention: bool,
    forgets_at_power_loss: bool,
    deaf: bool,
}

/// The disk as one server reaches it.
struct Path<'a>(&'a mut Shared, &'static str);

impl Shared {
    fn may_write(&self, server: &str) -> bool {
        self.held.is_none() || self.keys.iter().any(|(who, _)| *who == server)
    }
}

impl Path<'_> {
    fn begin(&mut self) -> Result<(), ScsiError> {
        if self.0.deaf {
            return Err(ScsiError::Sense(5, 0x20, 0));
        }
        if std::mem::take(&mut self.0.attention) {
            return Err(ScsiError::Sense(6, 0x29, 0));
        }
        Ok(())
    }

    fn own(&self) -> Option<u64> {
        self.0.keys.iter().find(|(who, _)| *who == self.1).map(|(_, key)| *key)
    }
}

impl Disk for Path<'_> {
    fn ask(&mut self, command: [u8; 10], answer: &mut [u8]) -> Result<usize, ScsiError> {
        self.begin()?;
        assert_eq!(command[0], 0x5e);
        let body: Vec<u8> = match command[1] {
            0 => self.0.keys.iter().flat_map(|(_, key)| key.to_be_bytes()).collect(),
            1 => self.0.held.map_or_else(Vec::new, |held| {
                let mut body = held.key.to_be_bytes().to_vec();
                body.extend([0, 0, 0, 0, 0, held.kind, 0, 0]);
                body
            }),
            other => panic!("{other}"),
        };
        answer[4..8].copy_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        answer[8..8 + body.len()].copy_from_slice(&body);
        Ok(8 + body.len())
    }

    fn tell(&mut self, command: [u8; 10], data: &[u8]) -> Result<(), ScsiError> {
        self.begin()?;
        assert_eq!((command[0], usize::from(command[8])), (0x5f, data.len()));
        let key = u64::from_be_bytes(data[..8].try_into().unwrap());
        let other = u64::from_be_bytes(data[8..16].try_into().unwrap());
        let kind = command[2];
        if command[1] == 6 {
            if data[20] == 1 && self.0.forgets_at_power_loss {
                return Err(ScsiError::Sense(5, 0x26, 0));
            }
            let me = self.1;
            self.0.keys.retain(|(who, _)| *who != me);
            self.0.keys.push((me, other));
            return Ok(());
        }
        // Everything else is only for who is registered under the key that it names.
        if self.own() != Some(key) {
            return Err(ScsiError::Conflict);
        }
        match command[1] {
            1 if self.0.held.is_some_and(|held| held.key != key || held.kind != kind) => {
                return Err(ScsiError::Conflict);
            }
            1 => self.0.held = Some(Held { key, kind }),
            5 => {
                self.0.keys.retain(|(_, registered)| *registered != other);
                if self.0.held.is_some_and(|held| held.key == other) {
                    self.0.held = Some(Held { key, kind });
                }
            }
            other => panic!("{other}"),
        }
        Ok(())
    }
}

/// Kiki and lala are registered; kiki, the first, holds the reservation.
fn both() -> Shared {
    let mut disk = Shared::default();
    let_in(&mut Path(&mut disk, "kiki"), KIKI).unwrap();
    let_in(&mut Path(&mut disk, "lala"), LALA).unwrap();
    assert!(disk.may_write("kiki") && disk.may_write("lala") && !disk.may_write("momo"));
    disk
}

#[test]
fn r37_a_server_that_was_cut_off_cannot_write_and_the_others_can() {
    let mut disk = both();
    shut_out(&mut Path(&mut disk, "lala"), LALA, KIKI).unwrap();
    assert!(!disk.may_write("kiki") && disk.may_write("lala"));
    assert_eq!(disk.held.unwrap().key, LALA, "the reservation did not end with its holder");
}

#[test]
fn cutting_off_what_is_off_already_is_confirmed() {
    let mut disk = both();
    for _ in 0..2 {
        shut_out(&mut Path(&mut disk, "lala"), LALA, KIKI).unwrap();
    }
    shut_out(&mut Path(&mut disk, "lala"), LALA, MOMO).unwrap();
}

#[test]
fn a_server_that_lost_its_own_registration_registers_before_it_cuts_off() {
    let mut disk = both();
    disk.keys.retain(|(who, _)| *who != "lala");
    shut_out(&mut Path(&mut disk, "lala"), LALA, KIKI).unwrap();
    assert!(!disk.may_write("kiki") && disk.may_write("lala"));
}

#[test]
fn without_a_reservation_nothing_is_confirmed_before_there_is_one() {
    let mut disk = Shared { keys: vec![("kiki", KIKI), ("lala", LALA)], ..Shared::default() };
    assert!(disk.may_write("momo"));
    shut_out(&mut Path(&mut disk, "lala"), LALA, KIKI).unwrap();
    assert!(!disk.may_write("momo") && !disk.may_write("kiki"));
}

#[test]
fn a_reservation_of_another_kind_is_no_protection() {
    let mut disk = both();
    disk.held = Some(Held { key: MOMO, kind: 1 });
    let error = shut_out(&mut Path(&mut disk, "lala"), LALA, KIKI).unwrap_err();
    assert!(error.contains("type 0x1"), "{error}");
}

#[test]
fn a_disk_that_interrupts_or_forgets_is_served_all_the_same() {
    let mut disk = Shared { attention: true, forgets_at_power_loss: true, ..both() };
    let_in(&mut Path(&mut disk, "momo"), MOMO).unwrap();
    assert!(disk.may_write("momo"));
}

#[test]
fn a_disk_without_reservations_says_so() {
    let mut disk = Shared { deaf: true, ..Shared::default() };
    let error = let_in(&mut Path(&mut disk, "kiki"), KIKI).unwrap_err();
    assert!(error.contains("it has no persistent reservations"), "{error}");
}

#[test]
fn keys_differ_by_server_and_cluster_and_stay_the_same() {
    assert_eq!(key_of("one", "kiki"), 0x7458_3ada_56ca_9bc5, "as in every version before");
    assert_ne!(key_of("one", "kiki"), key_of("one", "lala"));
    assert_ne!(key_of("one", "kiki"), key_of("two", "kiki"));
}

#[tokio::test]
async fn a_path_that_is_no_disk_is_named() {
    let limit = Duration::from_secs(1);
    let error = register(vec!["/nowhere/disk".into()], KIKI, limit).await.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/disk: it cannot be opened"), "{error}");
}
