//! Opening the areas of a copy. Waits for the disk.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tasuki_actors::ports::volumes::{VolumeError, VolumeOrder};
use tasuki_core::mirror::geometry::Geometry;
use tasuki_storage::volume::{Area, AreaError, FileArea, Management, Owner, Superblock};

/// How long what this process had open itself is waited for: its thread has to end.
const LETS_GO: Duration = Duration::from_secs(5);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(5);

/// As [`open`], where this process has just closed the same copy: the thread of its data path ends a
/// moment after that, and only then are the areas free.
pub(super) fn open_again(order: &VolumeOrder) -> Result<(FileArea, Management), VolumeError> {
    let began = Instant::now();
    loop {
        match open(order) {
            Err(VolumeError::InUse(_)) if began.elapsed() < LETS_GO => thread::sleep(AGAIN),
            opened => return opened,
        }
    }
}

/// Opens the data area and the management area of this server's copy, and makes what is missing where
/// there may be none.
pub(super) fn open(order: &VolumeOrder) -> Result<(FileArea, Management), VolumeError> {
    let areas = order.config.areas(&order.server);
    let larger = |found: u64| order.config.size.is_some_and(|size| found > size);
    let (data, grown) = match FileArea::data(&areas.data, order.config.size) {
        // Made larger so that the volume could grow: a volume that is there knows its size itself.
        Err(error @ AreaError::Size { found, .. }) if larger(found) => {
            (FileArea::data(&areas.data, None).map_err(area_error)?, Some(error))
        }
        data => (data.map_err(area_error)?, None),
    };
    let area: Arc<dyn Area> = Arc::new(FileArea::management(&areas.metadata).map_err(area_error)?);
    let owner =
        Owner { lineage: order.lineage.clone(), volume: order.volume.clone(), server: order.server.clone() };
    let management = match Management::open(area.clone(), &owner) {
        Ok(management) => management,
        Err(AreaError::Blank(_)) if order.may_be_new && grown.is_some() => {
            return Err(grown.map_or(VolumeError::Ended, area_error));
        }
        Err(AreaError::Blank(_)) if order.may_be_new => {
            tracing::info!(volume = %order.volume, "a new copy");
            Management::create(area, &owner, Geometry::of(data.size())).map_err(area_error)?
        }
        Err(AreaError::Blank(path)) => return Err(VolumeError::Lost(path)),
        Err(error) => return Err(area_error(error)),
    };
    if order.start_over {
        management.store(Superblock::start_over).map_err(area_error)?;
    }
    let size = management.superblock().geometry.size;
    if data.size() < size {
        let found = data.size();
        let what = format!("the volume has {size}");
        return Err(area_error(AreaError::Size { path: areas.data, found, expected: what }));
    }
    Ok((data, management))
}

fn area_error(error: AreaError) -> VolumeError {
    match error {
        AreaError::InUse { .. } => VolumeError::InUse(error.to_string()),
        disk if disk.is_disk() => VolumeError::Disk(disk.to_string()),
        other => VolumeError::Area(other.to_string()),
    }
}
