//! A copy of another size.
//!
//! What is new is zeroes on every copy before anybody can read it, so nothing of it has to be copied.
//! The management area comes last: power lost before leaves a volume of the size before, whose data
//! area is longer.

use std::{collections::BTreeMap, sync::Arc};

use tasuki_core::mirror::{dirty_map::DirtyMap, geometry::Geometry};
use tokio::task::spawn_blocking;

use super::{Copy, DiskError};

impl Copy {
    /// The volume has this geometry from here on, durably. Nobody writes meanwhile; what is between the
    /// size before and a larger one is made zeroes.
    ///
    /// # Errors
    /// When the disk fails, or the data area is shorter.
    pub async fn resize(self: &Arc<Self>, geometry: Geometry) -> Result<(), DiskError> {
        // In a task of its own: it is seen to its end also when who asked goes away.
        let copy = self.clone();
        tokio::spawn(async move { copy.resize_here(geometry).await }).await?
    }

    async fn resize_here(&self, geometry: Geometry) -> Result<(), DiskError> {
        let before = self.geometry();
        if before == geometry {
            return Ok(());
        }
        if geometry.size > before.size {
            let data = self.data.clone();
            let room = spawn_blocking(move || {
                let room = data.measure()?;
                if room >= geometry.size {
                    data.zero(before.size, geometry.size - before.size)?;
                    data.flush()?;
                }
                Ok::<_, std::io::Error>(room)
            });
            let room = room.await??;
            if room < geometry.size {
                let why = format!("the data area has {room} bytes, the volume is to have {}", geometry.size);
                return Err(DiskError { why, full: true });
            }
        }
        let _no_log = self.logging.lock().await;
        let _no_pages = self.mapping.lock().await;
        let maps = {
            let journal = self.journal();
            let legs = journal.legs.iter();
            let words = legs.map(|leg| (leg.server.clone(), words(&converted(&leg.map, before, geometry))));
            words.collect::<BTreeMap<_, _>>()
        };
        self.manage(move |it| it.resize(geometry, &maps)).await?;
        let mut journal = self.journal();
        for leg in &mut journal.legs {
            leg.map = converted(&leg.map, before, geometry);
        }
        journal.geometry = geometry;
        Ok(())
    }
}

/// The same bytes, in extents of another size; nothing beyond the end.
fn converted(map: &DirtyMap, before: Geometry, geometry: Geometry) -> DirtyMap {
    let mut converted = DirtyMap::new(geometry.extents());
    let mut from = 0;
    while let Some((first, end)) = map.next_run(from, u64::MAX) {
        from = end;
        let (start, stop) = (first * before.extent, (end * before.extent).min(geometry.size));
        if start < stop {
            let (first, end) = geometry.extents_of(start, stop - start);
            converted.set(first, end);
        }
    }
    converted
}

fn words(map: &DirtyMap) -> Vec<u64> {
    let pages = map.extents().div_ceil(tasuki_core::mirror::geometry::MAP_PAGE_BITS);
    (0..u32::try_from(pages).unwrap_or(u32::MAX)).flat_map(|page| map.page(page).iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dirty_stays_dirty_in_larger_extents_and_in_a_shorter_volume() {
        let small = Geometry::of(32 << 30);
        let large = Geometry::of(33 << 30);
        assert_eq!((small.extent, large.extent), (4096, 8192));
        let mut map = DirtyMap::new(small.extents());
        map.set(3, 4);
        map.set(6, 9);
        map.set(small.extents() - 1, small.extents());
        let grown = converted(&map, small, large);
        let dirty: Vec<u64> = (0..8).filter(|extent| grown.contains(*extent)).collect();
        assert_eq!(dirty, [1, 3, 4]);
        assert!(grown.contains((32 << 30) / 8192 - 1) && !grown.contains((32 << 30) / 8192));
        let back = converted(&grown, large, Geometry::of(20 * 4096));
        assert_eq!((back.extents(), back.count()), (20, 6));
        assert_eq!(DirtyMap::from_words(large.extents(), &words(&grown)).count(), grown.count());
    }
}
