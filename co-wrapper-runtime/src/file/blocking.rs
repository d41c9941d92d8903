//! The blocking twins. They work wherever a generated twin that is marked `mixed` does, and cost the same.
//!
//! They are written by hand for two reasons. First, this crate and the macro crate do not depend on each other. Second,
//! a generated twin would poll the async function, which copies what another thread reads. These twins lend the
//! caller's buffer to that thread instead. That is sound, because the caller's frame is not left before the thread is
//! done with it.

use std::{
    io::{IoSlice, IoSliceMut},
    path::Path,
    sync::Arc,
};

use super::{
    buffer,
    error::{Error, Operation},
    handle::{Changes, File},
    open::OpenOptions,
    pool,
    syscall::{Extent, Zeroes},
};
use crate::call::{Wrapper, poll_co};

/// The twin of an async method that has no buffer to lend.
macro_rules! twin {
    ($(#[$docs:meta])* $name:ident of $target:ident($($arg:ident: $type:ty),*) -> $output:ty) => {
        $(#[$docs])*
        #[track_caller]
        pub fn $name(&self, $($arg: $type),*) -> $output {
            static WRAPPER: Wrapper = wrapper(stringify!($name), stringify!($target));
            poll_co(&WRAPPER, (self, $($arg),*), |(this, $($arg),*)| this.$target($($arg),*))
        }
    };
}

const fn wrapper(name: &'static str, target: &'static str) -> Wrapper {
    Wrapper { name, target, mixed: true }
}

impl OpenOptions {
    /// The blocking twin of [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// The same as [`open`](Self::open).
    #[track_caller]
    pub fn open_blocking(&self, path: impl AsRef<Path>) -> Result<File, Error> {
        static WRAPPER: Wrapper = wrapper("open_blocking", "open");
        poll_co(&WRAPPER, (self, path), |(options, path)| options.open(path))
    }
}

impl File {
    /// The blocking twin of [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// The same as [`OpenOptions::open`].
    #[track_caller]
    pub fn open_blocking(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open_blocking(path)
    }

    /// The blocking twin of [`read_at`](Self::read_at). What the page cache does not have, another thread reads
    /// straight into `buf`.
    ///
    /// # Errors
    ///
    /// The same as [`read_at`](Self::read_at).
    #[inline]
    #[track_caller]
    pub fn read_at_blocking(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        static WRAPPER: Wrapper = wrapper("read_at_blocking", "read_at");
        poll_co(&WRAPPER, (self, buf, offset), |(file, buf, offset)| async move {
            file.read_lent(&mut [IoSliceMut::new(buf)], offset).await
        })
    }

    /// The blocking twin of [`readv_at`](Self::readv_at).
    ///
    /// # Errors
    ///
    /// The same as [`read_at`](Self::read_at).
    #[track_caller]
    pub fn readv_at_blocking(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<(), Error> {
        static WRAPPER: Wrapper = wrapper("readv_at_blocking", "readv_at");
        poll_co(&WRAPPER, (self, bufs, offset), |(file, bufs, offset)| file.read_lent(bufs, offset))
    }

    /// The blocking twin of [`write_at`](Self::write_at). If this thread does not write, another one writes straight
    /// from `buf`.
    ///
    /// # Errors
    ///
    /// The same as [`write_at`](Self::write_at).
    #[inline]
    #[track_caller]
    pub fn write_at_blocking(&self, buf: &[u8], offset: u64) -> Result<(), Error> {
        static WRAPPER: Wrapper = wrapper("write_at_blocking", "write_at");
        poll_co(&WRAPPER, (self, buf, offset), |(file, buf, offset)| async move {
            file.write_lent(&[IoSlice::new(buf)], offset).await
        })
    }

    /// The blocking twin of [`writev_at`](Self::writev_at).
    ///
    /// # Errors
    ///
    /// The same as [`write_at`](Self::write_at).
    #[track_caller]
    pub fn writev_at_blocking(&self, bufs: &[IoSlice<'_>], offset: u64) -> Result<(), Error> {
        static WRAPPER: Wrapper = wrapper("writev_at_blocking", "writev_at");
        poll_co(&WRAPPER, (self, bufs, offset), |(file, bufs, offset)| file.write_lent(bufs, offset))
    }

    twin! {
        /// The blocking twin of [`write_zeroes_at`](Self::write_zeroes_at).
        ///
        /// # Errors
        ///
        /// The same as [`write_zeroes_at`](Self::write_zeroes_at).
        write_zeroes_at_blocking of write_zeroes_at(offset: u64, length: u64, how: Zeroes) -> Result<(), Error>
    }

    twin! {
        /// The blocking twin of [`discard_at`](Self::discard_at).
        ///
        /// # Errors
        ///
        /// The same as [`discard_at`](Self::discard_at).
        discard_at_blocking of discard_at(offset: u64, length: u64) -> Result<(), Error>
    }

    twin! {
        /// The blocking twin of [`sync`](Self::sync).
        ///
        /// # Errors
        ///
        /// The same as [`sync`](Self::sync).
        sync_blocking of sync() -> Result<(), Error>
    }

    twin! {
        /// The blocking twin of [`size`](Self::size).
        ///
        /// # Errors
        ///
        /// The same as [`size`](Self::size).
        size_blocking of size() -> Result<u64, Error>
    }

    twin! {
        /// The blocking twin of [`set_len`](Self::set_len).
        ///
        /// # Errors
        ///
        /// The same as [`set_len`](Self::set_len).
        set_len_blocking of set_len(length: u64) -> Result<(), Error>
    }

    twin! {
        /// The blocking twin of [`extent_at`](Self::extent_at).
        ///
        /// # Errors
        ///
        /// The same as [`extent_at`](Self::extent_at).
        extent_at_blocking of extent_at(offset: u64) -> Result<Option<Extent>, Error>
    }

    twin! {
        /// The blocking twin of [`settle`](Self::settle).
        settle_blocking of settle() -> ()
    }

    /// Like [`readv_at`](Self::readv_at), with the buffers lent to the thread that reads.
    ///
    /// It is called where `poll_co` makes the future, and nowhere else: nobody can forget a future there.
    #[inline]
    async fn read_lent(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<(), Error> {
        let request = self.shared.check(Operation::Read, offset, buffer::length(bufs) as u64)?;
        let done = self.shared.read_cached(bufs, offset);
        if done as u64 == request.length {
            return Ok(());
        }
        self.shared.check_pool(request)?;
        let shared = Arc::clone(&self.shared);
        // SAFETY: the future is a part of this one, which `poll_co` owns, and polls until it is ready or drops.
        unsafe { pool::lend(move || shared.read_into(bufs, request, done)) }.await
    }

    /// Like [`writev_at`](Self::writev_at), with the buffers lent to the thread that writes. See [`Self::read_lent`].
    #[inline]
    async fn write_lent(&self, bufs: &[IoSlice<'_>], offset: u64) -> Result<(), Error> {
        let request = self.shared.check(Operation::Write, offset, buffer::length(bufs) as u64)?;
        let done = self.shared.write_inline(bufs, request);
        if done as u64 == request.length {
            return Ok(());
        }
        self.shared.check_pool(request)?;
        let (shared, change) = (Arc::clone(&self.shared), Changes::begin(&self.shared.changes));
        let write = move || {
            let _until_it_has_ended = change;
            shared.write_from(bufs, request, done)
        };
        // SAFETY: as in `read_lent`.
        unsafe { pool::lend(write) }.await
    }
}
