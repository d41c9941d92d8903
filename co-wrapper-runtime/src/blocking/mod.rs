//! What blocking code expects, over what is async: an iterator over a stream, a reader and writer over tokio's or
//! `futures`' ones, and a reader and writer over a block device.
//!
//! | from | you get | with the feature |
//! |---|---|---|
//! | a `Stream` | `Iter`, an [`Iterator`] | `stream` |
//! | a `Stream` that lives in a context | `IterIn`, an [`Iterator`] | `stream` |
//! | tokio's `AsyncRead`, `AsyncWrite`, `AsyncSeek`, `AsyncBufRead` | `Io`, with [`Read`], [`Write`], [`Seek`], [`BufRead`] | `tokio` |
//! | those of `futures` | `Io`, with the same | `futures-io` |
//! | a [`Device`], such as a block driver's blocking twins | [`Cursor`], with the same | |
//!
//! Each of their functions that may wait is a blocking call, as [`block_on`](crate::block_on) is one: it works inside
//! other runtimes, serves the thread's contexts while it waits, nests in coroutine context, and takes no lock and
//! allocates nothing if it need not wait. [`Cursor`] makes no call of its own: the device's functions are its calls.
//!
//! [`Read`]: std::io::Read
//! [`Write`]: std::io::Write
//! [`Seek`]: std::io::Seek
//! [`BufRead`]: std::io::BufRead

mod cursor;
mod device;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod io;
#[cfg(feature = "stream")]
mod iter;
#[cfg(feature = "stream")]
mod iter_in;
pub(crate) mod pair;
#[cfg(feature = "tokio")]
mod tokio_io;

pub use cursor::Cursor;
pub use device::{Device, Partition};
#[cfg(any(feature = "tokio", feature = "futures-io"))]
pub use io::{Futures, Io, Tokio};
#[cfg(feature = "stream")]
pub use iter::Iter;
#[cfg(feature = "stream")]
#[doc(hidden)]
pub use iter::iter_of;
#[cfg(feature = "stream")]
pub use iter_in::IterIn;
#[cfg(feature = "stream")]
#[doc(hidden)]
pub use iter_in::iter_in_of;
