//! `json:{…}`: QEMU's `BlockdevOptions`, of the drivers that there are. Nested objects and names with dots are the same. An
//! option that is not known is refused by its name, for who asks for it relies on it.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use super::{Address, Name, NbdUrl, parse_size};
use crate::error::refused;
use crate::open::ImageFormat;

/// All options, by their names with dots.
type Options = BTreeMap<String, String>;

/// Understands what follows `json:`.
pub(super) fn parse(text: &str) -> io::Result<(Name, Option<ImageFormat>)> {
    let value = serde_json::from_str(text).map_err(|error| refused(format!("its JSON makes no sense: {error}")))?;
    let Value::Object(_) = value else { return Err(refused("its JSON is not an object")) };
    let mut options = Options::new();
    flatten("", value, &mut options)?;
    let format = match options.get("driver").map(String::as_str) {
        Some(format @ ("raw" | "qcow2")) => Some(ImageFormat::parse(format)?),
        _ => None,
    };
    let name = match format {
        None => protocol(options, "", text)?,
        Some(_) => {
            options.remove("driver");
            protocol(options, "file.", text)?
        }
    };
    Ok((name, format))
}

fn flatten(prefix: &str, value: Value, options: &mut Options) -> io::Result<()> {
    let text = match value {
        Value::Object(fields) => {
            return fields.into_iter().try_for_each(|(key, value)| {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&key, value, options)
            });
        }
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Array(_) | Value::Null => return Err(refused(format!("'{prefix}' is a list or null"))),
    };
    match options.insert(prefix.into(), text) {
        None => Ok(()),
        Some(_) => Err(refused(format!("'{prefix}' is there twice"))),
    }
}

/// The driver, whose options begin with `prefix`.
fn protocol(mut options: Options, prefix: &str, text: &str) -> io::Result<Name> {
    let mut take = |name: &str| options.remove(&format!("{prefix}{name}"));
    let missing = |name: &str| refused(format!("'{prefix}{name}' is missing"));
    take("node-name");
    let (driver, filename) = (take("driver"), take("filename"));
    let name = match (driver.as_deref(), filename) {
        // A name in QEMU's other ways, among them all that `json:` is not needed for.
        (None, Some(filename)) => Name::parse(filename)?,
        (None, None) => return Err(missing("driver")),
        (Some("file" | "host_device"), Some(filename)) => match filename.strip_prefix("file:").unwrap_or(&filename) {
            "" => return Err(missing("filename")),
            path => Name::Path(path.into()),
        },
        (Some("file" | "host_device"), None) => return Err(missing("filename")),
        (Some("null-co"), None) => {
            take("read-zeroes");
            Name::Null(parse_size(&take("size").ok_or_else(|| missing("size"))?)?)
        }
        (Some("nbd"), None) => {
            let kind = take("server.type");
            let mut of = |name: &str| take(&format!("server.{name}")).or_else(|| take(name));
            let address = match (of("path"), of("host"), of("port")) {
                (Some(path), None, None) if kind.as_deref().is_none_or(|kind| kind == "unix") => {
                    Address::Unix(path.into())
                }
                (None, Some(host), port) if kind.as_deref().is_none_or(|kind| kind == "inet") => {
                    let port = port.unwrap_or("10809".into());
                    Address::Tcp(host, port.parse().map_err(|_| refused(format!("'{port}' is not a port")))?)
                }
                _ => return Err(refused("the server is neither a host and a port nor a path")),
            };
            Name::Nbd(NbdUrl::new(&format!("json:{text}"), address, &take("export").unwrap_or_default())?)
        }
        (Some(driver), _) => return Err(refused(format!("the driver '{driver}' is not file, nbd or null-co"))),
    };
    match options.keys().next() {
        None => Ok(name),
        Some(option) => Err(refused(format!("the option '{option}' is not supported"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_understands() {
        let path = |path: &str| Name::Path(path.into());
        for (text, name, format) in [
            (r#"{"driver":"file","filename":"a:b"}"#, path("a:b"), None),
            (r#"{"file":{"filename":"x"},"driver":"raw"}"#, path("x"), Some(ImageFormat::Raw)),
            (
                r#"{"driver":"qcow2","file":{"driver":"file","filename":"/x y"}}"#,
                path("/x y"),
                Some(ImageFormat::Qcow2),
            ),
            (r#"{"driver":"qcow2","file.driver":"file","file.filename":"x"}"#, path("x"), Some(ImageFormat::Qcow2)),
            (r#"{"driver":"null-co","size":1024}"#, Name::Null(1024), None),
            (r#"{"driver":"raw","file":{"driver":"null-co","size":"1k"}}"#, Name::Null(1024), Some(ImageFormat::Raw)),
        ] {
            assert_eq!(parse(text).unwrap(), (name, format), "{text}");
        }
        for (text, address, export) in [
            (
                r#"{"driver":"nbd","server":{"type":"inet","host":"h","port":"7"},"export":"e"}"#,
                Address::Tcp("h".into(), 7),
                "e",
            ),
            (r#"{"driver":"nbd","server":{"type":"unix","path":"/s"}}"#, Address::Unix("/s".into()), ""),
            (r#"{"driver":"nbd","host":"h","port":"7"}"#, Address::Tcp("h".into(), 7), ""),
            (
                r#"{"driver":"raw","file.driver":"nbd","file.path":"/s","file.export":"e"}"#,
                Address::Unix("/s".into()),
                "e",
            ),
            (r#"{"driver":"raw","file":{"filename":"nbd:h:7:exportname=e"}}"#, Address::Tcp("h".into(), 7), "e"),
        ] {
            let Name::Nbd(url) = parse(text).unwrap().0 else { panic!("{text}") };
            assert_eq!((url.address, &*url.export), (address, export), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, words) in [
            ("{", "makes no sense"),
            ("[]", "not an object"),
            ("{}", "'driver' is missing"),
            (r#"{"driver":"qcow2"}"#, "'file.driver' is missing"),
            (r#"{"driver":"file"}"#, "'filename' is missing"),
            (r#"{"driver":"rbd","pool":"x"}"#, "'rbd' is not file"),
            (r#"{"driver":"qcow2","file":"node"}"#, "'file.driver' is missing"),
            (
                r#"{"driver":"qcow2","file.filename":"x","backing":{"driver":"file"}}"#,
                "'backing.driver' is not supported",
            ),
            (r#"{"driver":"file","filename":"x","locking":"off"}"#, "'locking' is not supported"),
            (r#"{"driver":"nbd","host":"h","path":"/s"}"#, "neither a host"),
            (r#"{"driver":"nbd","path":"/s","tls-creds":"t"}"#, "'tls-creds' is not supported"),
            (r#"{"driver":"raw","file":{"filename":"x"},"file.filename":"y"}"#, "twice"),
            (r#"{"driver":"file","filename":["x"]}"#, "a list"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
