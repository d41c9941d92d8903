//! What can go wrong, and the one line that says so.

use std::fmt::{self, Display, Formatter};
use std::io;

/// What was being done when it went wrong. `compare` makes its exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Making sense of the command line.
    Parse,
    /// Opening an image, or one that it is based on.
    Open,
    /// Finding out where an image has data.
    Map,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making what was written durable.
    Flush,
    /// Making a new image.
    Create,
    /// Printing the result.
    Print,
}

impl Display for Doing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doing::Parse => "cannot use",
            Doing::Open => "cannot open",
            Doing::Map => "cannot map",
            Doing::Read => "cannot read",
            Doing::Write => "cannot write",
            Doing::Flush => "cannot flush",
            Doing::Create => "cannot create",
            Doing::Print => "cannot print to",
        })
    }
}

/// A command's failure: what it did to which image, and why that failed.
#[derive(Debug)]
pub struct Error {
    /// What was being done.
    pub doing: Doing,
    /// The image, as the user named it, or the option.
    pub name: String,
    /// Why it failed.
    pub cause: io::Error,
    /// The target, when it was written in place and is now neither what it was nor what it should be.
    pub incomplete: Option<String>,
}

impl Error {
    /// A failure of `doing` to `name`.
    pub fn new(doing: Doing, name: impl Display, cause: io::Error) -> Self {
        Error { doing, name: name.to_string(), cause, incomplete: None }
    }

    /// Makes errors of one kind, for `map_err`.
    pub fn at(doing: Doing, name: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |cause| Error::new(doing, name, cause)
    }
}

/// One line, whatever an image's header or a server put into it.
impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut line = format!("{} '{}': {}", self.doing, self.name, self.cause);
        if let Some(target) = &self.incomplete {
            line += &format!("; '{target}' is incomplete");
        }
        f.write_str(&line.replace(char::is_control, " "))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// What commands return.
pub type Result<T> = std::result::Result<T, Error>;

/// Data that does not make sense.
pub(crate) fn invalid(what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// A request or an option that does not make sense.
pub(crate) fn refused(what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line() {
        let mut error = Error::new(Doing::Open, "a\nb", invalid("x\r\n\x1b[31my"));
        assert_eq!(error.to_string(), "cannot open 'a b': x   [31my");
        error.incomplete = Some("nbd://h/".into());
        assert!(error.to_string().ends_with("; 'nbd://h/' is incomplete"), "{error}");
    }
}
