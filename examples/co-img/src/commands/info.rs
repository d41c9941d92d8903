//! `info`: what an image is.

use std::fmt::Write;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::backend::{BlockBackend, blk_getlength};
use crate::cli::{Output, format, human, output, print};
use crate::driver::Cache;
use crate::error::{Doing, Error, Result};
use crate::open::{ImageFormat, blk_open};

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// human or json
    #[arg(long, value_parser = output, default_value = "human")]
    output: Output,
    #[arg(value_name = "IMG")]
    image: String,
}

pub fn run(options: &Options) -> Result<()> {
    let blk = blk_open(&options.image, options.format, false, Cache::Writeback)?;
    let size = blk_getlength(&blk).map_err(Error::at(Doing::Read, &options.image))?;
    print(&match options.output {
        Output::Human => describe(&blk, size),
        Output::Json => format!("{:#}\n", fields(&blk, size)),
    })
}

fn fields(blk: &BlockBackend, size: u64) -> Value {
    let layer = &blk.layers[0];
    let mut child = json!({
        "format": layer.protocol,
        "filename": layer.name,
        "virtual-size": layer.file_size,
        "dirty-flag": false,
        "children": [],
        "format-specific": { "type": layer.protocol, "data": {} },
    });
    let mut fields = Map::from_iter([
        ("format".into(), json!(layer.format.name())),
        ("filename".into(), json!(layer.name)),
        ("virtual-size".into(), json!(size)),
        ("dirty-flag".into(), json!(layer.header.as_ref().is_some_and(|header| header.dirty))),
    ]);
    if let Some(allocated) = layer.allocated {
        fields.insert("actual-size".into(), json!(allocated));
        child["actual-size"] = json!(allocated);
    }
    fields.insert("children".into(), json!([{ "name": "file", "info": child }]));
    if let Some(header) = &layer.header {
        fields.insert("cluster-size".into(), json!(header.cluster_size));
        let mut data = json!({ "compat": if header.version == 2 { "0.10" } else { "1.1" }, "compression-type": "zlib",
            "refcount-bits": header.refcount_bits });
        if header.version > 2 {
            data["lazy-refcounts"] = json!(header.lazy_refcounts);
            data["corrupt"] = json!(header.corrupt);
            data["extended-l2"] = json!(false);
        }
        if let Some(file) = &header.data_file {
            data["data-file"] = json!(file);
        }
        fields.insert("format-specific".into(), json!({ "type": "qcow2", "data": data }));
        if let Some(backing) = &header.backing {
            fields.insert("backing-filename".into(), json!(backing));
            fields.insert("full-backing-filename".into(), json!(layer.backing));
        }
        if let Some(format) = &header.backing_format {
            fields.insert("backing-filename-format".into(), json!(format));
        }
    }
    Value::Object(fields)
}

fn describe(blk: &BlockBackend, size: u64) -> String {
    let layer = &blk.layers[0];
    let line = |text: &str| text.replace(char::is_control, " ");
    let mut text = format!("image: {}\nfile format: {}\n", line(&layer.name), layer.format.name());
    let mut add = |what: &str, value: String| _ = writeln!(text, "{what}: {value}");
    add("virtual size", format!("{} ({size} bytes)", human(size)));
    add("disk size", layer.allocated.map_or("unavailable".into(), human));
    let Some(header) = &layer.header else { return text };
    add("cluster_size", header.cluster_size.to_string());
    if let Some(backing) = &header.backing {
        let found = layer.backing.as_deref().filter(|found| found != backing);
        let found = found.map_or(String::new(), |found| format!(" (actual path: {})", line(found)));
        add("backing file", line(backing) + &found);
    }
    if let Some(format) = &header.backing_format {
        add("backing file format", line(format));
    }
    add("Format specific information", String::new());
    add("    compat", if header.version == 2 { "0.10" } else { "1.1" }.into());
    add("    compression type", "zlib".into());
    if header.version > 2 {
        add("    lazy refcounts", header.lazy_refcounts.to_string());
    }
    add("    refcount bits", header.refcount_bits.to_string());
    if let Some(file) = &header.data_file {
        add("    data file", line(file));
    }
    if header.version > 2 {
        add("    corrupt", header.corrupt.to_string());
        add("    extended l2", "false".into());
    }
    text.replace("information: \n", "information:\n")
}
