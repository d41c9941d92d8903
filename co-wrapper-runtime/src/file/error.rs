//! What went wrong with a file: which operation, of which file, where in it, and how much of it was done.

use std::{
    error,
    fmt::{self, Display, Formatter},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An operation on a file, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Open,
    Read,
    Write,
    WriteZeroes,
    Discard,
    Sync,
    Size,
    SetLen,
    Extent,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "opening",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::WriteZeroes => "zeroing",
            Self::Discard => "discarding",
            Self::Sync => "syncing",
            Self::Size => "asking for the size of",
            Self::SetLen => "setting the length of",
            Self::Extent => "looking for data in",
        }
    }
}

/// An operation on a part of a file: what an error names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub operation: Operation,
    pub offset: u64,
    pub length: u64,
}

impl Request {
    /// One that concerns the whole file.
    pub fn whole(operation: Operation) -> Self {
        Self { operation, offset: 0, length: 0 }
    }
}

/// An error of a [`File`](super::File), with what was asked of which file.
///
/// It converts into an [`io::Error`] of the same [`kind`](Self::kind), which contains it; `downcast` gets it back.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("short.raw");
/// std::fs::write(&path, "twelve bytes")?;
/// let file = co_wrapper::file::File::open_blocking(&path)?;
/// let error = file.read_at_blocking(&mut [0; 8], 8).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
/// assert_eq!((error.path(), error.offset(), error.length()), (&*path, 8, 8));
/// assert_eq!(error.completed(), 4);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
// Boxed, so that a result is small where there is no error.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    path: Arc<Path>,
    request: Request,
    completed: u64,
    source: io::Error,
}

impl Error {
    #[cold]
    pub(super) fn new(path: &Arc<Path>, request: Request, completed: u64, source: io::Error) -> Self {
        Self(Box::new(Inner { path: Arc::clone(path), request, completed, source }))
    }

    #[cold]
    pub(super) fn opening(path: &Path, source: io::Error) -> Self {
        Self::new(&PathBuf::from(path).into(), Request::whole(Operation::Open), 0, source)
    }

    /// Turns the error of a part into that of the whole `request`, of which `before` bytes had been done before the
    /// part.
    #[cold]
    pub(super) fn within(mut self, request: Request, before: u64) -> Self {
        self.0.completed += before;
        self.0.request = request;
        self
    }

    /// The file, as it was named when it was opened.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Where in the file, in bytes. 0 if the operation concerned the whole file.
    pub fn offset(&self) -> u64 {
        self.0.request.offset
    }

    /// How many bytes were asked for. 0 if the operation concerned the whole file.
    pub fn length(&self) -> u64 {
        self.0.request.length
    }

    /// How many bytes of a read or a write were done before the error, from [`offset`](Self::offset) on. What a buffer holds
    /// after them is not specified.
    pub fn completed(&self) -> u64 {
        self.0.completed
    }

    /// The kind: [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for a read past the end of the file,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a range that no file can have or that is not
    /// [aligned](super::File::alignment), or what the system call said.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.source.kind()
    }

    /// The error's number, if a system call returned one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.source.raw_os_error()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Inner { path, request, completed, source } = &*self.0;
        write!(f, "{} {}", request.operation.name(), path.display())?;
        if request.length > 0 {
            write!(f, " at {}, {} bytes", request.offset, request.length)?;
        }
        if *completed > 0 {
            write!(f, ", of which {completed} were done")?;
        }
        write!(f, ": {source}")
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0.source)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}
