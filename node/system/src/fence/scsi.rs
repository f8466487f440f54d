//! The SCSI-3 commands for persistent reservations (SPC-4, 6.15 and 6.16), and how they reach a disk.

use std::{fmt, fs::File, io, os::fd::AsRawFd};

/// Write Exclusive, Registrants Only: every registered server may write, nobody else.
pub(super) const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: u8 = 5;

const PERSISTENT_RESERVE_IN: u8 = 0x5e;
const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
/// Room for the keys of many servers over many paths.
const IN_LENGTH: u16 = 4096;
const OUT_LENGTH: u8 = 24;

/// A disk that takes SCSI commands.
pub(super) trait Disk {
    /// A command that answers with data; says how much came.
    fn ask(&mut self, command: [u8; 10], answer: &mut [u8]) -> Result<usize, ScsiError>;
    /// A command that is given data.
    fn tell(&mut self, command: [u8; 10], data: &[u8]) -> Result<(), ScsiError>;
}

/// How a command ended, other than well.
#[derive(Debug)]
pub(super) enum ScsiError {
    /// Another server's reservation or registration is in the way.
    Conflict,
    /// The disk refused it: sense key, and additional sense code with its qualifier.
    Sense(u8, u8, u8),
    /// It did not reach the disk.
    Transport(String),
}

impl fmt::Display for ScsiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("reservation conflict"),
            Self::Sense(5, code, qualifier) => write!(
                f,
                "the disk does not know this command (sense 5/{code:02x}/{qualifier:02x}): it has no \
                 persistent reservations"
            ),
            Self::Sense(key, code, qualifier) => {
                write!(f, "the disk answers with sense {key}/{code:02x}/{qualifier:02x}")
            }
            Self::Transport(why) => f.write_str(why),
        }
    }
}

/// The questions of PERSISTENT RESERVE IN.
#[derive(Clone, Copy)]
enum Question {
    Keys = 0,
    Reservation = 1,
}

/// The orders of PERSISTENT RESERVE OUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Reserve = 1,
    PreemptAndAbort = 5,
    RegisterAndIgnoreExistingKey = 6,
}

/// Who holds a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) key: u64,
    pub(super) kind: u8,
}

fn command_in(question: Question) -> [u8; 10] {
    let [high, low] = IN_LENGTH.to_be_bytes();
    [PERSISTENT_RESERVE_IN, question as u8, 0, 0, 0, 0, 0, high, low, 0]
}

fn command_out(order: Order) -> [u8; 10] {
    // A registration has no type; scope 0 is the whole disk.
    let kind = match order {
        Order::RegisterAndIgnoreExistingKey => 0,
        Order::Reserve | Order::PreemptAndAbort => WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    };
    [PERSISTENT_RESERVE_OUT, order as u8, kind, 0, 0, 0, 0, 0, OUT_LENGTH, 0]
}

/// Our own key, the key that the order is about, and whether it outlasts the disk's loss of power.
fn parameters(own: u64, other: u64, through_power_loss: bool) -> [u8; OUT_LENGTH as usize] {
    let mut data = [0; OUT_LENGTH as usize];
    data[..8].copy_from_slice(&own.to_be_bytes());
    data[8..16].copy_from_slice(&other.to_be_bytes());
    data[20] = u8::from(through_power_loss);
    data
}

/// The keys that are registered; one comes as often as its server has paths.
pub(super) fn keys(disk: &mut impl Disk) -> Result<Vec<u64>, ScsiError> {
    let answer = ask(disk, Question::Keys)?;
    Ok(answer.chunks_exact(8).map(number).collect())
}

/// Who holds the reservation, if there is one.
pub(super) fn reservation(disk: &mut impl Disk) -> Result<Option<Held>, ScsiError> {
    let answer = ask(disk, Question::Reservation)?;
    let (Some(key), Some(kind)) = (answer.get(..8), answer.get(13)) else { return Ok(None) };
    Ok(Some(Held { key: number(key), kind: kind & 0x0f }))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What follows the header of an answer: generation and length.
fn ask(disk: &mut impl Disk, question: Question) -> Result<Vec<u8>, ScsiError> {
    let mut answer = vec![0; usize::from(IN_LENGTH)];
    let came = attentive(|| disk.ask(command_in(question), &mut answer))?;
    answer.truncate(came);
    let header =
        answer.get(..8).ok_or_else(|| ScsiError::Transport("the disk's answer is cut off".into()))?;
    let length = usize::try_from(number(&header[4..8])).unwrap_or(usize::MAX);
    let length = length.min(answer.len() - 8);
    Ok(answer[8..8 + length].to_vec())
}

/// Gives one order.
pub(super) fn order(disk: &mut impl Disk, order: Order, own: u64, other: u64) -> Result<(), ScsiError> {
    if order != Order::RegisterAndIgnoreExistingKey {
        return attentive(|| disk.tell(command_out(order), &parameters(own, other, false)));
    }
    // The old key is ignored, the new one is the one that the order is about.
    match attentive(|| disk.tell(command_out(order), &parameters(0, own, true))) {
        // A disk that cannot remember through a power loss forgets us, and we register again.
        Err(ScsiError::Sense(5, 0x26, _)) => {
            attentive(|| disk.tell(command_out(order), &parameters(0, own, false)))
        }
        done => done,
    }
}

/// Repeats what a unit attention interrupted: the disk only wanted to be heard first.
fn attentive<T>(mut command: impl FnMut() -> Result<T, ScsiError>) -> Result<T, ScsiError> {
    for _ in 0..5 {
        match command() {
            Err(ScsiError::Sense(6, ..)) => {}
            done => return done,
        }
    }
    command()
}

/// A disk of this machine.
pub(super) struct RealDisk {
    pub(super) file: File,
    pub(super) limit_ms: u32,
}

impl Disk for RealDisk {
    fn ask(&mut self, command: [u8; 10], answer: &mut [u8]) -> Result<usize, ScsiError> {
        let done = kernel::execute(self.file.as_raw_fd(), &command, kernel::Data::In(answer), self.limit_ms);
        judge(done)
    }

    fn tell(&mut self, command: [u8; 10], data: &[u8]) -> Result<(), ScsiError> {
        let done = kernel::execute(self.file.as_raw_fd(), &command, kernel::Data::Out(data), self.limit_ms);
        judge(done).map(|_| ())
    }
}

/// What the kernel says of a command that was sent.
struct Done {
    status: u8,
    host: u16,
    driver: u16,
    transferred: usize,
    sense: [u8; 32],
}

fn judge(done: io::Result<Done>) -> Result<usize, ScsiError> {
    const CHECK_CONDITION: u8 = 0x02;
    const RESERVATION_CONFLICT: u8 = 0x18;
    let done = done.map_err(|error| {
        ScsiError::Transport(match error.raw_os_error() {
            Some(nix::libc::ENOTTY | nix::libc::EINVAL) => {
                "it is no SCSI disk: it takes no SCSI commands".into()
            }
            _ => format!("the command could not be sent: {error}"),
        })
    })?;
    match done.status {
        0 if done.host == 0 && done.driver & 0x0f == 0 => Ok(done.transferred),
        0 => Err(ScsiError::Transport(format!("the disk does not answer (host status {:#x})", done.host))),
        RESERVATION_CONFLICT => Err(ScsiError::Conflict),
        CHECK_CONDITION => {
            let (key, code, qualifier) = sense(&done.sense);
            Err(ScsiError::Sense(key, code, qualifier))
        }
        other => Err(ScsiError::Transport(format!("the disk answers with status {other:#04x}"))),
    }
}

/// Key, code and qualifier, from either of the two formats.
fn sense(data: &[u8; 32]) -> (u8, u8, u8) {
    match data[0] & 0x7f {
        0x72 | 0x73 => (data[1] & 0x0f, data[2], data[3]),
        _ => (data[2] & 0x0f, data[12], data[13]),
    }
}

#[allow(unsafe_code)] // there is no safe call for SCSI commands: the kernel is given pointers
mod kernel {
    use std::{
        io,
        os::fd::RawFd,
        ptr::{null, null_mut},
    };

    use nix::libc::{c_int, c_uchar, c_uint, c_ushort, c_void};

    use super::Done;

    const SG_IO: u64 = 0x2285;
    const TO_DISK: c_int = -2;
    const FROM_DISK: c_int = -3;

    pub(super) enum Data<'a> {
        In(&'a mut [u8]),
        Out(&'a [u8]),
    }

    /// `struct sg_io_hdr` of `scsi/sg.h`.
    #[repr(C)]
    struct Header {
        interface: c_int,
        direction: c_int,
        command_length: c_uchar,
        sense_length: c_uchar,
        pieces: c_ushort,
        data_length: c_uint,
        data: *mut c_void,
        command: *const c_uchar,
        sense: *mut c_uchar,
        timeout: c_uint,
        flags: c_uint,
        id: c_int,
        user: *const c_void,
        status: c_uchar,
        masked_status: c_uchar,
        message_status: c_uchar,
        sense_written: c_uchar,
        host_status: c_ushort,
        driver_status: c_ushort,
        left: c_int,
        took: c_uint,
        info: c_uint,
    }

    pub(super) fn execute(
        disk: RawFd,
        command: &[u8; 10],
        data: Data<'_>,
        limit_ms: u32,
    ) -> io::Result<Done> {
        let mut sense = [0; 32];
        let (direction, pointer, length): (c_int, *mut c_void, usize) = match data {
            Data::In(bytes) => (FROM_DISK, bytes.as_mut_ptr().cast(), bytes.len()),
            // Only read by the kernel: the direction says so.
            Data::Out(bytes) => (TO_DISK, bytes.as_ptr().cast_mut().cast(), bytes.len()),
        };
        let mut header = Header {
            interface: c_int::from(b'S'),
            direction,
            command_length: 10,
            sense_length: 32,
            pieces: 0,
            data_length: c_uint::try_from(length).map_err(io::Error::other)?,
            data: if length == 0 { null_mut() } else { pointer },
            command: command.as_ptr(),
            sense: sense.as_mut_ptr(),
            timeout: limit_ms,
            flags: 0,
            id: 0,
            user: null(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_written: 0,
            host_status: 0,
            driver_status: 0,
            left: 0,
            took: 0,
            info: 0,
        };
        // SAFETY: the header is laid out as the kernel wants it; every pointer in it is to memory of
        // the length beside it that is borrowed, or owned here, until the call returns; the kernel
        // writes only to the answer and to the sense data.
        let answer = unsafe { nix::libc::ioctl(disk, SG_IO as _, &raw mut header) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        let left = usize::try_from(header.left).unwrap_or(0);
        Ok(Done {
            status: header.status,
            host: header.host_status,
            driver: header.driver_status,
            transferred: length.saturating_sub(left),
            sense,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn commands_are_those_of_the_standard() {
        assert_eq!(command_in(Question::Keys), [0x5e, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        assert_eq!(command_in(Question::Reservation), [0x5e, 1, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        let register = command_out(Order::RegisterAndIgnoreExistingKey);
        assert_eq!(register, [0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0]);
        assert_eq!(command_out(Order::Reserve), [0x5f, 1, 5, 0, 0, 0, 0, 0, 24, 0]);
        assert_eq!(command_out(Order::PreemptAndAbort), [0x5f, 5, 5, 0, 0, 0, 0, 0, 24, 0]);
    }

    #[test]
    fn parameters_are_those_of_the_standard() {
        let data = parameters(0x0102_0304_0506_0708, 0x1112_1314_1516_1718, true);
        assert_eq!(data[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(data[8..16], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(data[16..], [0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn sense_is_read_in_both_formats() {
        let mut fixed = [0; 32];
        (fixed[0], fixed[2], fixed[12], fixed[13]) = (0x70, 0x05, 0x20, 0x01);
        assert_eq!(sense(&fixed), (5, 0x20, 1));
        let mut described = [0; 32];
        (described[0], described[1], described[2], described[3]) = (0x72, 0x06, 0x29, 0x02);
        assert_eq!(sense(&described), (6, 0x29, 2));
    }

    #[test]
    fn a_file_is_no_disk() {
        let file = tempfile::tempfile().unwrap();
        let error = keys(&mut RealDisk { file, limit_ms: 1000 }).unwrap_err().to_string();
        assert_eq!(error, "it is no SCSI disk: it takes no SCSI commands");
    }

    #[test]
    fn a_real_disk_is_told_from_what_it_answers() {
        // A target with persistent reservations: the kernel's own simulated disks, where they are.
        let disks = std::fs::read_dir("/sys/bus/pseudo/drivers/scsi_debug");
        if disks.is_err() {
            println!("skipped, because this kernel has no scsi_debug disks");
            return;
        }
        println!("skipped, because the disks of scsi_debug are tried in virtual machines only");
    }
}
