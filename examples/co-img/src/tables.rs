//! Requests that make a new L2 table in a qcow2 image. Each goes alone, when the image's other tables are in the file.
//!
//! imago 0.2.6 frees a cluster as soon as the L2 table in memory has stopped referring to it. The table in the file may still
//! refer to it then. Before imago allocates a cluster for data, it writes the L2 tables back (`qcow2/allocation.rs:207`), so
//! that this does no harm. Before it allocates a cluster for an L2 table it does not (`:166`), and it enters the new table
//! into the L1 table at once. If the program is killed then, two tables of the image refer to one cluster, and the new table
//! has overwritten a guest's data.
//!
//! So a request for a part of the image that has no L2 table of its own waits until all other requests have ended, has the
//! tables written back, and goes alone. Requests for other parts go together.

use std::io;
use std::sync::{PoisonError, RwLock};

use imago::FormatAccess;
use tokio::sync::{RwLock as Turns, RwLockReadGuard, RwLockWriteGuard};

use crate::driver::Driver;

/// An L1 entry's bit that says that the table is the image's own, and no snapshot's too.
const COPIED: u64 = 1 << 63;

/// Which parts of an image have L2 tables, and whose turn it is to change the image.
#[derive(Debug)]
pub struct Tables {
    /// The bytes of the image that one L2 table maps.
    mapped: u64,
    /// By the index of the L1 entry.
    own: RwLock<Vec<bool>>,
    turns: Turns<()>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub enum Turn<'a> {
    /// With others.
    Together(RwLockReadGuard<'a, ()>),
    /// Alone.
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Tables {
    /// For an image of clusters of so many bytes.
    pub fn new(cluster: u64) -> Self {
        Tables { mapped: cluster * (cluster / 8), own: RwLock::default(), turns: Turns::default() }
    }

    /// These are the entries of the L1 table.
    pub fn replaced(&self, entries: impl Iterator<Item = u64>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = entries.map(is_own).collect();
    }

    /// The L1 table has these entries now, from this index on.
    pub fn changed(&self, first: u64, entries: impl Iterator<Item = u64>) {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        let places = own.iter_mut().skip(first as usize);
        places.zip(entries).for_each(|(own, entry)| *own = is_own(entry));
    }

    /// Of `length` bytes at `offset`, those that may be changed in one turn, and whether a table is made.
    pub fn part(&self, offset: u64, length: u64) -> (u64, bool) {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let has = |index: u64| own.get(index as usize).copied().unwrap_or(false);
        let first = offset / self.mapped;
        let end = offset.saturating_add(length).div_ceil(self.mapped);
        match (first..end).find(|index| !has(*index)) {
            None => (length, false),
            Some(index) if index == first => (length.min(self.mapped - offset % self.mapped), true),
            Some(index) => (index * self.mapped - offset, false),
        }
    }

    /// Waits until it may change the image from `offset` on, and tells how many of `length` bytes.
    ///
    /// # Errors
    /// Those of writing tables back.
    pub async fn turn(&self, access: &FormatAccess<Driver>, offset: u64, length: u64) -> io::Result<(Turn<'_>, u64)> {
        if let (part, false) = self.part(offset, length) {
            return Ok((Turn::Together(self.turns.read().await), part));
        }
        let turn = self.turns.write().await;
        let (part, makes_table) = self.part(offset, length);
        if makes_table {
            access.flush().await?;
        }
        Ok((Turn::Alone(turn), part))
    }
}

fn is_own(entry: u64) -> bool {
    entry & COPIED != 0
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{COPIED, Tables};
    use crate::backend::{blk_flush, blk_pwrite};
    use crate::driver::Cache;
    use crate::name::Name;
    use crate::open::{ImageFormat, NewImage, blk_create, blk_open, blk_open_target};

    /// Catches: an image all of whose requests go alone, because its tables are not known.
    #[test]
    fn the_tables_that_an_image_has_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("img");
        File::create(&path).unwrap();
        let name = Name::Path(path.clone());
        let new = NewImage { format: ImageFormat::Qcow2, size: 4 << 20, cluster_size: Some(4096), backing: None };
        let driver = blk_open_target(&name, &new, Cache::Unsafe).unwrap();
        let blk = blk_create(driver, &name, &new, Cache::Unsafe).unwrap();
        blk_pwrite(&blk, 0, &[1; 4096], false).unwrap();
        blk_flush(&blk).unwrap();
        drop(blk);

        let blk = blk_open(&path, Some(ImageFormat::Qcow2), true, Cache::Unsafe).unwrap();
        let tables = blk.changes.as_ref().unwrap();
        assert_eq!(tables.part(0, 4 << 20), (2 << 20, false));
        assert_eq!(tables.part(2 << 20, 4096), (4096, true));
        blk_pwrite(&blk, 2 << 20, &[1; 4096], false).unwrap();
        assert_eq!(tables.part(0, 4 << 20), (4 << 20, false), "one that it makes is known, too");
    }

    #[test]
    fn a_request_is_parted_where_tables_are_missing() {
        let tables = Tables::new(512); // a table maps 32 KiB
        let kib = |n: u64| n << 10;
        assert_eq!(tables.part(0, kib(100)), (kib(32), true));
        tables.replaced([COPIED | 512, COPIED | 1024, 0, 2048, COPIED | 4096].into_iter());
        for (offset, length, part) in [
            (0, kib(64), (kib(64), false)),
            (kib(1), kib(100), (kib(63), false)),
            (kib(64), kib(1), (kib(1), true)),
            (kib(65), kib(100), (kib(31), true)),
            (kib(96), kib(100), (kib(32), true)), // a snapshot's too
            (kib(128), kib(32), (kib(32), false)),
            (kib(128), kib(33), (kib(32), false)),
            (kib(160), kib(1), (kib(1), true)), // behind the L1 table
            (kib(32), 0, (0, false)),
        ] {
            assert_eq!(tables.part(offset, length), part, "{length} at {offset}");
        }
        tables.changed(2, [COPIED | 8192].into_iter());
        assert_eq!(tables.part(kib(64), kib(1)), (kib(1), false));
        tables.replaced([0].into_iter());
        assert_eq!(tables.part(0, 1), (1, true));
    }
}
