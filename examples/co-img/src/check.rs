//! Whether a qcow2 image is consistent: every cluster that something refers to is counted so often, and no other is. Only
//! reads; what QEMU's `qcow2_check_refcounts` finds, in its words.

use std::io;

use imago::Storage;

use crate::driver::Driver;
use crate::error::refused;
use crate::qcow2::{Header, count};

/// An entry of a table: where the cluster is that it refers to, and its flags.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Two bytes are kept for each cluster of the file; a file of 4 TiB has so many, of clusters as usual.
const MOST_CLUSTERS: u64 = 64 << 20;
/// So many findings are told one by one.
const MOST_FINDINGS: usize = 10_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// References to what is not counted, or cannot be.
    pub errors: u64,
    /// Clusters that are counted without being referred to so often.
    pub leaks: u64,
    /// Of those, one line each.
    pub findings: Vec<String>,
    /// The clusters that the image could have, has, has compressed, and has out of their order in the file.
    pub total: u64,
    /// See [`total`](Self::total).
    pub allocated: u64,
    /// See [`total`](Self::total).
    pub compressed: u64,
    /// See [`total`](Self::total).
    pub fragmented: u64,
    /// Behind the last cluster in use.
    pub end: u64,
}

struct Check<'a> {
    file: &'a Driver,
    header: &'a Header,
    cluster: u64,
    /// How often something refers to each cluster of the file.
    used: Vec<u16>,
    /// Where the counts of so many clusters are, for all.
    blocks: Vec<u64>,
    /// The block that was read last.
    block: (u64, Vec<u8>),
    found: Checked,
}

/// Checks the image with this header in `file`.
///
/// # Errors
/// Those of reading; when the file has more clusters than are kept in memory.
pub async fn check(file: &Driver, header: &Header) -> io::Result<Checked> {
    let cluster = header.cluster_size;
    let clusters = file.size()?.div_ceil(cluster);
    if clusters > MOST_CLUSTERS {
        return Err(refused(format!("it has {clusters} clusters, and only {MOST_CLUSTERS} are checked")));
    }
    let mut check = Check {
        file,
        header,
        cluster,
        used: vec![0; clusters as usize],
        blocks: Vec::new(),
        block: (0, Vec::new()),
        found: Checked { total: header.size.div_ceil(cluster), ..Checked::default() },
    };
    check.run().await?;
    Ok(check.found)
}

impl Check<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let (l1, refcounts) = self.header.tables();
        self.refer(0, self.cluster);
        let l1s = self.l1(l1, true).await?;
        for (at, bytes) in self.snapshots().await? {
            self.l1((at, bytes), false).await?;
        }
        self.refer(refcounts.0, refcounts.1);
        for (index, entry) in self.table(refcounts).await?.into_iter().enumerate() {
            let place = entry & PLACE;
            let wrong = !place.is_multiple_of(self.cluster) || place / self.cluster >= self.used.len() as u64;
            if place != 0 && wrong {
                let what = if !place.is_multiple_of(self.cluster) { "not cluster aligned" } else { "outside image" };
                self.error(format!("ERROR refcount block {index} is {what}; refcount table entry corrupted"));
            } else if place != 0 {
                self.refer(place, self.cluster);
            }
            self.blocks.push(if wrong { 0 } else { place });
        }
        self.compare().await?;
        self.copied(&l1s).await
    }

    /// Counts what an L1 table refers to; tells its entries.
    async fn l1(&mut self, table: (u64, u64), active: bool) -> io::Result<Vec<u64>> {
        self.refer(table.0, table.1);
        let entries = self.table(table).await?;
        for place in entries.iter().map(|entry| entry & PLACE).filter(|place| *place != 0) {
            self.refer(place, self.cluster);
            if !place.is_multiple_of(self.cluster) {
                self.error(format!("ERROR l2_offset={place:x}: Table is not cluster aligned; L1 entry corrupted"));
                continue;
            }
            self.l2(place, active).await?;
        }
        Ok(entries)
    }

    async fn l2(&mut self, table: u64, active: bool) -> io::Result<()> {
        let bits = self.cluster.trailing_zeros();
        let mut follows = 0;
        for entry in self.table((table, self.cluster)).await? {
            if entry & COMPRESSED != 0 {
                let shift = 62 - (bits - 8);
                let (at, sectors) = (entry & ((1 << shift) - 1), (entry >> shift & ((1 << (62 - shift)) - 1)) + 1);
                self.refer(at / 512 * 512, sectors * 512);
                if active {
                    self.found.allocated += 1;
                    self.found.compressed += 1;
                    self.found.fragmented += 1;
                }
            } else if entry & PLACE != 0 {
                let place = entry & PLACE;
                if active {
                    self.found.allocated += 1;
                    self.found.fragmented += u64::from(follows != 0 && follows != place);
                    follows = place + self.cluster;
                }
                if self.header.data_file.is_some() {
                    continue;
                }
                if !place.is_multiple_of(self.cluster) {
                    self.error(format!("ERROR offset={place:x}: Cluster is not properly aligned; L2 entry corrupted."));
                    continue;
                }
                self.refer(place, self.cluster);
            }
        }
        Ok(())
    }

    /// The L1 tables of all snapshots; counts the table of these.
    async fn snapshots(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let head = self.file.plain_read(60, 12).await?;
        let (count, start) = (be(&head[..4]), be(&head[4..]));
        let (mut at, mut tables) = (start, Vec::new());
        for _ in 0..count {
            if at / self.cluster >= self.used.len() as u64 {
                self.error("ERROR snapshot table is past the end of the image".into());
                break;
            }
            let entry = self.file.plain_read(at, 40).await?;
            tables.push((be(&entry[..8]), be(&entry[8..12]) * 8));
            at += (40 + be(&entry[36..]) + be(&entry[12..14]) + be(&entry[14..16])).next_multiple_of(8);
        }
        self.refer(start, at - start);
        Ok(tables)
    }

    async fn table(&self, (at, bytes): (u64, u64)) -> io::Result<Vec<u64>> {
        // What is past the end was told of when it was referred to.
        let bytes = bytes.min((self.used.len() as u64 * self.cluster).saturating_sub(at));
        let table = self.file.plain_read(at, bytes as usize).await?;
        Ok(table.chunks_exact(8).map(be).collect())
    }

    fn refer(&mut self, at: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let end = at.saturating_add(bytes).div_ceil(self.cluster);
        for cluster in at / self.cluster..end.min(self.used.len() as u64) {
            let used = &mut self.used[cluster as usize];
            *used = used.saturating_add(1);
        }
        if end > self.used.len() as u64 {
            self.error(format!("ERROR {bytes} bytes at {at} are past the end of the image"));
        }
    }

    fn error(&mut self, finding: String) {
        self.found.errors += 1;
        self.find(finding);
    }

    fn find(&mut self, finding: String) {
        if self.found.findings.len() < MOST_FINDINGS {
            self.found.findings.push(finding);
        }
    }

    /// How often a cluster is counted.
    async fn count(&mut self, cluster: u64) -> io::Result<u64> {
        let per_block = self.cluster * 8 / u64::from(self.header.refcount_bits);
        let block = self.blocks.get((cluster / per_block) as usize).copied().unwrap_or(0);
        if block == 0 {
            return Ok(0);
        }
        if self.block.0 != block {
            self.block = (block, self.file.plain_read(block, self.cluster as usize).await?);
        }
        Ok(count(&self.block.1, self.header.refcount_bits, cluster % per_block))
    }

    async fn compare(&mut self) -> io::Result<()> {
        for cluster in 0..self.used.len() as u64 {
            let (counted, used) = (self.count(cluster).await?, u64::from(self.used[cluster as usize]));
            if counted > 0 || used > 0 {
                self.found.end = (cluster + 1) * self.cluster;
            }
            let what = format!("cluster {cluster} refcount={counted} reference={used}");
            if counted < used {
                self.error(format!("ERROR {what}"));
            } else if counted > used {
                self.found.leaks += 1;
                self.find(format!("Leaked {what}"));
            }
        }
        Ok(())
    }

    /// The flag that says that a cluster is counted once, which is what writers rely on.
    async fn copied(&mut self, l1: &[u64]) -> io::Result<()> {
        for (index, entry) in l1.iter().enumerate().filter(|(_, entry)| *entry & PLACE != 0) {
            let place = entry & PLACE;
            let counted = self.count(place / self.cluster).await?;
            if (counted == 1) != (entry & COPIED != 0) {
                self.error(format!(
                    "ERROR OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={entry:x} refcount={counted}"
                ));
            }
            if self.header.data_file.is_some() || !place.is_multiple_of(self.cluster) {
                continue;
            }
            for entry in self.table((place, self.cluster)).await? {
                if entry & COMPRESSED != 0 || entry & PLACE == 0 {
                    continue;
                }
                let counted = self.count((entry & PLACE) / self.cluster).await?;
                if (counted == 1) != (entry & COPIED != 0) {
                    self.error(format!("ERROR OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={counted}"));
                }
            }
        }
        Ok(())
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}
