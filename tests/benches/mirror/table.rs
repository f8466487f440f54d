//! Tables of ratios, and what an operation takes of a processor.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// A table whose first line is what the others are compared with.
pub struct Table {
    first: Option<f64>,
    lines: Vec<String>,
    cold: Option<PathBuf>,
}

/// Takes every file here out of the kernel's cache, as fio does with a file that it measures itself. What
/// is cached in large pieces, since it was written in such, makes small writes to it ten times slower: the
/// lines would compare how the files were made.
fn forget(folder: &Path) {
    for file in fs::read_dir(folder).unwrap().flatten().filter(|it| it.path().is_file()) {
        let file = fs::File::open(file.path()).unwrap();
        file.sync_all().unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

/// Nanoseconds of a processor that the threads of this process have had, by their names.
fn processor() -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let nanos =
            read("schedstat").split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
        *sums.entry(read("comm").trim().to_owned()).or_default() += nanos;
    }
    sums
}

/// What one operation took of that, in microseconds.
fn processor_each(before: &BTreeMap<String, u64>, operations: f64) -> String {
    let each = |(name, nanos): (String, u64)| {
        let more = nanos.saturating_sub(before.get(&name).copied().unwrap_or_default());
        let micros = more as f64 / 1000.0 / operations;
        (micros >= 0.1).then(|| format!("{name} {micros:.1}"))
    };
    processor().into_iter().filter_map(each).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// Begins one; only these of its lines are measured.
    pub fn new(title: &str, unit: &str, lines: &[String]) -> Self {
        println!("{title} ({unit})");
        Self { first: None, lines: lines.to_vec(), cold: None }
    }

    /// Every line begins without what the kernel has cached of the files in this folder.
    pub fn cold(self, folder: &Path) -> Self {
        Self { cold: Some(folder.to_owned()), ..self }
    }

    /// One line: a rate, and its ratio to that of the first line.
    pub fn line(&mut self, name: &str, measure: impl FnOnce() -> f64) {
        if crate::names(&self.lines, name) {
            if let Some(folder) = &self.cold {
                forget(folder);
            }
            let (before, began) = (processor(), Instant::now());
            let value = measure();
            let first = *self.first.get_or_insert(value);
            print!("  {name:<44} {value:>12.1}   {:>6.2}", value / first);
            if std::env::var_os("MIRROR_BENCH_CPU").is_some() {
                print!("   {}", processor_each(&before, value * began.elapsed().as_secs_f64()));
            }
            println!();
        }
    }
}
