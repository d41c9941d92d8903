//! Opening: the options, and a file of the standard library's.

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
    /// Also for writing.
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

    /// Removes what the file has. Needs [`write`](Self::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// Past the page cache (`O_DIRECT`). Then [`File::alignment`] says what offsets and lengths have to be multiples of. The
    /// system tells it, since Linux 6.1 for files and always for block devices; where it does not,
    /// [`alignment`](Self::alignment) has to.
    ///
    /// A request that is not aligned is an error. A buffer at an address that is not costs a copy.
    pub fn direct(&mut self, direct: bool) -> &mut Self {
        self.direct = direct;
        self
    }

    /// The alignment for [`direct`](Self::direct), instead of what the system tells.
    pub fn alignment(&mut self, offset: u32, memory: u32) -> &mut Self {
        self.alignment = Some(Alignment { offset, memory });
        self
    }

    /// Makes system calls that are quick most of the time on the calling thread: writes to the page cache of at most 1 MiB,
    /// [`extent_at`](File::extent_at) and [`size`](File::size). Without it, they go to another thread, which takes some ten
    /// times as long as such a write.
    ///
    /// Such a call may still wait: for the disk, if it has to read the file system's tables, or, when there is too much to be
    /// written back, for 200 ms on Linux. If two in a row take longer than 1 ms, the second because it waits and not for want
    /// of a processor, the next ones are moved to other threads, for 100 times as long as that one took. So slow calls hold up
    /// a context for at most two calls in a row, and for at most a fiftieth of the time.
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

    /// A file that is open already. It needs no reading and no writing to be asked for; what it was opened for counts, and
    /// with [`direct`](Self::direct) it has to have been opened with `O_DIRECT`. `path` is for messages.
    ///
    /// The file's position moves now and then. So do not use another handle of it that has the same position.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
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
    /// As [`OpenOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path).await
    }

    /// A file that is open already, which messages call `path`: see [`OpenOptions::from_std`].
    pub fn from_std(file: fs::File, path: impl AsRef<Path>) -> Self {
        let how = How { inline: false, align: Alignment::NONE, direct: false };
        Self::new(file, path.as_ref(), how)
    }
}
