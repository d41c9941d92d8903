//! `info`: what an image is.

use std::fmt::{Display, Write};
use std::io;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::backend::SECTOR;
use crate::cli::{Output, format, human, output, print};
use crate::error::{Doing, Error, Result, invalid};
use crate::name::ImageName;
use crate::open::{ImageFormat, Layer, MOST_LAYERS, blk_inspect, parse};
use crate::qcow2::Header;

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// human or json
    #[arg(long, value_parser = output, default_value = "human")]
    output: Output,
    /// Tell of what it is based on, too: opens what the image names
    #[arg(long)]
    backing_chain: bool,
    /// Read it also while another program writes to it
    #[arg(short = 'U', long)]
    force_share: bool,
    #[arg(value_name = "IMG")]
    image: ImageName,
}

pub fn run(options: &Options) -> Result<()> {
    let named = parse(options.image.as_ref(), options.format).map_err(Error::at(Doing::Open, &options.image))?;
    let mut layers = vec![blk_inspect(&named.0, named.1, options.force_share)?];
    while let (true, Some(last)) = (options.backing_chain, layers.last()) {
        let Some(below) = below(last, options)? else { break };
        if layers.len() == MOST_LAYERS || layers.iter().any(|layer| layer.is_same(&below)) {
            return Err(Error::new(Doing::Open, &options.image, invalid("it is based on itself, a loop")));
        }
        layers.push(below);
    }
    print(&match options.output {
        Output::Human => layers.iter().map(describe).collect::<Vec<_>>().join("\n"),
        Output::Json if options.backing_chain => format!("{:#}\n", layers.iter().map(fields).collect::<Value>()),
        Output::Json => format!("{:#}\n", fields(&layers[0])),
    })
}

/// What `layer` is based on, if anything.
fn below(layer: &Layer, options: &Options) -> Result<Option<Layer>> {
    let Some((backing, found)) = layer.below() else { return Ok(None) };
    let blame = |why: &io::Error| {
        let why = io::Error::new(why.kind(), format!("backing file '{backing}': {why}"));
        Error::new(Doing::Open, &options.image, why)
    };
    let (found, format) = found.map_err(|error| blame(&error))?;
    match blk_inspect(&found, format, options.force_share) {
        Ok(found) => Ok(Some(found)),
        Err(error) => Err(blame(&error.cause)),
    }
}

/// In the order in which QEMU has them, which is that of its hash table.
fn fields(layer: &Layer) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| _ = fields.insert(name.into(), value);
    add("children", json!([{ "name": "file", "info": child(layer) }]));
    let header = layer.header.as_ref();
    let backing = header.and_then(|header| header.backing.as_ref());
    if let Some(format) = header.and_then(|header| header.backing_format.as_ref()).filter(|_| backing.is_some()) {
        add("backing-filename-format", json!(format));
    }
    add("virtual-size", json!(layer.size.next_multiple_of(SECTOR)));
    add("filename", json!(layer.name));
    if let Some(header) = header {
        add("cluster-size", json!(header.cluster_size));
    }
    add("format", json!(layer.format.name()));
    if let Some(allocated) = layer.allocated {
        add("actual-size", json!(allocated));
    }
    if let Some(header) = header {
        add("format-specific", json!({ "type": "qcow2", "data": qcow2(header) }));
    }
    if let Some(backing) = backing {
        if let Some(found) = &layer.backing {
            add("full-backing-filename", json!(found));
        }
        add("backing-filename", json!(backing));
    }
    if header.is_some() || is_file(layer) {
        add("dirty-flag", json!(header.is_some_and(|header| header.dirty)));
    }
    Value::Object(fields)
}

/// QEMU asks of files alone whether they are dirty, which they never are.
fn is_file(layer: &Layer) -> bool {
    matches!(layer.protocol, "file" | "host_device")
}

fn child(layer: &Layer) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| _ = fields.insert(name.into(), value);
    add("children", json!([]));
    add("virtual-size", json!(layer.file_size.next_multiple_of(SECTOR)));
    add("filename", json!(layer.name));
    add("format", json!(layer.protocol));
    if let Some(allocated) = layer.allocated {
        add("actual-size", json!(allocated));
    }
    if is_file(layer) {
        add("format-specific", json!({ "type": "file", "data": {} }));
        add("dirty-flag", json!(false));
    }
    fields
}

fn qcow2(header: &Header) -> Map<String, Value> {
    let mut data = Map::new();
    let mut add = |name: &str, value: Value| _ = data.insert(name.into(), value);
    add("compat", json!(if header.version == 2 { "0.10" } else { "1.1" }));
    add("compression-type", json!("zlib"));
    if header.version > 2 {
        add("lazy-refcounts", json!(header.lazy_refcounts));
    }
    add("refcount-bits", json!(header.refcount_bits));
    if let Some(file) = &header.data_file {
        add("data-file", json!(file));
        add("data-file-raw", json!(header.data_file_raw));
    }
    if header.version > 2 {
        add("corrupt", json!(header.corrupt));
        add("extended-l2", json!(false));
    }
    data
}

fn describe(layer: &Layer) -> String {
    let mut text = String::new();
    let mut add = |what: &str, value: &dyn Display| {
        let value = value.to_string().replace(char::is_control, " ");
        _ = writeln!(text, "{what}:{}{value}", if value.is_empty() { "" } else { " " });
    };
    let bytes = |bytes: u64| format!("{} ({bytes} bytes)", human(bytes));
    let disk_size = layer.allocated.map_or("unavailable".into(), human);
    add("image", &layer.name);
    add("file format", &layer.format.name());
    add("virtual size", &bytes(layer.size.next_multiple_of(SECTOR)));
    add("disk size", &disk_size);
    if let Some(header) = &layer.header {
        add("cluster_size", &header.cluster_size);
        if header.dirty {
            add("cleanly shut down", &"no");
        }
        if let Some(backing) = &header.backing {
            let found = layer.backing.as_deref().filter(|found| found != backing);
            add("backing file", &found.map_or(backing.clone(), |found| format!("{backing} (actual path: {found})")));
            if let Some(format) = &header.backing_format {
                add("backing file format", format);
            }
        }
        add("Format specific information", &"");
        for (name, value) in qcow2(header) {
            let value = value.as_str().map_or_else(|| value.to_string(), String::from);
            add(&format!("    {}", name.replace('-', " ")), &value);
        }
    }
    add("Child node '/file'", &"");
    add("    filename", &layer.name);
    add("    protocol type", &layer.protocol);
    add("    file length", &bytes(layer.file_size.next_multiple_of(SECTOR)));
    add("    disk size", &disk_size);
    text
}
