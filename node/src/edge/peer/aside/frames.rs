//! Datagrams on a serial line, which knows only bytes, and loses and invents some.
//!
//! ```text
//! D5 7A | length 2 | length inverted 2 | datagram | CRC-32 of length and datagram 4
//! ```
//!
//! Integers are big-endian. After garbage the next beginning is looked for; a length that stands
//! twice makes it unlikely that garbage looks like one and the reader waits for what never comes.

const BEGIN: [u8; 2] = [0xd5, 0x7a];
const HEAD: usize = 6;
const SUM: usize = 4;
/// No frame is longer: at 115200 baud this one takes 45 ms.
pub(super) const LIMIT: usize = 512;

/// One datagram as it goes over the line. `None` when it is too long.
pub(super) fn frame(datagram: &[u8]) -> Option<Vec<u8>> {
    if datagram.is_empty() || datagram.len() > LIMIT {
        return None;
    }
    let length = u16::try_from(datagram.len()).ok()?;
    let mut frame = Vec::with_capacity(HEAD + datagram.len() + SUM);
    frame.extend(BEGIN);
    frame.extend(length.to_be_bytes());
    frame.extend((!length).to_be_bytes());
    frame.extend(datagram);
    frame.extend(sum(length, datagram).to_be_bytes());
    Some(frame)
}

fn sum(length: u16, datagram: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_be_bytes());
    hasher.update(datagram);
    hasher.finalize()
}

/// Finds frames in what arrives.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Places at which something began that was no frame.
    pub(super) broken: u64,
}

/// What stands at the beginning of the bytes.
enum Begins<'a> {
    Frame(&'a [u8]),
    /// Not yet known: more must arrive.
    Part,
    Garbage,
}

impl Frames {
    /// Takes what has arrived; answers the datagrams that are complete now.
    pub(super) fn take(&mut self, arrived: &[u8]) -> Vec<Vec<u8>> {
        self.bytes.extend(arrived);
        let mut whole = Vec::new();
        let mut at = 0;
        let mut in_garbage = false;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match begins(rest) {
                Begins::Frame(datagram) => {
                    at += HEAD + datagram.len() + SUM;
                    whole.push(datagram.to_vec());
                    in_garbage = false;
                }
                Begins::Part => break,
                Begins::Garbage => {
                    self.broken += u64::from(!in_garbage);
                    in_garbage = true;
                    at += 1;
                }
            }
        }
        self.bytes.drain(..at);
        whole
    }
}

fn begins(bytes: &[u8]) -> Begins<'_> {
    let known = bytes.len().min(BEGIN.len());
    if bytes.get(..known) != BEGIN.get(..known) {
        return Begins::Garbage;
    }
    let [_, _, a, b, c, d, rest @ ..] = bytes else { return Begins::Part };
    let (length, inverted) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    let wanted = usize::from(length);
    if length != !inverted || wanted == 0 || wanted > LIMIT {
        return Begins::Garbage;
    }
    let Some((datagram, rest)) = rest.split_at_checked(wanted) else { return Begins::Part };
    match rest.first_chunk::<SUM>() {
        None => Begins::Part,
        Some(said) if u32::from_be_bytes(*said) == sum(length, datagram) => Begins::Frame(datagram),
        Some(_) => Begins::Garbage,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let line: Vec<u8> = [&b"one"[..], b"two", b"three"].iter().flat_map(|d| frame(d).unwrap()).collect();
        for step in 1..line.len() {
            let mut frames = Frames::default();
            let out: Vec<_> = line.chunks(step).flat_map(|part| frames.take(part)).collect();
            assert_eq!(out, [&b"one"[..], b"two", b"three"], "in steps of {step}");
            assert_eq!(frames.broken, 0);
        }
    }

    #[test]
    fn after_a_frame_that_lost_its_end_the_next_one_is_read() {
        let (one, two) = (frame(b"one").unwrap(), frame(b"two").unwrap());
        for cut in 1..one.len() {
            let mut frames = Frames::default();
            frames.take(&one[..cut]);
            // What follows may be taken for the missing end, but not for long.
            let out: Vec<_> = (0..4).flat_map(|_| frames.take(&two)).collect();
            assert!(out.len() >= 3 && out.iter().all(|d| d == b"two"), "cut after {cut}: {out:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_empty_is_not_sent() {
        assert!(frame(&[]).is_none());
        assert!(frame(&[0; LIMIT]).is_some());
        assert!(frame(&[0; LIMIT + 1]).is_none());
    }

    proptest! {
        #[test]
        fn garbage_delays_the_next_frames_by_one_frame_at_most(
            noise in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut frames = Frames::default();
            let invented = frames.take(&noise);
            prop_assert!(invented.is_empty());
            // The longest frame that the garbage can have begun is filled by these.
            let good = frame(&[7; 100]).unwrap();
            let rounds = (LIMIT + HEAD + SUM) / good.len() + 2;
            let mut out = Vec::new();
            for _ in 0..rounds {
                out = frames.take(&good);
            }
            prop_assert_eq!(out.last().map(Vec::as_slice), Some(&[7u8; 100][..]));
        }

        #[test]
        fn any_changed_byte_loses_that_frame_only(at in 0usize..60, to in any::<u8>()) {
            let mut line: Vec<u8> = (0..5u8).flat_map(|n| frame(&[n; 50]).unwrap()).collect();
            let before = line[at];
            line[at] = to;
            let out = Frames::default().take(&line);
            let rest: Vec<Vec<u8>> = (1..5u8).map(|n| vec![n; 50]).collect();
            if before == to {
                prop_assert_eq!(out.len(), 5);
            } else {
                prop_assert_eq!(out, rest);
            }
        }
    }
}
