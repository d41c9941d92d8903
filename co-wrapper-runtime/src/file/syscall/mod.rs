//! The system calls, one function each, for the system at hand. This module does not decide when a call is made, nor on
//! which thread.
//!
//! A call may read or write fewer bytes than were asked for; the caller goes on with the rest. On systems other than
//! Linux, and under Miri, only the standard library is used, with the same results.

#[cfg(all(target_os = "linux", not(miri)))]
mod linux;
#[cfg(any(not(target_os = "linux"), miri))]
mod portable;

use std::{fs, io, os::unix::fs::FileTypeExt};

#[cfg(all(target_os = "linux", not(miri)))]
pub(super) use linux::*;
#[cfg(any(not(target_os = "linux"), miri))]
pub(super) use portable::*;

/// What a part of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// There is room for it on the disk.
    Data,
    /// There is not, and it reads as zeroes.
    Hole,
}

/// A part of a file that is all data or all hole: see [`File::extent_at`](super::File::extent_at).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// What it is.
    pub kind: ExtentKind,
    /// How long it is, in bytes, from where it was asked about. At least 1.
    pub length: u64,
}

/// What becomes of the room on the disk of bytes that are made zeroes: see
/// [`File::write_zeroes_at`](super::File::write_zeroes_at).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeroes {
    /// It may be given back. (QEMU's `BDRV_REQ_MAY_UNMAP`.)
    Unmap,
    /// It stays, or is taken, so that a later write finds room there.
    Allocate,
}

/// What `O_DIRECT` asks for, in bytes. Powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Of offsets in the file, and of lengths.
    pub offset: u32,
    /// Of addresses of buffers. Buffers with other addresses are legal, and cost a copy.
    pub memory: u32,
}

impl Alignment {
    /// Of files that go through the page cache.
    pub(super) const NONE: Self = Self { offset: 1, memory: 1 };
}

/// Whether it is a device, whose metadata does not tell its size.
pub(super) fn is_device(file: &fs::File) -> io::Result<bool> {
    let kind = file.metadata()?.file_type();
    Ok(kind.is_block_device() || kind.is_char_device())
}
