//! Opening a file: the options, and `from_std`. The system call that opens is made on the pool, because it may wait.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    error::Error,
    handle::{File, How},
    pool,
    syscall::{self, Alignment},
};

/// How to open a [`File`]: for reading, unless more is asked for.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("disk.raw");
/// let file = co_wrapper::file::File::options().write(true).create(true).inline(true).open_blocking(&path)?;
/// file.write_at_blocking(b"written by this thread", 0)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    write: bool,
    create: bool,
    create_new: bool,
    truncate: bool,
    direct: bool,
    inline: bool,
    alignment: Option<Alignment>,
    flags: i32,
}

impl OpenOptions {
    /// Opens the file for writing too. The default is for reading only.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.write = write;
        self
    }

    /// Makes the file if there is none. Needs [`write`](Self::write).
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Makes the file, and fails if there is one. Needs [`write`](Self::write).
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// Removes the file's contents. Needs [`write`](Self::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// Reads and writes past the page cache (`O_DIRECT`). Then offsets and lengths have to be multiples of what
    /// [`File::alignment`] says. The system tells the alignment for block devices, and since Linux 6.1 for files. Where
    /// it does not, opening fails unless you set it with [`alignment`](Self::alignment).
    ///
    /// A request that is not aligned is an error. A buffer whose address is not aligned costs a copy.
    pub fn direct(&mut self, direct: bool) -> &mut Self {
        self.direct = direct;
        self
    }

    /// The alignment for [`direct`](Self::direct), in bytes, instead of what the system tells: of offsets and lengths,
    /// and of addresses in memory. Both must be powers of two, or opening fails with `InvalidInput`.
    pub fn alignment(&mut self, offset: u32, memory: u32) -> &mut Self {
        self.alignment = Some(Alignment { offset, memory });
        self
    }

    /// Makes system calls that are quick most of the time on the calling thread: writes to the page cache of at most 1
    /// MiB, [`extent_at`](File::extent_at) and [`size`](File::size). Without it, they go to another thread, which takes
    /// some ten times as long as such a write.
    ///
    /// Such a call may still wait: for the disk, if it has to read the file system's tables, or for up to 200 ms on
    /// Linux, if too much is to be written back. Suppose that two calls in a row take longer than 1 ms, and that the
    /// second one waited for something other than a processor. Then the next calls are moved to other threads, for 100
    /// times as long as the second one took. So a context is held up by at most two slow calls in a row, and for at
    /// most a fiftieth of the time.
    pub fn inline(&mut self, inline: bool) -> &mut Self {
        self.inline = inline;
        self
    }

    /// More flags for `open`, such as `O_DSYNC`. With a flag that makes each write durable, do not set
    /// [`inline`](Self::inline): no write is quick then.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.flags = flags;
        self
    }

    /// Opens the file at `path`, on another thread. Its blocking twin is [`open_blocking`](Self::open_blocking).
    ///
    /// # Errors
    ///
    /// Those of `open`; for a directory; with [`direct`](Self::direct), `Unsupported` if the system has none, and
    /// `InvalidInput` if the alignment is not known or is no power of two.
    pub async fn open(&self, path: impl AsRef<Path>) -> Result<File, Error> {
        let (options, path) = (self.clone(), PathBuf::from(path.as_ref()));
        pool::check().map_err(|error| Error::opening(&path, error))?;
        pool::run(move || options.open_here(&path)).await
    }

    /// Takes a file that is open already. Whether it can be read and written depends on how it was opened, not on
    /// [`write`](Self::write). With [`direct`](Self::direct), it must have been opened with `O_DIRECT`. `path` is for
    /// messages only.
    ///
    /// Some operations move the file's position. So do not use another handle that shares this position.
    ///
    /// # Errors
    ///
    /// The same as [`open`](Self::open).
    pub fn from_std(&self, file: fs::File, path: impl AsRef<Path>) -> Result<File, Error> {
        let path = path.as_ref();
        let align = self.align(&file).map_err(|error| Error::opening(path, error))?;
        // What goes past the page cache always waits.
        Ok(File::new(file, path, How { inline: self.inline && !self.direct, align, direct: self.direct }))
    }

    /// Opens the file, on this thread.
    fn open_here(&self, path: &Path) -> Result<File, Error> {
        let failed = |error| Error::opening(path, error);
        let mut flags = self.flags;
        if self.direct {
            flags |= syscall::DIRECT.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
        }
        let mut options = fs::OpenOptions::new();
        options.read(true).write(self.write).create(self.create).create_new(self.create_new).truncate(self.truncate);
        let file = options.custom_flags(flags).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(rustix::io::Errno::ISDIR.into()));
        }
        self.from_std(file, path)
    }

    fn align(&self, file: &fs::File) -> io::Result<Alignment> {
        if !self.direct {
            return Ok(Alignment::NONE);
        }
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let align = match self.alignment {
            Some(align) => Some(align),
            None => syscall::alignment(file)?,
        };
        let align = align
            .ok_or_else(|| invalid("the system does not tell the alignment for O_DIRECT; set it in the options"))?;
        if align.offset.is_power_of_two() && align.memory.is_power_of_two() {
            Ok(align)
        } else {
            Err(invalid("the alignment for O_DIRECT is no power of two"))
        }
    }
}

impl File {
    /// How to open a file: the options, none of them set.
    pub fn options() -> OpenOptions {
        OpenOptions::default()
    }

    /// Opens the file at `path` for reading. Its blocking twin is [`open_blocking`](Self::open_blocking).
    ///
    /// # Errors
    ///
    /// The same as [`OpenOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path).await
    }

    /// A file that is open already, which messages call `path`: see [`OpenOptions::from_std`].
    pub fn from_std(file: fs::File, path: impl AsRef<Path>) -> Self {
        let how = How { inline: false, align: Alignment::NONE, direct: false };
        Self::new(file, path.as_ref(), how)
    }
}
