//! Memory that an operation owns while its system calls run, aligned as `O_DIRECT` needs it.

use std::{
    io::{IoSlice, IoSliceMut},
    ops::{Deref, DerefMut},
};

/// Bytes at an aligned address.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// `length` zeroes, at an address that is a multiple of `align`.
    pub fn zeroed(length: usize, align: usize) -> Self {
        let bytes = vec![0_u8; length + align - 1];
        // `align_offset` may fail under Miri, so it is not called if any address will do.
        let start = if align == 1 { 0 } else { bytes.as_ptr().align_offset(align) };
        Self { bytes, start, length }
    }

    /// A copy of what `parts` have from `skip` on.
    pub fn copy(parts: &[IoSlice<'_>], skip: usize, align: usize) -> Self {
        let mut copy = Self::zeroed(length(parts).saturating_sub(skip), align);
        let mut to = &mut *copy;
        for part in rest(parts, skip) {
            let (these, others) = to.split_at_mut(part.len());
            these.copy_from_slice(&part);
            to = others;
        }
        copy
    }

    /// Copies its bytes into `parts`, from `skip` on.
    pub fn copy_back(&self, parts: &mut [IoSliceMut<'_>], skip: usize) {
        let mut from = &**self;
        for mut part in rest_mut(parts, skip) {
            // A user's buffers may have another length each time that they are asked for.
            let (these, others) = from.split_at(part.len().min(from.len()));
            part[..these.len()].copy_from_slice(these);
            from = others;
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
    }
}

/// How many bytes they have together.
pub(super) fn length<T: Deref<Target = [u8]>>(parts: &[T]) -> usize {
    // A sum that does not fit into `usize` has a part twice, and is longer than any file.
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.len()))
}

/// What they have after the first `skip` bytes.
pub(super) fn rest<'a>(parts: &'a [IoSlice<'_>], mut skip: usize) -> Vec<IoSlice<'a>> {
    let tails = parts.iter().map(|part| {
        let here = skip.min(part.len());
        skip -= here;
        IoSlice::new(&part[here..])
    });
    tails.collect()
}

/// What they have after the first `skip` bytes.
pub(super) fn rest_mut<'a>(parts: &'a mut [IoSliceMut<'_>], mut skip: usize) -> Vec<IoSliceMut<'a>> {
    let tails = parts.iter_mut().map(|part| {
        let here = skip.min(part.len());
        skip -= here;
        IoSliceMut::new(&mut part[here..])
    });
    tails.collect()
}
