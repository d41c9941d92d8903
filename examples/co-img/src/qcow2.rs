//! A qcow2 header as this program reads it itself, before imago does: to describe the image, to know what it is based on,
//! and to refuse what imago would misread or make too much room for.
//!
//! imago 0.2.6 ignores the encryption method (`V2Header::crypt_method`, `qcow2/metadata.rs:90`, is only ever compared with
//! itself), reads no header extensions of version 2 images (`qcow2/metadata.rs:441`), and does not ask whether the L1
//! table covers the image or is in the file.

use std::io::{self, ErrorKind};
use std::ops::Range;

use imago::{Storage, StorageExt};

use crate::driver::Driver;
use crate::error::invalid;
use crate::name::MOST;

/// Big-endian, at the start of every qcow2 file.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";
/// QEMU's limits, in bytes.
const MOST_L1: u64 = 32 << 20;
const MOST_REFCOUNT_TABLE: u64 = 8 << 20;
/// So many bytes of refcounts are looked at to find out about preallocation: those of a file of 4 TiB, of clusters as
/// usual. A lying image has more than could ever be read.
const MOST_REFCOUNTS: u64 = 128 << 20;

/// Incompatible features, by their bits.
const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// A compatible one, and one that a program that does not know it has to clear.
const LAZY_REFCOUNTS: u64 = 1 << 0;
const DATA_FILE_RAW: u64 = 1 << 1;

/// What a qcow2 image says of itself.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// In bytes.
    pub size: u64,
    /// In bytes.
    pub cluster_size: u64,
    /// What it is based on.
    pub backing: Option<String>,
    /// That one's format.
    pub backing_format: Option<String>,
    /// Where its data is, if elsewhere.
    pub data_file: Option<String>,
    /// That file is what a raw image of it would be.
    pub data_file_raw: bool,
    /// In bits.
    pub refcount_bits: u32,
    /// Refcounts are out of date.
    pub dirty: bool,
    /// Something was once found to be wrong.
    pub corrupt: bool,
    /// How many snapshots it has.
    pub snapshots: u32,
    /// Refcounts may be out of date.
    pub lazy_refcounts: bool,
    /// Where they are, and their bytes.
    l1_table: (u64, u64),
    refcount_table: (u64, u64),
}

impl Header {
    /// Reads the header of `file`.
    ///
    /// # Errors
    /// Those of reading; when it makes no sense, asks for more than QEMU would give, or needs what imago lacks.
    pub async fn read(file: &Driver) -> io::Result<Self> {
        let mut head = [0; 112];
        file.read(&mut head[..], 0).await?;
        let u32_at = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        if head[..4] != MAGIC {
            return Err(invalid("not a qcow2 image"));
        }
        let version = u32_at(4);
        if !(2..=3).contains(&version) {
            return Err(unsupported(format!("qcow2 version {version}")));
        }
        let bits = u32_at(20);
        if !(9..=21).contains(&bits) {
            return Err(invalid(format!("clusters of 2^{bits} bytes; QEMU has 2^9 to 2^21")));
        }
        match u32_at(32) {
            0 => {}
            1 => return Err(unsupported("AES encryption")),
            2 => return Err(unsupported("LUKS encryption")),
            other => return Err(invalid(format!("encryption method {other}"))),
        }
        let [incompatible, compatible, autoclear] = [72, 80, 88].map(|at| if version == 3 { u64_at(at) } else { 0 });
        let (order, length) = if version == 3 { (u32_at(96), u64::from(u32_at(100))) } else { (4, 72) };
        if incompatible & EXTENDED_L2 != 0 {
            return Err(unsupported("extended L2 entries"));
        }
        if incompatible & COMPRESSION != 0 {
            return Err(unsupported("compression by zstd"));
        }
        let unknown = incompatible & !(DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2);
        if unknown != 0 {
            return Err(unsupported(format!("unknown incompatible features {unknown:#x}")));
        }
        let mut header = Header {
            version,
            size: u64_at(24),
            cluster_size: 1 << bits,
            refcount_bits: 1_u32.checked_shl(order).filter(|bits| *bits <= 64).unwrap_or(0),
            dirty: incompatible & DIRTY != 0,
            corrupt: incompatible & CORRUPT != 0,
            snapshots: u32_at(60),
            lazy_refcounts: compatible & LAZY_REFCOUNTS != 0,
            data_file_raw: autoclear & DATA_FILE_RAW != 0,
            l1_table: (u64_at(40), u64::from(u32_at(36)) * 8),
            refcount_table: (u64_at(48), u64::from(u32_at(56)) << bits),
            ..Header::default()
        };
        header.check_tables(file.size()?)?;
        if length < 72 || length > header.cluster_size {
            return Err(invalid(format!("a header of {length} bytes")));
        }
        header.read_names(file, length, (u64_at(8), u64::from(u32_at(16))), incompatible & DATA_FILE != 0).await?;
        Ok(header)
    }

    /// Where the L1 table and the refcount table are, and their bytes.
    pub fn tables(&self) -> ((u64, u64), (u64, u64)) {
        (self.l1_table, self.refcount_table)
    }

    fn check_tables(&self, file_size: u64) -> io::Result<()> {
        let (l1_at, l1_bytes) = self.l1_table;
        let l1_entries = l1_bytes / 8;
        if self.refcount_bits == 0 {
            return Err(invalid("impossibly wide refcounts"));
        }
        if self.size > MOST {
            return Err(invalid(format!("a size of {} bytes", self.size)));
        }
        let per_entry = self.cluster_size * (self.cluster_size / 8);
        if l1_bytes > MOST_L1 {
            return Err(invalid(format!("an L1 table of {l1_entries} entries")));
        }
        if self.size.div_ceil(per_entry) > l1_entries {
            let what = format!("the L1 table's {l1_entries} entries do not cover {} bytes", self.size);
            return Err(invalid(what));
        }
        if l1_bytes > 0 && l1_at.checked_add(l1_bytes).is_none_or(|end| end > file_size) {
            return Err(invalid("the L1 table is past the end of the file: truncated or corrupt"));
        }
        if self.refcount_table.1 > MOST_REFCOUNT_TABLE {
            return Err(invalid(format!("a refcount table of {} bytes", self.refcount_table.1)));
        }
        Ok(())
    }

    /// The names of other files, all in the first cluster.
    async fn read_names(&mut self, file: &Driver, length: u64, backing: (u64, u64), data_file: bool) -> io::Result<()> {
        let mut cluster = vec![0; self.cluster_size.min(file.size()?) as usize];
        file.read(&mut cluster[..], 0).await?;
        let text = |at: u64, length: u64, what: &str| {
            let bytes = at.checked_add(length).and_then(|end| cluster.get(at as usize..end as usize));
            let bytes = bytes.ok_or_else(|| invalid(format!("the {what} is not in the first cluster")))?;
            match String::from_utf8(bytes.to_vec()) {
                Ok(text) if !text.contains('\0') && !text.is_empty() => Ok(text),
                _ => Err(invalid(format!("the {what} is not text"))),
            }
        };
        if backing.0 != 0 && backing.1 != 0 {
            if backing.1 > 1023 {
                return Err(invalid(format!("a backing file's name of {} bytes", backing.1)));
            }
            self.backing = Some(text(backing.0, backing.1, "backing file's name")?);
        }
        let mut at = length;
        // In version 2 the name may follow at once; where there is no room for extensions, there are none.
        while let Some(extension) = cluster.get(at as usize..at as usize + 8) {
            let (kind, length) = extension.split_at(4);
            let (kind, length) = (be(kind) as u32, be(length));
            if kind == 0 || (backing.0 != 0 && at >= backing.0) {
                break;
            }
            match kind {
                0xe279_2aca => self.backing_format = Some(text(at + 8, length, "backing file's format")?),
                0x4441_5441 => self.data_file = Some(text(at + 8, length, "data file's name")?),
                _ if at + 8 + length > self.cluster_size => {
                    return Err(invalid("the header's extensions do not end in the first cluster"));
                }
                _ => {}
            }
            at += 8 + length.next_multiple_of(8);
        }
        match (data_file, &self.data_file) {
            (true, None) => Err(invalid("it does not name the file that has its data")),
            (false, _) => {
                (self.data_file, self.data_file_raw) = (None, false);
                Ok(())
            }
            (true, Some(_)) => Ok(()),
        }
    }

    /// Whether the clusters of the header, the L1 table and the refcount table are counted as in use. imago asks for none
    /// of this (`qcow2/allocation.rs:335`): it would take such a cluster for data, the header's first of all.
    ///
    /// # Errors
    /// Those of reading; when they are not.
    pub async fn check_refcounts(&self, file: &Driver) -> io::Result<()> {
        let per_block = self.cluster_size * 8 / u64::from(self.refcount_bits);
        let (size, mut block, mut block_at) = (file.size()?, vec![0; self.cluster_size as usize], None);
        let parts = [("refcount table", self.refcount_table), ("header", (0, 1)), ("L1 table", self.l1_table)];
        for (what, (at, bytes)) in parts {
            let end = at.checked_add(bytes).filter(|end| *end <= size);
            let end =
                end.ok_or_else(|| invalid(format!("the {what} is past the end of the file: truncated or corrupt")))?;
            for cluster in at / self.cluster_size..end.div_ceil(self.cluster_size) {
                let place = cluster / per_block * 8;
                let mut entry = [0; 8];
                if place < self.refcount_table.1 && self.refcount_table.0.saturating_add(place) < size {
                    file.read(&mut entry[..], self.refcount_table.0 + place).await?;
                }
                let there = be(&entry) & !511;
                if there != 0 && block_at != Some(there) {
                    file.read(&mut block[..], there).await?;
                    block_at = Some(there);
                }
                if there == 0
                    || there >= size
                    || in_use(&block, self.refcount_bits, cluster % per_block..cluster % per_block + 1) == 0
                {
                    return Err(invalid(format!("the {what} is not counted as in use; run qemu-img check -r all")));
                }
            }
        }
        Ok(())
    }

    /// Whether clusters were allocated ahead of their data, so that holes in the file are holes in the image. Counts
    /// clusters in use against what the file takes on its disk, as QEMU does (`qcow2_detect_metadata_preallocation`).
    ///
    /// # Errors
    /// Those of reading.
    pub async fn preallocated(&self, file: &Driver) -> io::Result<bool> {
        let Some(allocated) = file.allocated().await? else { return Ok(false) };
        let (size, real) = (file.size()?, allocated / self.cluster_size);
        let threshold = (real * 10 / 9).max(real + 2);
        let per_block = self.cluster_size * 8 / u64::from(self.refcount_bits);
        let (mut used, mut left) = (0, size.div_ceil(self.cluster_size));
        let mut table = vec![0; self.refcount_table.1.min(left.div_ceil(per_block) * 8) as usize];
        file.read(&mut table[..], self.refcount_table.0).await?;
        let mut block = vec![0; self.cluster_size as usize];
        let most = (MOST_REFCOUNTS / self.cluster_size) as usize;
        for entry in table.chunks_exact(8).take(most) {
            let at = be(entry) & !511;
            if at != 0 {
                file.read(&mut block[..], at).await?;
                used += in_use(&block, self.refcount_bits, 0..left.min(per_block));
            }
            left = left.saturating_sub(per_block);
            if left == 0 || used >= threshold {
                break;
            }
        }
        Ok(used >= threshold)
    }
}

/// How many of these refcounts in `block` are not 0.
fn in_use(block: &[u8], bits: u32, these: Range<u64>) -> u64 {
    these.filter(|index| count(block, bits, *index) != 0).count() as u64
}

/// A refcount in `block`.
pub(crate) fn count(block: &[u8], bits: u32, index: u64) -> u64 {
    match bits {
        ..8 => {
            let bit = index * u64::from(bits);
            u64::from(block[bit as usize / 8]) >> (bit % 8) & ((1 << bits) - 1)
        }
        _ => be(&block[index as usize * (bits as usize / 8)..][..bits as usize / 8]),
    }
}

fn unsupported(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, format!("{what}: not supported"))
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::in_use;

    #[test]
    fn refcounts_of_all_widths() {
        assert_eq!(in_use(&[0b1010_0001], 1, 0..8), 3);
        assert_eq!(in_use(&[0b1010_0001], 1, 0..5), 1);
        assert_eq!(in_use(&[0x01, 0x10], 4, 0..4), 2);
        assert_eq!(in_use(&[0, 1, 0, 0, 1, 0], 16, 0..3), 2);
        assert_eq!(in_use(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 64, 0..2), 1);
    }
}
