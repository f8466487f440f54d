//! The form of a heartbeat datagram, and what makes one worth reading.
//!
//! ```text
//! "TSK" 1 | lineage 8 | incarnation 8 | counter 8 | n 1 | sender n | body | HMAC-SHA256 32
//! ```
//!
//! The HMAC also covers the receiver's name and the network, which are not sent: a datagram that
//! was recorded on one path is nothing on another. Integers are big-endian.
//!
//! Not kept secret, and not protected against: somebody who records datagrams and plays them to a
//! server that has just started and has not yet heard anything newer.

use ring::hmac;
use tasuki_core::ids::{Incarnation, Lineage, NetworkName, ServerName};

const MAGIC: [u8; 4] = *b"TSK\x01";
const TAG: usize = 32;
/// Magic, lineage, incarnation, counter, length of the name.
const HEAD: usize = 4 + 8 + 8 + 8 + 1;

/// The longest body: one Ethernet frame of 9000 bytes holds it with everything around it.
pub(super) const BODY_LIMIT: usize = 8192;

/// Why a datagram is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Not one of ours, or cut short.
    Malformed,
    /// Of another registry (R24).
    OtherLineage,
    /// Not sealed with the cluster's link key, or for another path.
    Forged,
}

/// A datagram whose seal was right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub from: ServerName,
    pub incarnation: Incarnation,
    pub counter: u64,
    pub body: &'a [u8],
}

/// Seals and opens datagrams with one cluster's link key.
pub(super) struct Seal {
    key: hmac::Key,
    lineage: [u8; 8],
}

impl Seal {
    pub fn new(link_key: &[u8; 32], lineage: &Lineage) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, lineage.as_str().as_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&digest.as_ref()[..8]);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, link_key), lineage: short }
    }

    /// `None` when the body or the sender's name is too long.
    pub fn close(
        &self,
        from: &ServerName,
        incarnation: Incarnation,
        counter: u64,
        to: &ServerName,
        path: &NetworkName,
        body: &[u8],
    ) -> Option<Vec<u8>> {
        if body.len() > BODY_LIMIT {
            return None;
        }
        let name = from.as_str().as_bytes();
        let mut datagram = Vec::with_capacity(HEAD + name.len() + body.len() + 2 * TAG);
        datagram.extend(MAGIC);
        datagram.extend(self.lineage);
        datagram.extend(incarnation.0.to_be_bytes());
        datagram.extend(counter.to_be_bytes());
        datagram.push(u8::try_from(name.len()).ok()?);
        datagram.extend(name);
        datagram.extend(body);
        let length = datagram.len();
        append_context(&mut datagram, to, path);
        let tag = hmac::sign(&self.key, &datagram);
        datagram.truncate(length);
        datagram.extend(tag.as_ref());
        Some(datagram)
    }

    /// `to` is this server, `path` the network that the datagram came over.
    pub fn open<'a>(
        &self,
        datagram: &'a [u8],
        to: &ServerName,
        path: &NetworkName,
    ) -> Result<Opened<'a>, Unread> {
        let rest = datagram.strip_prefix(&MAGIC).ok_or(Unread::Malformed)?;
        let (lineage, rest) = rest.split_first_chunk::<8>().ok_or(Unread::Malformed)?;
        if *lineage != self.lineage {
            return Err(Unread::OtherLineage);
        }
        let (incarnation, rest) = rest.split_first_chunk::<8>().ok_or(Unread::Malformed)?;
        let (counter, rest) = rest.split_first_chunk::<8>().ok_or(Unread::Malformed)?;
        let (&length, rest) = rest.split_first().ok_or(Unread::Malformed)?;
        let (name, rest) = rest.split_at_checked(usize::from(length)).ok_or(Unread::Malformed)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(Unread::Malformed)?;
        let name = std::str::from_utf8(name).map_err(|_| Unread::Malformed)?;
        if body.len() > BODY_LIMIT {
            return Err(Unread::Malformed);
        }

        let mut sealed = datagram[..datagram.len() - TAG].to_vec();
        append_context(&mut sealed, to, path);
        hmac::verify(&self.key, &sealed, tag).map_err(|_| Unread::Forged)?;
        Ok(Opened {
            from: ServerName::new(name),
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            counter: u64::from_be_bytes(*counter),
            body,
        })
    }
}

/// Lengths stand behind each name, so that no two contexts look the same.
fn append_context(datagram: &mut Vec<u8>, to: &ServerName, path: &NetworkName) {
    for name in [to.as_str(), path.as_str()] {
        datagram.extend(name.as_bytes());
        datagram.extend((name.len() as u64).to_be_bytes());
    }
}

/// Which counters of one sender, on one path, have been read. Late ones are still welcome once,
/// if not later than 64; an older incarnation is not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplayWindow {
    incarnation: Incarnation,
    highest: u64,
    /// Bit i: `highest - i` has been read.
    read: u64,
}

impl ReplayWindow {
    /// Whether this one is new, and remembers it.
    pub fn accept(&mut self, incarnation: Incarnation, counter: u64) -> bool {
        if incarnation < self.incarnation {
            return false;
        }
        if incarnation > self.incarnation || self.read == 0 {
            *self = Self { incarnation, highest: counter, read: 1 };
            return true;
        }
        if counter > self.highest {
            let shift = counter - self.highest;
            self.read = if shift < 64 { self.read << shift | 1 } else { 1 };
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        let fresh = behind < 64 && self.read & (1 << behind) == 0;
        if fresh {
            self.read |= 1 << behind;
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn seal(lineage: &str) -> Seal {
        Seal::new(&[7; 32], &Lineage::new(lineage))
    }

    fn sample(body: &[u8]) -> Vec<u8> {
        seal("l1").close(&"kiki".into(), Incarnation(3), 9, &"lala".into(), &"public".into(), body).unwrap()
    }

    fn open(datagram: &[u8]) -> Result<Opened<'_>, Unread> {
        seal("l1").open(datagram, &"lala".into(), &"public".into())
    }

    #[test]
    fn what_was_sealed_can_be_opened() {
        let datagram = sample(b"hello");
        let opened = open(&datagram).unwrap();
        let expected =
            Opened { from: "kiki".into(), incarnation: Incarnation(3), counter: 9, body: b"hello" };
        assert_eq!(opened, expected);
    }

    #[test]
    fn r24_a_datagram_of_another_lineage_is_refused() {
        // Even with the right key: a forced recovery makes a new lineage, not a new key.
        let datagram = sample(b"hello");
        let opened = seal("l2").open(&datagram, &"lala".into(), &"public".into());
        assert_eq!(opened, Err(Unread::OtherLineage));
    }

    #[test]
    fn another_key_receiver_or_path_is_refused() {
        let datagram = sample(b"hello");
        let (lala, public) = ("lala".into(), "public".into());
        let key = Seal::new(&[8; 32], &Lineage::new("l1"));
        assert_eq!(key.open(&datagram, &lala, &public), Err(Unread::Forged));
        assert_eq!(seal("l1").open(&datagram, &"mimi".into(), &public), Err(Unread::Forged));
        assert_eq!(seal("l1").open(&datagram, &lala, &"mirror".into()), Err(Unread::Forged));
        // Moving a character from one name to the other must not help.
        assert_eq!(seal("l1").open(&datagram, &"lalap".into(), &"ublic".into()), Err(Unread::Forged));
    }

    #[test]
    fn too_long_is_not_sent() {
        let (kiki, lala, path) = ("kiki".into(), "lala".into(), "p".into());
        let long = vec![0; BODY_LIMIT + 1];
        assert!(seal("l1").close(&kiki, Incarnation(1), 1, &lala, &path, &long).is_none());
        assert!(seal("l1").close(&kiki, Incarnation(1), 1, &lala, &path, &long[1..]).is_some());
    }

    #[test]
    fn the_window_reads_each_once() {
        let mut window = ReplayWindow::default();
        let mut accept = |incarnation, counter| window.accept(Incarnation(incarnation), counter);
        assert!(accept(1, 100));
        assert!(!accept(1, 100));
        assert!(accept(1, 163) && !accept(1, 163) && !accept(1, 100), "still within the window");
        assert!(accept(1, 101) && !accept(1, 101), "late, but new");
        assert!(!accept(1, 99), "behind the window");
        assert!(accept(1, u64::MAX) && !accept(1, 163));
        assert!(accept(2, 0) && !accept(2, 0) && accept(2, 1));
        assert!(!accept(1, u64::MAX), "an older incarnation");
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&bytes).is_err());
            let mut ours = sample(b"");
            ours.truncate(12);
            ours.extend(&bytes);
            prop_assert!(open(&ours).is_err());
        }

        #[test]
        fn any_changed_bit_and_any_cut_is_noticed(at in 0usize..10_000, bit in 0u8..8, body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let whole = sample(&body);
            let at = at % whole.len();
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            prop_assert!(open(&changed).is_err());
            prop_assert!(open(&whole[..at]).is_err());
        }

        #[test]
        fn no_counter_is_read_twice(counters in proptest::collection::vec(0u64..200, 1..300)) {
            let mut window = ReplayWindow::default();
            let mut read = std::collections::BTreeSet::new();
            for counter in counters {
                let newest = read.last().is_none_or(|last| counter > *last);
                let accepted = window.accept(Incarnation(1), counter);
                prop_assert!(!accepted || read.insert(counter));
                prop_assert!(accepted || !newest);
            }
        }
    }
}
