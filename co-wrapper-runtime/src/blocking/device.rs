//! What a block driver offers to blocking code, and a part of one.

use std::{fmt, io, rc::Rc, sync::Arc};

#[cfg(all(feature = "file", unix))]
use crate::file::File;

/// A block device with blocking functions, for [`Cursor`](super::Cursor): a driver's blocking twins fill it in with a
/// line each. `dyn Device` is a device, and so are `&D`, `Box<D>`, `Rc<D>` and `Arc<D>` of a device `D`, and, with the feature `file`,
/// a `file::File`.
///
/// # Examples
///
/// ```
/// use co_wrapper::{blocking::Device, co_wrapper};
/// use std::io;
///
/// struct Disk { size: u64 }
///
/// #[co_wrapper(suffix = "_blocking")]
/// impl Disk {
///     async fn read(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
///         buf.fill(0); // it has nothing else
///         Ok(())
///     }
///
///     async fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
///         Err(io::ErrorKind::ReadOnlyFilesystem.into())
///     }
/// }
///
/// impl Device for Disk {
///     fn size(&self) -> io::Result<u64> {
///         Ok(self.size)
///     }
///
///     fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
///         self.read_blocking(offset, buf)
///     }
///
///     fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
///         self.write_blocking(offset, data)
///     }
/// }
///
/// let disk: Box<dyn Device> = Box::new(Disk { size: 1 << 20 });
/// disk.read_at(512, &mut [0; 512])?;
/// # io::Result::Ok(())
/// ```
pub trait Device {
    /// How many bytes it has. Asked anew for each read and write, so it should be cheap: a field, not a request.
    ///
    /// # Errors
    ///
    /// The device's.
    fn size(&self) -> io::Result<u64>;

    /// Fills all of `buf` from the bytes at `offset`, which are all within the device.
    ///
    /// # Errors
    ///
    /// The device's; what `buf` contains is then not defined.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`. It is within the device, unless that [grows](Self::grows): then bytes between
    /// the old end and `offset` are to read as zeros.
    ///
    /// # Errors
    ///
    /// The device's; which bytes were written is then not defined.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes completed writes durable. A device that holds nothing back need not implement it.
    ///
    /// # Errors
    ///
    /// The device's.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Of how many bytes its requests have to be multiples, in offset and length; 1 if nothing is said. If the size is
    /// not a multiple, requests for the last block end where the device ends. (QEMU's `request_alignment`.)
    fn alignment(&self) -> u64 {
        1
    }

    /// Whether writing past the end makes it larger, as with a file. If not, which is the default, writing ends there.
    fn grows(&self) -> bool {
        false
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {
        $(
            impl<D: Device + ?Sized> Device for $pointer {
                fn size(&self) -> io::Result<u64> {
                    (**self).size()
                }

                fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
                    (**self).read_at(offset, buf)
                }

                fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
                    (**self).write_at(offset, data)
                }

                fn flush(&self) -> io::Result<()> {
                    (**self).flush()
                }

                fn alignment(&self) -> u64 {
                    (**self).alignment()
                }

                fn grows(&self) -> bool {
                    (**self).grows()
                }
            }
        )*
    };
}

forward!(&D, Box<D>, Rc<D>, Arc<D>);

/// By its blocking twins. A regular file [grows](Device::grows), and a block device does not. Its size is asked of the
/// system for each request, which costs a system call. With `O_DIRECT`, a last block that is shorter than the others can
/// be neither read nor written: the system refuses it.
#[cfg(all(feature = "file", unix))]
impl Device for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size_blocking()?)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        Ok(self.read_at_blocking(buf, offset)?)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Ok(self.write_at_blocking(data, offset)?)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(self.sync_blocking()?)
    }

    fn alignment(&self) -> u64 {
        self.alignment().offset.into()
    }

    fn grows(&self) -> bool {
        self.as_std().metadata().is_ok_and(|metadata| metadata.is_file())
    }
}

/// A part of a [`Device`], which is a device of a fixed size by itself: what a partition table lists.
///
/// # Examples
///
/// ```
/// use co_wrapper::blocking::{Cursor, Device, Partition};
/// use std::io::Read;
/// # struct Zeros;
/// # impl Device for Zeros {
/// #     fn size(&self) -> std::io::Result<u64> { Ok(1 << 20) }
/// #     fn read_at(&self, _: u64, buf: &mut [u8]) -> std::io::Result<()> { buf.fill(0); Ok(()) }
/// #     fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let disk = Zeros;
///
/// // The second half of `disk`, which has 1 MiB.
/// let half = Partition::new(&disk, 512 << 10, 512 << 10)?;
/// let mut content = Vec::new();
/// Cursor::new(half).read_to_end(&mut content)?;
/// assert_eq!(content.len(), 512 << 10);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy)]
pub struct Partition<D> {
    device: D,
    start: u64,
    len: u64,
}

impl<D: Device> Partition<D> {
    /// The `len` bytes from `start` on.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: they are not all within the device, or do not begin and end at multiples of its alignment. The
    /// device's error where it does not tell its size.
    ///
    /// # Examples
    ///
    /// See [`Partition`].
    pub fn new(device: D, start: u64, len: u64) -> io::Result<Self> {
        let (size, alignment) = (device.size()?, device.alignment().max(1));
        let why = match start.checked_add(len).filter(|end| *end <= size) {
            None => format!("past the end of a device of {size} bytes"),
            Some(end) if start.is_multiple_of(alignment) && (end.is_multiple_of(alignment) || end == size) => {
                return Ok(Self { device, start, len });
            }
            Some(_) => format!("the device's requests have to be multiples of {alignment} bytes"),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a partition of {len} bytes at {start}: {why}")))
    }

    /// The device.
    ///
    /// # Examples
    ///
    /// ```
    /// # use co_wrapper::blocking::{Device, Partition};
    /// fn whole(part: Partition<Box<dyn Device>>) -> Box<dyn Device> {
    ///     part.into_inner()
    /// }
    /// ```
    pub fn into_inner(self) -> D {
        self.device
    }

    /// Where `len` bytes at `offset` of the partition are on the device.
    fn place(&self, offset: u64, len: usize) -> io::Result<u64> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            let why = format!("{len} bytes at {offset}: past the end of a partition of {} bytes", self.len);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(self.start + offset)
    }
}

impl<D: Device> Device for Partition<D> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(self.place(offset, buf.len())?, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.device.write_at(self.place(offset, data.len())?, data)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }

    fn alignment(&self) -> u64 {
        self.device.alignment()
    }
}

impl<D> fmt::Debug for Partition<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("start", &self.start).field("len", &self.len).finish_non_exhaustive()
    }
}
