//! `check`: whether an image is consistent. Repairs nothing.

use std::io::{Write, stderr};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Output, format, output, print};
use crate::error::{Doing, Error, Result, refused};
use crate::name::ImageName;
use crate::open::{ImageFormat, blk_check, parse};

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// human or json
    #[arg(long, value_parser = output, default_value = "human")]
    output: Output,
    /// Say nothing but errors
    #[arg(short)]
    quiet: bool,
    /// Read it also while another program writes to it
    #[arg(short = 'U', long)]
    force_share: bool,
    /// Refused: qemu-img check repairs
    #[arg(short, value_name = "WHAT")]
    repair: Option<String>,
    #[arg(value_name = "IMG")]
    image: ImageName,
}

/// The exit codes: consistent, with errors, with nothing but leaks, and of a format that is not checked.
const GOOD: u8 = 0;
const CORRUPT: u8 = 2;
const LEAKY: u8 = 3;
const NO_CHECKS: u8 = 63;

pub fn run(options: &Options) -> Result<u8> {
    if let Some(what) = &options.repair {
        let why = format!("nothing is repaired here; qemu-img check -r {what} does it");
        return Err(Error::new(Doing::Parse, "-r", refused(why)));
    }
    let (name, format) =
        parse(options.image.as_ref(), options.format).map_err(Error::at(Doing::Open, &options.image))?;
    let Some(found) = blk_check(&name, format, options.force_share)? else {
        let _ = writeln!(stderr(), "co-img: '{}': this image format does not support checks", options.image);
        return Ok(NO_CHECKS);
    };
    let mut lines = stderr().lock();
    for finding in &found.findings {
        let _ = writeln!(lines, "{finding}");
    }
    drop(lines);
    let statistics = found.total != 0 && found.allocated != 0;
    if options.output == Output::Json {
        let mut fields = Map::new();
        let mut add = |name: &str, value: Value, there: bool| _ = there.then(|| fields.insert(name.into(), value));
        add("image-end-offset", json!(found.end), true);
        add("total-clusters", json!(found.total), true);
        add("corruptions", json!(found.errors), found.errors > 0);
        add("check-errors", json!(0), true);
        add("leaks", json!(found.leaks), found.leaks > 0);
        add("compressed-clusters", json!(found.compressed), found.compressed > 0);
        add("fragmented-clusters", json!(found.fragmented), found.fragmented > 0);
        add("allocated-clusters", json!(found.allocated), found.allocated > 0);
        add("filename", json!(name.to_string()), true);
        add("format", json!("qcow2"), true);
        print(&format!("{:#}\n", Value::Object(fields)))?;
    } else if !options.quiet {
        let mut text = String::new();
        if found.errors == 0 && found.leaks == 0 {
            text += "No errors were found on the image.\n";
        }
        if found.errors > 0 {
            text += &format!(
                "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt \
                 it.\n",
                found.errors
            );
        }
        if found.leaks > 0 {
            text += &format!(
                "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
                found.leaks
            );
        }
        if statistics {
            let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
            text += &format!(
                "{}/{} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters\n",
                found.allocated,
                found.total,
                percent(found.allocated, found.total),
                percent(found.fragmented, found.allocated),
                percent(found.compressed, found.allocated)
            );
        }
        print(&(text + &format!("Image end offset: {}\n", found.end)))?;
    }
    Ok(match (found.errors, found.leaks) {
        (0, 0) => GOOD,
        (0, _) => LEAKY,
        _ => CORRUPT,
    })
}
