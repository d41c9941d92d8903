//! What the standard library has for every Unix.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use super::{Alignment, Extent, ExtentKind, Zeroes, is_device};

/// The flag of `open` for I/O past the page cache: there is none.
pub const DIRECT: Option<i32> = None;

/// No system call is known here that never waits.
pub fn read_cached(_: &fs::File, _: &mut [IoSliceMut<'_>], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn read(file: &fs::File, parts: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    match parts.iter_mut().find(|part| !part.is_empty()) {
        Some(part) => file.read_at(part, offset),
        None => Ok(0),
    }
}

pub fn write(file: &fs::File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    match parts.iter().find(|part| !part.is_empty()) {
        Some(part) => file.write_at(part, offset),
        None => Ok(0),
    }
}

pub fn zero(_: &fs::File, _: u64, _: u64, _: Zeroes) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn discard(_: &fs::File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// All of it is data, as far as is known.
pub fn extent(file: &fs::File, offset: u64) -> io::Result<Option<Extent>> {
    let length = size(file)?.saturating_sub(offset);
    Ok((length > 0).then_some(Extent { kind: ExtentKind::Data, length }))
}

pub fn size(file: &fs::File) -> io::Result<u64> {
    let mut seeking = file;
    if is_device(file)? { seeking.seek(SeekFrom::End(0)) } else { Ok(file.metadata()?.len()) }
}

pub fn alignment(_: &fs::File) -> io::Result<Option<Alignment>> {
    Ok(None)
}

pub fn read_ahead(_: &fs::File, _: u64, _: u64) {}

pub fn start_writeback(_: &fs::File, _: u64, _: u64) {}

/// How often this thread has waited: not known.
pub fn waits() -> Option<u64> {
    None
}
