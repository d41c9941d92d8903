//! Twins of another crate, for the cases.

#![allow(missing_docs, reason = "these are cases, not an interface")]

use co_wrapper::{AioContext, co_wrapper, declare};

pub struct Disk(pub Vec<u8>);

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    pub async fn read(&self, off: usize) -> u8 {
        self.0[off]
    }

    pub async fn try_read(&self, off: usize) -> std::io::Result<u8> {
        self.0.get(off).copied().ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }

    #[co_wrapper(mixed)]
    pub async fn peek(&self, off: usize) -> u8 {
        self.0[off]
    }
}

#[co_wrapper]
pub async fn bdrv_co_flush(x: u32) -> u32 {
    x
}

#[co_wrapper(mixed)]
pub async fn bdrv_co_len(x: u32) -> u32 {
    x
}

#[co_wrapper(timeout)]
pub async fn co_reply(x: u32) -> u32 {
    x
}

pub struct Node {
    pub ctx: AioContext,
}

impl Node {
    #[co_wrapper(ctx = self.ctx)]
    pub async fn co_whose(&self) -> u32 {
        1
    }
}

declare! {
    pub fn bdrv_declared(x: u32) -> u32 = bdrv_co_flush;
}

/// Whose implementations block, or do not.
pub trait Dev: Send + Sync {
    fn name(&self) -> u8 {
        0
    }

    fn get(&self, off: usize) -> u8;
}

impl Dev for Disk {
    fn get(&self, off: usize) -> u8 {
        self.read_blocking(off)
    }
}

pub struct Mem(pub u8);

impl Dev for Mem {
    fn get(&self, _: usize) -> u8 {
        self.0
    }
}

/// Flushes in its destructor.
pub struct Guard(pub u32);

impl Drop for Guard {
    fn drop(&mut self) {
        bdrv_flush(self.0);
    }
}

pub fn size_of_disk(disk: &Disk) -> u8 {
    disk.read_blocking(0)
}

pub fn with<T>(f: impl FnOnce() -> T) -> T {
    f()
}

pub fn with_dyn(f: &mut dyn FnMut()) {
    f();
}

pub async fn generic_async<D: Dev>(dev: &D) -> u8 {
    dev.get(0)
}

/// A mistake that no caller is needed for.
pub async fn bad_in_library(x: u32) -> u32 {
    bdrv_flush(x)
}
