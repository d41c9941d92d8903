//! A position on a block device: std's reading, writing and seeking over requests with an offset.
//!
//! A read or write becomes at most one request for whole blocks. What is smaller than a block, or begins within one,
//! goes through a buffer of one block and ends where the block ends; std's callers then go on with the rest.

use std::{
    fmt,
    io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom, Write},
    mem,
};

use super::device::Device;

/// How much `fill_buf` reads ahead, at least a block.
const AHEAD: u64 = 8 << 10;

/// A position on a [`Device`]: std's [`Read`], [`Write`], [`Seek`] and [`BufRead`] over it, as [`io::Cursor`] has them
/// over a slice. So crates that want `Read + Write + Seek`, such as partition tables, file systems and archives, take
/// a block driver.
///
/// Reading ends at the device's end, with a short read and then with 0 bytes. So does writing on a device of a fixed
/// size, where `write_all` then fails with [`WriteZero`](ErrorKind::WriteZero); one that [grows](Device::grows) is made
/// larger. Seeking past the end is legal, before the beginning is `InvalidInput`, and neither makes a request.
///
/// Nothing is buffered: a read is a request, a write is one, and both see at once what others write. So wrap a crate's
/// many small reads in a [`BufReader`](io::BufReader) or its like if they cost too much. Only [`BufRead`]'s functions
/// read ahead, up to 8 KiB, which writing and seeking forget.
///
/// On a device whose requests have to be [aligned](Device::alignment), bytes of a part of a block are written by
/// reading the block, changing it and writing it back. Two cursors that write to different parts of one block at the
/// same time may then undo each other's writes.
///
/// # Examples
///
/// ```
/// use co_wrapper::blocking::{Cursor, Device};
/// use std::{io::{self, Read, Seek, SeekFrom, Write}, sync::Mutex};
///
/// struct Memory(Mutex<Vec<u8>>);
/// impl Device for Memory {
///     fn size(&self) -> io::Result<u64> {
///         Ok(self.0.lock().unwrap().len() as u64)
///     }
///     fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
///         buf.copy_from_slice(&self.0.lock().unwrap()[offset as usize..][..buf.len()]);
///         Ok(())
///     }
///     fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
///         self.0.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
///         Ok(())
///     }
/// }
///
/// let mut cursor = Cursor::new(Memory(Mutex::new(vec![0; 1024])));
/// cursor.seek(SeekFrom::End(-4))?;
/// assert_eq!(cursor.write(b"too long")?, 4);
/// cursor.seek_relative(-4)?;
/// let mut end = String::new();
/// cursor.read_to_string(&mut end)?;
/// assert_eq!(end, "too ");
/// # io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Cursor<D> {
    device: D,
    position: u64,
    /// What was read ahead, and where it begins.
    ahead: (u64, Vec<u8>),
}

impl<D> Cursor<D> {
    /// At the device's beginning.
    ///
    /// # Examples
    ///
    /// See [`Cursor`].
    pub fn new(device: D) -> Self {
        Self { device, position: 0, ahead: (0, Vec::new()) }
    }

    /// The position, as [`Seek::stream_position`] has it, without a `Result`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use co_wrapper::blocking::Cursor;
    /// assert_eq!(Cursor::new(()).position(), 0);
    /// ```
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The device.
    ///
    /// # Examples
    ///
    /// ```
    /// # use co_wrapper::blocking::Cursor;
    /// assert_eq!(Cursor::new("a disk").get_ref(), &"a disk");
    /// ```
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// The device, to change. What was read ahead is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// # use co_wrapper::blocking::Cursor;
    /// *Cursor::new("a disk").get_mut() = "another";
    /// ```
    pub fn get_mut(&mut self) -> &mut D {
        self.ahead.1.clear();
        &mut self.device
    }

    /// The device.
    ///
    /// # Examples
    ///
    /// ```
    /// # use co_wrapper::blocking::Cursor;
    /// assert_eq!(Cursor::new("a disk").into_inner(), "a disk");
    /// ```
    pub fn into_inner(self) -> D {
        self.device
    }
}

impl<D: Device> Cursor<D> {
    /// Reads `len` bytes at `at` into the buffer of what was read ahead. That is empty from here on, and nobody sees the
    /// bytes before they are put there: the device may fail or panic, and a destructor may read while that unwinds.
    fn load(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = mem::take(&mut self.ahead.1);
        bytes.clear();
        bytes.resize(len as usize, 0);
        // A growing device has nothing to read yet where a write past its end goes.
        if len > 0 {
            self.device.read_at(at, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// Keeps the room of bytes that are not needed any more.
    fn reuse(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.ahead.1 = bytes;
    }

    /// How many of the `len` bytes at the position one request for whole blocks can take, on a device that ends at
    /// `end`; how far into its block the position is; and a block's length.
    fn whole_blocks(&self, len: usize, end: u64) -> (usize, u64, u64) {
        let alignment = self.device.alignment().max(1);
        let within = self.position % alignment;
        let whole = match within {
            // The last block may be shorter.
            0 if self.position + len as u64 >= end => len,
            0 => len - (len as u64 % alignment) as usize,
            _ => 0,
        };
        (whole, within, alignment)
    }
}

/// As many of `len` bytes as there are before `end`.
fn until(end: u64, position: u64, len: usize) -> usize {
    end.saturating_sub(position).min(len as u64) as usize
}

impl<D: Device> Read for Cursor<D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.device.size()?;
        let len = until(size, self.position, buf.len());
        if len == 0 {
            return Ok(0);
        }
        let (whole, within, alignment) = self.whole_blocks(len, size);
        let read = if whole > 0 {
            self.device.read_at(self.position, &mut buf[..whole])?;
            whole
        } else {
            let block = self.position - within;
            let bytes = self.load(block, alignment.min(size - block))?;
            let rest = &bytes[within as usize..];
            let read = len.min(rest.len());
            buf[..read].copy_from_slice(&rest[..read]);
            self.reuse(bytes);
            read
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<D: Device> Write for Cursor<D> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let size = self.device.size()?;
        let mut len = until(size, self.position, data.len());
        let grows = len < data.len() && self.device.grows();
        if grows {
            len = until(u64::MAX, self.position, data.len());
        }
        if len == 0 {
            return if grows && !data.is_empty() { Err(ErrorKind::FileTooLarge.into()) } else { Ok(0) };
        }
        let (whole, within, alignment) = self.whole_blocks(len, size);
        let written = if whole > 0 {
            self.ahead.1.clear();
            self.device.write_at(self.position, &data[..whole])?;
            whole
        } else {
            let block = self.position - within;
            let written = len.min((alignment - within) as usize);
            let mut bytes = self.load(block, alignment.min(size.saturating_sub(block)))?;
            let (from, to) = (within as usize, within as usize + written);
            bytes.resize(bytes.len().max(to), 0);
            bytes[from..to].copy_from_slice(&data[..written]);
            self.device.write_at(block, &bytes)?;
            self.reuse(bytes);
            written
        };
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.device.flush()
    }
}

impl<D: Device> Seek for Cursor<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.device.size()?.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let Some(position) = position else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "invalid seek to a negative or overflowing position"));
        };
        self.ahead.1.clear();
        self.position = position;
        Ok(position)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.position)
    }
}

impl<D: Device> BufRead for Cursor<D> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (from, bytes) = &self.ahead;
        if !(*from..*from + bytes.len() as u64).contains(&self.position) {
            let size = self.device.size()?;
            if self.position >= size {
                return Ok(&[]);
            }
            let alignment = self.device.alignment().max(1);
            let block = self.position - self.position % alignment;
            self.ahead = (block, self.load(block, AHEAD.next_multiple_of(alignment).min(size - block))?);
        }
        Ok(&self.ahead.1[(self.position - self.ahead.0) as usize..])
    }

    fn consume(&mut self, amount: usize) {
        // As std's `BufReader`: no further than what was shown.
        let end = self.ahead.0 + self.ahead.1.len() as u64;
        self.position = self.position.saturating_add(amount as u64).min(end.max(self.position));
    }
}

impl<D> fmt::Debug for Cursor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position).finish_non_exhaustive()
    }
}
