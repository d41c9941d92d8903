//! Files for block drivers: [`File`] is read and written at offsets, awaited or blocking, many requests at a time.
//!
//! It is as fast as a system call where the page cache has the data, stalls nobody where the disk has to be waited for, and
//! is sound when a future is dropped or forgotten. QEMU's `file-posix.c` is its model.
//!
//! # What runs where
//!
//! | operation | on the calling thread | on another thread |
//! |---|---|---|
//! | read | what the page cache has, in one system call (`preadv2` with `RWF_NOWAIT`) | the rest |
//! | write, [`extent_at`](File::extent_at), [`size`](File::size) | if it was opened with [`inline`](OpenOptions::inline), and as long as they are quick | else |
//! | everything else; past the page cache; on systems other than Linux | | always |
//!
//! The other threads are the process's, at most 64. More requests than that wait for their turn.
//!
//! # Buffers
//!
//! - *Borrowed and awaited*, such as [`read_at`](File::read_at): system calls use the buffer within one poll only. What another
//!   thread reads or writes is copied.
//! - *Owned and awaited*, such as [`read_at_owned`](File::read_at_owned): the buffer moves to the other thread and back.
//! - *Blocking*, such as [`read_at_blocking`](File::read_at_blocking): the caller's buffer is lent to the other thread, and the
//!   caller waits for it, also if a panic passes by. A blocking call serves the thread's contexts meanwhile.
//!
//! # Futures that are dropped
//!
//! If a future is dropped or forgotten before it is ready, the caller's buffer is not touched after that. A request
//! that another thread has not begun is not made. A request that it has begun goes on, and [`settle`](File::settle)
//! waits for those that change the file.
//!
//! # Durability
//!
//! A write that has completed is durable after the next [`sync`](File::sync) that succeeds. If a write's future was
//! dropped, nobody learns whether the write was made.

mod blocking;
mod buffer;
mod error;
mod handle;
mod open;
mod owned;
mod pace;
mod pool;
mod syscall;
mod transfer;
mod whole;

pub use error::Error;
pub use handle::File;
pub use open::OpenOptions;
pub use syscall::{Alignment, Extent, ExtentKind, Zeroes};
