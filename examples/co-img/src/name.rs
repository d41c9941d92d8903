//! How images are named: a path, `file:path`, `nbd://host[:port]/export`, `nbd+unix:///export?socket=path`,
//! `nbd:host:port[:exportname=export]`, `nbd:unix:path[:exportname=export]`, `null-co://SIZE`, `json:{…}`; and how
//! sizes are written.

mod json;

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::refused;
use crate::open::ImageFormat;

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
    /// `timeout=`, in seconds: a server that takes longer to open fails, and so does one that owes a reply twice as
    /// long.
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

/// A name as it is on a command line: not always text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(OsString);

impl From<OsString> for ImageName {
    fn from(name: OsString) -> Self {
        ImageName(name)
    }
}

impl AsRef<OsStr> for ImageName {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl Display for ImageName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Name {
    /// Understands a name, as qemu-img does: what has a colon before its first slash begins with a protocol.
    ///
    /// # Errors
    /// When the protocol is unknown, or the rest makes no sense to it; when it names a format as well (`json:`).
    pub fn parse(text: impl AsRef<OsStr>) -> io::Result<Self> {
        match Name::parse_with_format(text)? {
            (name, None) => Ok(name),
            (_, Some(format)) => {
                Err(refused(format!("it says that the format is {}, which has no place here", format.name())))
            }
        }
    }

    /// Like [`parse`](Self::parse); and a `json:{…}` may name the format, too.
    ///
    /// # Errors
    /// The same as [`parse`](Self::parse).
    pub fn parse_with_format(text: impl AsRef<OsStr>) -> io::Result<(Self, Option<ImageFormat>)> {
        let os = text.as_ref();
        if os.is_empty() {
            return Err(refused("the name is empty"));
        }
        let bytes = os.as_bytes();
        let Some(colon) = bytes.iter().position(|byte| matches!(byte, b':' | b'/')).filter(|at| bytes[*at] == b':')
        else {
            return Ok((Name::Path(os.into()), None));
        };
        let rest = OsStr::from_bytes(&bytes[colon + 1..]);
        let text = || os.to_str().ok_or_else(|| refused("it is not text"));
        let name = match &bytes[..colon] {
            b"file" | b"host_device" if rest.is_empty() => return Err(refused("the name is empty")),
            b"file" | b"host_device" => Name::Path(rest.into()),
            b"nbd" | b"nbd+unix" if rest.as_bytes().starts_with(b"//") => Name::Nbd(NbdUrl::parse(text()?)?),
            b"nbd" => Name::Nbd(NbdUrl::parse_plain(text()?)?),
            b"nbds" | b"nbds+unix" => return Err(refused("NBD over TLS is not supported")),
            // QEMU's default, for one that nobody gave a size.
            b"null-co" if rest.as_bytes() == b"//" => Name::Null(1 << 30),
            b"null-co" if rest.as_bytes().starts_with(b"//") => Name::Null(parse_size(&text()?[colon + 3..])?),
            b"json" => return json::parse(&text()?[colon + 1..]),
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(refused(format!("unknown protocol '{other}'; a file of that name is ./{}", os.display())));
            }
        };
        Ok((name, None))
    }

    /// What `name`, found in an image of this name, refers to, and of which format it is, if it says so: relative paths
    /// begin where that image is. As in QEMU, those with a protocol do not.
    ///
    /// # Errors
    /// The same as [`parse`](Self::parse); and for a relative path in an image that is not a file.
    pub fn relative(&self, name: &str) -> io::Result<(Self, Option<ImageFormat>)> {
        let plain = name.find([':', '/']).is_none_or(|at| name.as_bytes()[at] == b'/');
        match (Name::parse_with_format(name)?, self) {
            ((Name::Path(path), None), Name::Path(image)) if plain => {
                Ok((Name::Path(image.parent().unwrap_or(Path::new("")).join(path)), None))
            }
            ((Name::Path(path), _), _) if plain && path.is_relative() => {
                Err(refused(format!("'{name}' is relative to no file")))
            }
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

/// How long to put up with a server, and with a lost connection, unless the URL says.
const PATIENCE: Duration = Duration::from_secs(30);
const RECONNECT: Duration = Duration::from_secs(5);

impl NbdUrl {
    /// An export at an address, with the usual patience.
    fn new(text: &str, address: Address, export: &str) -> io::Result<Self> {
        if export.len() > 4096 {
            return Err(refused("the export's name is longer than NBD allows"));
        }
        let (text, export) = (text.to_owned(), export.to_owned());
        Ok(NbdUrl { text, address, export, patience: PATIENCE, reconnect: RECONNECT })
    }

    /// `nbd:host:port[:exportname=export]` and `nbd:unix:path[:exportname=export]`.
    fn parse_plain(text: &str) -> io::Result<Self> {
        let bad = || refused("not nbd:host:port[:exportname=export] or nbd:unix:path[:exportname=export]");
        let (address, export) = text.split_once(":exportname=").unwrap_or((text, ""));
        let address = match address.strip_prefix("nbd:").ok_or_else(bad)? {
            unix if unix.starts_with("unix:") && unix.len() > 5 => Address::Unix(unix[5..].into()),
            tcp => {
                let (host, port) = tcp.rsplit_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(bad)?;
                if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
                    return Err(bad());
                }
                Address::Tcp(host.trim_matches(['[', ']']).into(), port.parse().map_err(|_| bad())?)
            }
        };
        NbdUrl::new(text, address, export)
    }

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
        let patience = Duration::from_secs(u64::from(seconds("timeout=", PATIENCE.as_secs() as u32)?.max(1)));
        let reconnect = Duration::from_secs(u64::from(seconds("reconnect=", RECONNECT.as_secs() as u32)?));
        Ok(NbdUrl { patience, reconnect, ..NbdUrl::new(url, address, &decode(export)?)? })
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
        assert_eq!(Name::parse("null-co://").unwrap(), Name::Null(1 << 30));
        assert_eq!(Name::parse("a/nbd:b").unwrap(), Name::Path("a/nbd:b".into()));
    }

    #[test]
    fn names_with_colons() {
        for (name, path) in [
            ("./a:b", "./a:b"),
            ("/x:y", "/x:y"),
            ("a/b:c", "a/b:c"),
            ("file:a", "a"),
            ("file:/a:b", "/a:b"),
            ("file:a:b", "a:b"),
            ("file:file:a", "file:a"),
            ("host_device:/dev/x", "/dev/x"),
        ] {
            assert_eq!(Name::parse(name).unwrap(), Name::Path(path.into()), "{name}");
        }
        for (bad, words) in [
            ("a:b", "unknown protocol 'a'; a file of that name is ./a:b"),
            (":b", "unknown protocol ''"),
            ("rbd:pool/x", "unknown protocol 'rbd'"),
            ("http://h/x", "unknown protocol 'http'"),
            ("file:", "empty"),
            ("", "empty"),
        ] {
            let error = Name::parse(bad).unwrap_err().to_string();
            assert!(error.contains(words), "{bad}: {error}");
        }
        let odd = OsStr::from_bytes(b"./\xff:x");
        assert_eq!(Name::parse(odd).unwrap(), Name::Path(odd.into()));
        let odd = OsStr::from_bytes(b"file:\xff");
        assert_eq!(Name::parse(odd).unwrap(), Name::Path(OsStr::from_bytes(b"\xff").into()));
    }

    #[test]
    fn plain_nbd_names() {
        for (name, address, export) in [
            ("nbd:h:7", Address::Tcp("h".into(), 7), ""),
            ("nbd:[::1]:7:exportname=a/b:c", Address::Tcp("::1".into(), 7), "a/b:c"),
            ("nbd:unix:/a/b", Address::Unix("/a/b".into()), ""),
            ("nbd:unix:a:exportname=x y%20", Address::Unix("a".into()), "x y%20"),
        ] {
            let Ok(Name::Nbd(url)) = Name::parse(name) else { panic!("{name}") };
            assert_eq!((url.address, &*url.export, &*url.text), (address, export, name));
        }
        for bad in ["nbd:", "nbd:h", "nbd:h:", "nbd::7", "nbd:h:x", "nbd:unix:", "nbd:::1:7", "nbd:h:70000"] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_in_images() {
        let image = Name::parse("/d/top.qcow2").unwrap();
        let path = |path: &str| (Name::Path(path.into()), None);
        assert_eq!(image.relative("base").unwrap(), path("/d/base"));
        assert_eq!(image.relative("/base").unwrap(), path("/base"));
        assert_eq!(image.relative("./a:b").unwrap(), path("/d/./a:b"));
        assert_eq!(image.relative("file:base").unwrap(), path("base")); // as in QEMU
        assert!(matches!(image.relative("nbd://h").unwrap().0, Name::Nbd(_)));
        assert!(matches!(image.relative("nbd:h:1").unwrap().0, Name::Nbd(_)));
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
