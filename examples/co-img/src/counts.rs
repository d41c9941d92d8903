//! A qcow2 image that is written to: reference counts reach the file before what they count.
//!
//! A qcow2 image is consistent as long as no table refers to a cluster whose reference count is 0. A count that is too high
//! only wastes the cluster; one that is too low gives the cluster away twice. imago 0.2.6 keeps both kinds of tables in
//! caches and writes counts back before L2 tables, but it writes entries of the L1 table at once (`qcow2/mappings.rs:337`),
//! and what another request maps while counts are written back is not among them (`qcow2/cache.rs:199`). A program that is
//! killed then leaves a corrupt image.
//!
//! So this module stands between imago and the driver. When a table is about to be written, it reads the reference counts
//! of what the table refers to back from the file, sets those that are 0 to 1, has them made durable, and only then lets
//! the table pass. imago writes the same counts later, for it had counted those clusters in memory before it referred to
//! them; should a write of older counts still be under way, it is corrected when it comes by.
//!
//! The other direction, a count that falls before the reference is gone, imago prevents itself: who frees a cluster takes
//! the lock that a flush of both caches holds (`MetadataCaches::direction`). That a power cut keeps that order is seen to
//! here, too: this module remembers which clusters a written table has stopped referring to, until that write is durable.
//! Before that, no count falls, and nothing is written to those clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use imago::Storage;
use imago::io_buffers::IoVector;
use tokio::sync::Mutex;

use crate::driver::Driver;
use crate::qcow2::{Header, count};
use crate::tables::Tables;

/// An entry of a table: where the cluster is that it refers to.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
/// An entry of an L2 table that refers to compressed data.
const COMPRESSED: u64 = 1 << 62;
/// In which the length of compressed data is counted.
const SECTOR: u64 = 512;
/// So much of a header has the places of its tables.
const HEADER: u64 = 72;

/// What a cluster of metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Header,
    L1,
    L2,
    RefcountTable,
    /// The counts of the clusters from this one on.
    Refcounts(u64),
}

/// The metadata of one image, and what is known about its counts.
#[derive(Debug)]
pub struct CountsFirst {
    cluster: u64,
    /// Of a reference count.
    bits: u32,
    /// Data is in another file, where nothing is counted.
    data_elsewhere: bool,
    /// Metadata clusters by their place in the file. What is not here is data, or not referred to yet.
    roles: RwLock<BTreeMap<u64, Role>>,
    /// The places of clusters that a table no longer refers to, as long as that is not durable.
    dropped: RwLock<BTreeSet<u64>>,
    tables: Arc<Tables>,
    /// Writes of metadata come one after another.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Place and bytes.
    l1: (u64, u64),
    refcounts: (u64, u64),
    /// Clusters that were counted here, and that imago has not written a count of since.
    raised: BTreeSet<u64>,
    /// Counts, or what a table refers to, were written and have not been made durable.
    unsynced: bool,
}

impl CountsFirst {
    /// For the image with this `header` in `file`.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn new(header: &Header, file: &Driver) -> io::Result<Self> {
        let (l1, refcounts) = header.tables();
        let this = CountsFirst {
            cluster: header.cluster_size,
            bits: header.refcount_bits,
            data_elsewhere: header.data_file.is_some(),
            roles: RwLock::new(BTreeMap::from([(0, Role::Header)])),
            dropped: RwLock::default(),
            tables: Arc::new(Tables::new(header.cluster_size)),
            state: Mutex::new(State { l1, refcounts, raised: BTreeSet::new(), unsynced: false }),
        };
        this.add_refcount_table(file, refcounts).await?;
        this.add_l1(file, l1).await?;
        Ok(this)
    }

    /// Which parts of the image have L2 tables.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.clone()
    }

    /// Whether a write of `length` bytes at `offset` is one of metadata, or so near to it that the driver's blocks have both.
    pub fn concerns(&self, file: &Driver, offset: u64, length: u64) -> bool {
        let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        roles.range(self.blocks(file, offset, length)).next().is_some()
    }

    /// Must be called before anything is written to this range. If a table has just stopped referring to a cluster of it,
    /// this waits until that is durable: after a power cut the table may refer to the cluster again, and to what is in it.
    ///
    /// # Errors
    /// Those of the driver.
    pub async fn settle(&self, file: &Driver, offset: u64, length: u64) -> io::Result<()> {
        let is_dropped = || {
            let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
            dropped.range(self.blocks(file, offset, length)).next().is_some()
        };
        if !is_dropped() {
            return Ok(());
        }
        let mut state = self.state.lock().await;
        if is_dropped() { self.sync(file, &mut state).await } else { Ok(()) }
    }

    /// The driver's blocks that such a write touches.
    fn blocks(&self, file: &Driver, offset: u64, length: u64) -> Range<u64> {
        let grain = self.grain(file);
        offset / grain * grain..offset.saturating_add(length).next_multiple_of(grain)
    }

    /// Writes what [`concerns`](Self::concerns) this.
    ///
    /// # Errors
    /// Those of the driver.
    pub async fn write(&self, file: &Driver, data: IoVector<'_>, offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().await;
        let mut owned = data.try_into_owned(file.mem_align())?;
        let bytes = owned.as_mut().into_slice();
        let end = offset + bytes.len() as u64;
        let roles: Vec<_> = {
            let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
            roles.range(offset / self.cluster * self.cluster..end).map(|(at, role)| (*at, *role)).collect()
        };
        let (mut needed, mut dropped) = (Vec::new(), Vec::new());
        for &(at, role) in &roles {
            let (from, to) = (at.max(offset), (at + self.cluster).min(end));
            let part = &bytes[(from - offset) as usize..(to - offset) as usize];
            match role {
                Role::Header if from == 0 && part.len() as u64 >= HEADER => {
                    needed.extend(self.new_header(file, &mut state, part, &mut dropped).await?);
                }
                Role::Header => {}
                Role::L1 => {
                    let old_bytes = file.plain_read(from, part.len()).await?;
                    let after = state.l1.0 + state.l1.1;
                    let entries = |bytes: &[u8]| places(bytes, from, after);
                    let (old, new) = (entries(&old_bytes), entries(part));
                    dropped.extend(replaced(&old_bytes, part).map(|entry| entry & PLACE));
                    let those = part.chunks_exact(8).map(be).zip((from..after).step_by(8)).map(|(entry, _)| entry);
                    self.tables.changed((from - state.l1.0) / 8, those);
                    let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
                    // What is an L2 table no more may become data.
                    for place in old {
                        roles.remove(&place);
                    }
                    roles.extend(new.iter().map(|place| (*place, Role::L2)));
                    needed.extend(new);
                }
                Role::L2 if self.data_elsewhere => {}
                Role::L2 => {
                    let old = file.plain_read(from, part.len()).await?;
                    dropped.extend(replaced(&old, part).flat_map(|entry| self.data(entry)));
                    let entries = part.chunks_exact(8).map(be).filter(|entry| entry & COMPRESSED == 0);
                    needed.extend(entries.map(|entry| entry & PLACE).filter(|place| *place != 0));
                }
                Role::RefcountTable => {
                    let first = (from - state.refcounts.0) / 8;
                    let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
                    for (index, place) in (first..).zip(part.chunks_exact(8).map(|entry| be(entry) & PLACE)) {
                        if place != 0 {
                            roles.insert(place, Role::Refcounts(index * self.per_block()));
                            needed.push(place);
                        }
                    }
                }
                Role::Refcounts(_) => {}
            }
        }
        // A new table has to be there before it is referred to; data need not, as with any disk that is not flushed.
        state.unsynced |= !needed.is_empty() && roles.iter().any(|(_, role)| *role != Role::L2);
        self.count(file, &mut state, needed).await?;
        for &(at, role) in &roles {
            let Role::Refcounts(first) = role else { continue };
            let (from, to) = (at.max(offset), (at + self.cluster).min(end));
            let part = &mut bytes[(from - offset) as usize..(to - offset) as usize];
            let has_dropped = !self.dropped.read().unwrap_or_else(PoisonError::into_inner).is_empty();
            if has_dropped && lowers(&file.plain_read(from, part.len()).await?, part, self.bits) {
                self.sync(file, &mut state).await?;
            }
            let first = first + (from - at) * 8 / u64::from(self.bits);
            let range = first..first + part.len() as u64 * 8 / u64::from(self.bits);
            let raised: Vec<u64> = state.raised.range(range).copied().collect();
            for cluster in raised {
                // An older state of the counts, read from memory, or with the block around, before the cluster was counted.
                if !raise(part, self.bits, cluster - first) {
                    state.raised.remove(&cluster);
                }
            }
            state.unsynced = true;
        }
        self.dropped.write().unwrap_or_else(PoisonError::into_inner).extend(dropped);
        file.plain_write((&owned).into(), offset).await
    }

    /// Takes note of where the header that is to be written has its tables, and tells the clusters of the L1 table, and
    /// those of tables before it.
    async fn new_header(
        &self,
        file: &Driver,
        state: &mut State,
        header: &[u8],
        dropped: &mut Vec<u64>,
    ) -> io::Result<Vec<u64>> {
        let u32_at = |at: usize| be(&header[at..at + 4]);
        let u64_at = |at: usize| be(&header[at..at + 8]);
        let l1 = (u64_at(40), u32_at(36) * 8);
        let refcounts = (u64_at(48), u32_at(56) * self.cluster);
        // First where counts are: those of a new L1 table may be in a new place.
        if refcounts != state.refcounts {
            dropped.extend(self.forget(state.refcounts));
            state.refcounts = refcounts;
            self.add_refcount_table(file, refcounts).await?;
        }
        if l1 == state.l1 {
            return Ok(Vec::new());
        }
        dropped.extend(self.forget(state.l1));
        state.l1 = l1;
        self.add_l1(file, l1).await?;
        Ok((l1.0..l1.0.saturating_add(l1.1)).step_by(self.cluster as usize).collect())
    }

    /// Has these clusters counted in the file, and that durable.
    async fn count(&self, file: &Driver, state: &mut State, mut places: Vec<u64>) -> io::Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        places.sort_unstable();
        places.dedup();
        let (size, per_block, cluster) = (file.size()?, self.per_block(), self.cluster);
        let index = |place: &u64| place / cluster / per_block;
        for places in places.chunk_by(|a, b| index(a) == index(b)) {
            let entry = state.refcounts.0 + index(&places[0]) * 8;
            if entry + 8 > state.refcounts.0 + state.refcounts.1 {
                continue; // which imago would never allocate
            }
            let block = be(&file.plain_read(entry, 8).await?) & PLACE;
            // A block that is only being referred to counts itself.
            let block = match block {
                0 => match self.block_of(index(&places[0]) * per_block) {
                    Some(block) => block,
                    None => continue,
                },
                block => block,
            };
            if block >= size {
                continue;
            }
            let grain = self.grain(file);
            let start = block / grain * grain;
            let mut bytes = file.plain_read(start, grain as usize).await?;
            let counts = &mut bytes[(block - start) as usize..][..cluster as usize];
            let mut changed = false;
            for place in places {
                if raise(counts, self.bits, place / cluster % per_block) {
                    state.raised.insert(place / cluster);
                    changed = true;
                }
            }
            if changed {
                file.plain_write((&bytes[..]).into(), start).await?;
                state.unsynced = true;
            }
        }
        if state.unsynced {
            self.sync(file, state).await?;
        }
        Ok(())
    }

    async fn sync(&self, file: &Driver, state: &mut State) -> io::Result<()> {
        file.plain_sync().await?;
        state.unsynced = false;
        self.dropped.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// The clusters that an entry of an L2 table refers to.
    fn data(&self, entry: u64) -> impl Iterator<Item = u64> {
        let bits = 62 - (self.cluster.trailing_zeros() - 8); // of where compressed data begins
        let (at, length) = match entry & COMPRESSED {
            0 if entry & PLACE == 0 => (0, 0),
            0 => (entry & PLACE, self.cluster),
            _ => {
                let at = entry & ((1 << bits) - 1);
                let sectors = (entry & (COMPRESSED - 1)) >> bits;
                (at, (sectors + 1) * SECTOR - at % SECTOR)
            }
        };
        (at / self.cluster * self.cluster..at + length).step_by(self.cluster as usize)
    }

    fn block_of(&self, first: u64) -> Option<u64> {
        let roles = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        roles.iter().find(|(_, role)| **role == Role::Refcounts(first)).map(|(at, _)| *at)
    }

    /// There is no such table any more. Tells its clusters.
    fn forget(&self, (at, length): (u64, u64)) -> impl Iterator<Item = u64> {
        let clusters = at..at.saturating_add(length);
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        roles.retain(|place, _| !clusters.contains(place));
        clusters.step_by(self.cluster as usize)
    }

    async fn add_refcount_table(&self, file: &Driver, table: (u64, u64)) -> io::Result<()> {
        let entries = self.add_table(file, table, Role::RefcountTable).await?;
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        let entries = entries.chunks_exact(8).map(|entry| be(entry) & PLACE).zip(0..);
        let blocks = entries.filter(|(place, _)| *place != 0);
        roles.extend(blocks.map(|(place, index)| (place, Role::Refcounts(index * self.per_block()))));
        Ok(())
    }

    async fn add_l1(&self, file: &Driver, table: (u64, u64)) -> io::Result<()> {
        let entries = self.add_table(file, table, Role::L1).await?;
        self.tables.replaced(entries.chunks_exact(8).map(be));
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        roles.extend(places(&entries, 0, u64::MAX).into_iter().map(|place| (place, Role::L2)));
        Ok(())
    }

    /// Its clusters are `role` from here on; tells what is in it.
    async fn add_table(&self, file: &Driver, (at, length): (u64, u64), role: Role) -> io::Result<Vec<u8>> {
        let bytes = file.plain_read(at, length as usize).await?;
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        roles.extend((at..at.saturating_add(length)).step_by(self.cluster as usize).map(|at| (at, role)));
        Ok(bytes)
    }

    /// What is read and written at once: a cluster, or a block of the driver if that is bigger.
    fn grain(&self, file: &Driver) -> u64 {
        self.cluster.max(file.req_align() as u64)
    }

    fn per_block(&self) -> u64 {
        self.cluster * 8 / u64::from(self.bits)
    }
}

/// What these entries, which are at `from`, refer to, those before `after`.
fn places(entries: &[u8], from: u64, after: u64) -> Vec<u64> {
    let entries = entries.chunks_exact(8).zip((from..after).step_by(8));
    entries.map(|(entry, _)| be(entry) & PLACE).filter(|place| *place != 0).collect()
}

/// The entries of a table that are others now. What another entry still refers to may be among what they refer to.
fn replaced(old: &[u8], new: &[u8]) -> impl Iterator<Item = u64> {
    let entries = old.chunks_exact(8).zip(new.chunks_exact(8));
    entries.filter(|(old, new)| old != new).map(|(old, _)| be(old))
}

/// Whether a count is less than it was.
fn lowers(old: &[u8], new: &[u8], bits: u32) -> bool {
    let counts = new.len() as u64 * 8 / u64::from(bits);
    (0..counts).any(|index| count(new, bits, index) < count(old, bits, index))
}

/// Makes a count of 0 one of 1, and says so.
fn raise(counts: &mut [u8], bits: u32, index: u64) -> bool {
    match bits {
        ..8 => {
            let bit = index * u64::from(bits);
            let (byte, shift) = (&mut counts[bit as usize / 8], bit % 8);
            let zero = *byte >> shift & ((1 << bits) - 1) as u8 == 0;
            *byte |= u8::from(zero) << shift;
            zero
        }
        _ => {
            let count = &mut counts[index as usize * bits as usize / 8..][..bits as usize / 8];
            let zero = count.iter().all(|byte| *byte == 0);
            count[bits as usize / 8 - 1] |= u8::from(zero);
            zero
        }
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::raise;

    #[test]
    fn counts_of_all_widths_are_raised() {
        for bits in [1, 2, 4, 8, 16, 32, 64] {
            let mut counts = vec![0; 64];
            for index in [0, 3, 6] {
                assert!(raise(&mut counts, bits, index), "{bits}");
                assert!(!raise(&mut counts, bits, index), "{bits}");
            }
            assert_eq!(counts.iter().map(|byte| byte.count_ones()).sum::<u32>(), 3, "{bits}");
        }
    }
}
