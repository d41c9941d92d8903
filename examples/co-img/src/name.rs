//! How images are named: a path, `nbd://host[:port]/export`, `nbd+unix:///export?socket=path`, `null-co://SIZE`; and how
//! sizes are written.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::refused;

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A file or a block device.
    Path(PathBuf),
    /// An export of an NBD server.
    Nbd(NbdUrl),
    /// Nothing, of so many bytes: reads as zeroes, forgets what is written.
    Null(u64),
}

/// An NBD export, and how long to put up with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdUrl {
    /// As it was written.
    pub text: String,
    /// Where the server listens.
    pub address: Address,
    /// The export's name.
    pub export: String,
    /// `timeout=`, in seconds: a server that takes longer to open fails, and so does one that owes a reply twice as long.
    pub patience: Duration,
    /// `reconnect=`, in seconds: for how long a lost connection is tried to be made again. 0: not at all.
    pub reconnect: Duration,
}

/// Where an NBD server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host, by name or number, and its port.
    Tcp(String, u16),
    /// A socket's path.
    Unix(PathBuf),
}

impl Name {
    /// Understands a name.
    ///
    /// # Errors
    /// When it begins like a URL of ours and then is none.
    pub fn parse(text: &str) -> io::Result<Self> {
        match text.split_once("://") {
            Some(("nbd" | "nbd+unix", _)) => NbdUrl::parse(text).map(Name::Nbd),
            Some(("nbds" | "nbds+unix", _)) => Err(refused("NBD over TLS is not supported")),
            Some(("null-co", size)) => parse_size(size).map(Name::Null),
            _ if text.is_empty() => Err(refused("the name is empty")),
            _ => Ok(Name::Path(text.into())),
        }
    }

    /// What `name`, found in an image of this name, refers to: relative paths begin where that image is.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and for a relative path in an image that is not a file.
    pub fn relative(&self, name: &str) -> io::Result<Self> {
        match (Name::parse(name)?, self) {
            (Name::Path(path), Name::Path(image)) => Ok(Name::Path(image.parent().unwrap_or(Path::new("")).join(path))),
            (Name::Path(path), _) if path.is_relative() => Err(refused(format!("'{name}' is relative to no file"))),
            (other, _) => Ok(other),
        }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Name::Path(path) => path.display().fmt(f),
            Name::Nbd(url) => url.text.fmt(f),
            Name::Null(size) => write!(f, "null-co://{size}"),
        }
    }
}

impl NbdUrl {
    fn parse(url: &str) -> io::Result<Self> {
        let bad = || refused("not nbd://host:port/export or nbd+unix:///export?socket=path");
        let decode =
            |text| percent_encoding::percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| bad());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, export) = rest.split_once('/').unwrap_or((rest, ""));
        let known = ["socket=", "timeout=", "reconnect="];
        let unknown = |word: &&str| !word.is_empty() && !known.iter().any(|name| word.starts_with(name));
        if let Some(other) = query.split('&').find(unknown) {
            return Err(refused(format!("'{other}' is not socket=, timeout= or reconnect=")));
        }
        let option = |name| query.split('&').find_map(|option| option.strip_prefix(name));
        let seconds = |name, default| option(name).map_or(Ok(default), str::parse).map_err(|_| bad());
        let address = match (scheme, option("socket=")) {
            ("nbd+unix", Some(path)) if host.is_empty() => Address::Unix(decode(path)?.into()),
            ("nbd", None) if !host.is_empty() => {
                let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
                let (host, port) = port.unwrap_or((host, "10809"));
                Address::Tcp(decode(host.trim_matches(['[', ']']))?, port.parse().map_err(|_| bad())?)
            }
            _ => return Err(bad()),
        };
        let export = decode(export)?;
        if export.len() > 4096 {
            return Err(refused("the export's name is longer than NBD allows"));
        }
        let patience = Duration::from_secs(u64::from(seconds("timeout=", 30_u32)?.max(1)));
        let reconnect = Duration::from_secs(u64::from(seconds("reconnect=", 5_u32)?));
        Ok(NbdUrl { text: url.into(), address, export, patience, reconnect })
    }
}

/// The most bytes that an image may have: QEMU's limit, a multiple of 512 that is no negative 64 bit number.
pub const MOST: u64 = i64::MAX as u64 & !511;

/// Bytes, as `4096`, `64k`, `1.5G`; the suffixes are b, k, M, G, T, P and E, in powers of 1024.
///
/// # Errors
/// When it is no number, or too big for an image.
pub fn parse_size(text: &str) -> io::Result<u64> {
    let bad = || refused(format!("'{text}' is not a size: a number and b, k, M, G, T, P or E"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => return Err(bad()),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !plain || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let size = match digits.parse::<u64>() {
        Ok(number) => number.checked_mul(1 << shift).filter(|size| *size <= MOST),
        Err(_) => {
            let size = digits.parse::<f64>().map_err(|_| bad())? * (1_u64 << shift) as f64;
            (size < MOST as f64).then_some(size as u64) // as a float, MOST is the next power of two
        }
    };
    size.ok_or_else(|| refused(format!("'{text}' is more than an image can have")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let nbd = |url: &str| match Name::parse(url) {
            Ok(Name::Nbd(url)) => Some((url.address, url.export, url.patience.as_secs(), url.reconnect.as_secs())),
            _ => None,
        };
        let tcp = |host: &str, port| Address::Tcp(host.into(), port);
        assert_eq!(nbd("nbd://h"), Some((tcp("h", 10809), "".into(), 30, 5)));
        assert_eq!(nbd("nbd://[::1]:7/a%20b/c?timeout=4&reconnect=0"), Some((tcp("::1", 7), "a b/c".into(), 4, 0)));
        assert_eq!(nbd("nbd+unix:///x?socket=/a%3fb"), Some((Address::Unix("/a?b".into()), "x".into(), 30, 5)));
        for bad in [
            "nbds://h/",
            "nbd+unix:///x",
            "nbd://h:x/",
            "nbd:///x",
            "nbd://h/?timeout=x",
            "nbd://h/?reconect=5",
            "null-co://x",
            "",
        ] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Name::parse("null-co://1k").unwrap(), Name::Null(1024));
        assert_eq!(Name::parse("a/nbd:b").unwrap(), Name::Path("a/nbd:b".into()));
    }

    #[test]
    fn names_in_images() {
        let image = Name::parse("/d/top.qcow2").unwrap();
        assert_eq!(image.relative("base").unwrap(), Name::Path("/d/base".into()));
        assert_eq!(image.relative("/base").unwrap(), Name::Path("/base".into()));
        assert!(matches!(image.relative("nbd://h").unwrap(), Name::Nbd(_)));
        assert!(Name::parse("nbd://h").unwrap().relative("base").is_err());
    }

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("512", 512),
            ("64k", 65536),
            ("1.5M", 3 << 19),
            ("2G", 2 << 30),
            ("7E", 7 << 60),
            ("7.5E", 15 << 59),
        ];
        for (text, size) in good {
            assert_eq!(parse_size(text).unwrap(), size, "{text}");
        }
        for bad in ["", "k", "-1", "1x", "8E", "8.0E", "99999999999999999999", "1e3", "inf", "0x10", "1 k", "+1"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
