//! `map`: where an image has data.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use crate::backend::{BlockStatus, blk_block_status, blk_getlength};
use crate::cli::{Output, format, output, print};
use crate::error::{Doing, Error, Result};
use crate::name::ImageName;
use crate::open::{Access, ImageFormat, blk_open_as};

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// human or json
    #[arg(long, value_parser = output, default_value = "human")]
    output: Output,
    /// Read it also while another program writes to it
    #[arg(short = 'U', long)]
    force_share: bool,
    #[arg(value_name = "IMG")]
    image: ImageName,
}

/// So much text is gathered before it is printed: a map can be longer than memory.
const PRINTED: usize = 64 << 10;

pub fn run(options: &Options) -> Result<()> {
    let failed = || Error::at(Doing::Map, &options.image);
    let access = Access { shared: options.force_share, ..Access::default() };
    let blk = blk_open_as(&options.image, options.format, access)?;
    let size = blk_getlength(&blk).map_err(failed())?;
    let json = options.output == Output::Json;
    let mut text = String::from(if json { "[" } else { "Offset          Length          Mapped to       File\n" });
    if json && size == 0 {
        // As qemu-img has it: one extent, of nothing.
        text += &entry(0, &BlockStatus::default()).to_string();
    }
    let (mut at, mut first, mut pending) = (0, true, None::<(u64, BlockStatus)>);
    loop {
        let next = match at < size {
            true => Some(blk_block_status(&blk, at, size - at).map_err(failed())?),
            false => None,
        };
        at += next.map_or(0, |next| next.length);
        match (&mut pending, next) {
            (Some((_, last)), Some(next)) if continues(last, &next) => last.length += next.length,
            _ => {
                if let Some((start, status)) = pending {
                    match json {
                        true => {
                            text += if first { "" } else { ",\n" };
                            text += &entry(start, &status).to_string();
                        }
                        false if !status.zero && status.data => {
                            let Some(offset) = status.offset else {
                                print(&text)?;
                                let why =
                                    std::io::Error::other("it has compressed clusters, which only --output=json tells");
                                return Err(failed()(why));
                            };
                            let file = &blk.layers[status.depth].name.replace(char::is_control, " ");
                            let columns = [start, status.length, offset]
                                .map(|n| if n == 0 { "0".into() } else { format!("{n:#x}") });
                            let _ = writeln!(text, "{:16}{:16}{:16}{file}", columns[0], columns[1], columns[2]);
                        }
                        false => {}
                    }
                    first = false;
                }
                let Some(next) = next else { break };
                pending = Some((at - next.length, next));
                if text.len() > PRINTED {
                    print(&std::mem::take(&mut text))?;
                }
            }
        }
    }
    print(&(text + if json { "]\n" } else { "" }))
}

/// Whether both are one extent.
fn continues(last: &BlockStatus, next: &BlockStatus) -> bool {
    let at = |status: &BlockStatus| BlockStatus { length: 0, offset: None, ..*status };
    at(last) == at(next) && last.offset.map(|offset| offset + last.length) == next.offset
}

fn entry(start: u64, status: &BlockStatus) -> serde_json::Value {
    let mut entry = json!({ "start": start, "length": status.length, "depth": status.depth, "present": status.present,
        "zero": status.zero, "data": status.data, "compressed": status.compressed });
    if let Some(offset) = status.offset {
        entry["offset"] = json!(offset);
    }
    entry
}
