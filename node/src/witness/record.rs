//! The tie-break record of one cluster, in a plain file: what is answered is on the disk.
//!
//! Three lines: what it is, the record as JSON, and the checksum of the two. A swap writes a new
//! file beside it, syncs it, puts it in the place of the old one and syncs the folder. A file that
//! is damaged is refused: it is never taken for "there is none" (R17).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tasuki_actors::ports::Swap;
use tasuki_core::{ids::Lineage, membership::tie_break::Record};

use super::WitnessError;

const HEAD: &str = "tasuki tie-break record 1";
const FILE: &str = "tie_break.record";

/// The record of one cluster. Whoever opens it must be alone with its folder.
#[derive(Debug)]
pub struct RecordFile {
    place: PathBuf,
    lineage: Lineage,
    /// What is known to be on the disk; nothing, after a swap that failed half-way.
    known: Mutex<Option<Option<Record>>>,
}

impl RecordFile {
    /// The record in `folder` of the registry `lineage`. Nothing is read yet.
    #[must_use]
    pub fn new(folder: &Path, lineage: Lineage) -> Self {
        Self { place: folder.join(FILE), lineage, known: Mutex::default() }
    }

    /// The record; `None` when there is none. Waits for the disk.
    ///
    /// # Errors
    /// Damaged, another registry's, or not readable.
    pub fn read(&self) -> Result<Option<Record>, WitnessError> {
        self.load(&mut self.known())
    }

    /// Puts `to` in the place of `from`. Waits for the disk.
    ///
    /// # Errors
    /// As for reading. When writing failed, it may have been done: read again.
    pub fn swap(&self, from: Option<&Record>, to: &Record) -> Result<Swap, WitnessError> {
        let mut known = self.known();
        let now = self.load(&mut known)?;
        if now.as_ref() != from {
            return Ok(Swap::Other(now));
        }
        self.belongs(&to.lineage)?;
        if let Some(now) = now.filter(|now| to.number < now.number) {
            return Err(WitnessError::Backwards { have: now.number, wanted: to.number });
        }
        *known = None;
        self.write(to).map_err(WitnessError::files(&self.place))?;
        *known = Some(Some(to.clone()));
        Ok(Swap::Done)
    }

    fn known(&self) -> MutexGuard<'_, Option<Option<Record>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, known: &mut Option<Option<Record>>) -> Result<Option<Record>, WitnessError> {
        if let Some(record) = known {
            return Ok(record.clone());
        }
        let files = WitnessError::files;
        let record = match fs::read(&self.place) {
            Ok(bytes) => {
                let record = self.parse(&bytes)?;
                // A swap may have been interrupted between its renaming and its last sync: what is
                // read here is answered, so it has to stay.
                File::open(&self.place).and_then(|file| file.sync_all()).map_err(files(&self.place))?;
                Some(record)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(files(&self.place)(error)),
        };
        self.sync_folder().map_err(files(&self.place))?;
        *known = Some(record.clone());
        Ok(record)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Record, WitnessError> {
        let damaged = |why: &str| WitnessError::Damaged { place: self.place.clone(), why: why.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let mut lines = text.split_inclusive('\n');
        let (Some(head), Some(json), Some(sum), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(damaged("it has not three lines"));
        };
        if head.trim_end() != HEAD {
            return Err(damaged("it does not begin as a record does"));
        }
        if sum.strip_suffix('\n') != Some(&checksum(head, json)) {
            return Err(damaged("its checksum is wrong"));
        }
        let record: Record =
            serde_json::from_str(json).map_err(|error| damaged(&format!("it cannot be read: {error}")))?;
        self.belongs(&record.lineage)?;
        Ok(record)
    }

    fn belongs(&self, lineage: &Lineage) -> Result<(), WitnessError> {
        if *lineage == self.lineage {
            return Ok(());
        }
        Err(WitnessError::OtherLineage { ours: self.lineage.clone(), theirs: lineage.clone() })
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let head = format!("{HEAD}\n");
        let json = format!("{}\n", serde_json::to_string(record)?);
        let sum = checksum(&head, &json);
        let draft = self.place.with_extension("new");
        // One left by a crash may have any content.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(format!("{head}{json}{sum}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.place)?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.place.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

fn checksum(head: &str, json: &str) -> String {
    let sum = ring::digest::digest(&ring::digest::SHA256, format!("{head}{json}").as_bytes());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::Arc, thread};

    use tasuki_core::{ids::RaftId, membership::tie_break::Mode};
    use tempfile::TempDir;

    use super::*;

    fn record(number: u64, mode: Mode) -> Record {
        Record { lineage: Lineage::from("one"), number, mode }
    }

    const PAIR: Mode = Mode::Pair(RaftId(1), RaftId(2));

    fn open(folder: &TempDir) -> RecordFile {
        RecordFile::new(folder.path(), Lineage::from("one"))
    }

    #[test]
    fn r14_a_record_is_swapped_only_for_the_one_that_was_read_and_survives() {
        let folder = TempDir::new().unwrap();
        let (pair, sole) = (record(1, PAIR), record(2, Mode::Sole(RaftId(1))));
        let file = open(&folder);
        assert_eq!(file.read().unwrap(), None);
        assert_eq!(file.swap(Some(&sole), &pair).unwrap(), Swap::Other(None));
        assert_eq!(file.swap(None, &pair).unwrap(), Swap::Done);
        assert_eq!(file.swap(None, &sole).unwrap(), Swap::Other(Some(pair.clone())));
        assert_eq!(file.swap(Some(&pair), &sole).unwrap(), Swap::Done);
        assert_eq!(open(&folder).read().unwrap(), Some(sole.clone()));
        assert!(matches!(file.swap(Some(&sole), &pair), Err(WitnessError::Backwards { have: 2, wanted: 1 })));
    }

    #[test]
    fn r14_of_many_swaps_at_once_exactly_one_is_done() {
        let folder = TempDir::new().unwrap();
        let file = Arc::new(open(&folder));
        file.swap(None, &record(1, PAIR)).unwrap();
        let claims = (1..=16).map(|id| {
            let file = file.clone();
            thread::spawn(move || {
                let sole = record(2, Mode::Sole(RaftId(id)));
                (file.swap(Some(&record(1, PAIR)), &sole).unwrap() == Swap::Done).then_some(sole)
            })
        });
        let claims: Vec<_> = claims.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect();
        let won: Vec<Record> = claims.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(open(&folder).read().unwrap(), won.first().cloned());
    }

    #[test]
    fn r17_a_damaged_record_is_refused_and_never_blank() {
        let folder = TempDir::new().unwrap();
        open(&folder).swap(None, &record(1, PAIR)).unwrap();
        let place = folder.path().join(FILE);
        let whole = fs::read(&place).unwrap();
        // Every single byte matters, and every length.
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for damaged in [flipped, whole[..at].to_vec()] {
                fs::write(&place, &damaged).unwrap();
                let file = open(&folder);
                let error = file.read().unwrap_err();
                assert_eq!(error.code(), "TSK-1752", "byte {at}: {error}");
                assert!(file.swap(None, &record(9, PAIR)).is_err(), "byte {at}");
            }
        }
        fs::write(&place, &whole).unwrap();
        assert_eq!(open(&folder).read().unwrap(), Some(record(1, PAIR)));
    }

    #[test]
    fn r24_a_record_of_another_registry_is_refused() {
        let folder = TempDir::new().unwrap();
        open(&folder).swap(None, &record(1, PAIR)).unwrap();
        let other = RecordFile::new(folder.path(), Lineage::from("other"));
        assert_eq!(other.read().unwrap_err().code(), "TSK-1751");
        let foreign = Record { lineage: Lineage::from("other"), ..record(2, PAIR) };
        let refused = open(&folder).swap(Some(&record(1, PAIR)), &foreign).unwrap_err();
        assert_eq!(refused.code(), "TSK-1751");
    }

    #[test]
    fn what_a_crash_left_behind_is_no_record() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("tie_break.new"), b"half a rec").unwrap();
        let file = open(&folder);
        assert_eq!(file.read().unwrap(), None);
        assert_eq!(file.swap(None, &record(1, PAIR)).unwrap(), Swap::Done);
    }

    #[test]
    fn after_a_swap_that_failed_the_disk_is_asked_again() {
        let folder = TempDir::new().unwrap();
        let file = open(&folder);
        file.swap(None, &record(1, PAIR)).unwrap();
        // A folder in the place of the new file cannot be removed as a file.
        let draft = folder.path().join("tie_break.new");
        fs::create_dir(&draft).unwrap();
        let sole = record(2, Mode::Sole(RaftId(1)));
        assert_eq!(file.swap(Some(&record(1, PAIR)), &sole).unwrap_err().code(), "TSK-1757");
        assert_eq!(file.read().unwrap(), Some(record(1, PAIR)));
        fs::remove_dir(&draft).unwrap();
        assert_eq!(file.swap(Some(&record(1, PAIR)), &sole).unwrap(), Swap::Done);
    }
}
