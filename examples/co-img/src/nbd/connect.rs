//! Making a connection: NBD's newstyle negotiation, up to `NBD_OPT_GO`, or to `NBD_OPT_EXPORT_NAME` with servers that know
//! nothing newer.

use std::io::{self, Error, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::MOST;
use crate::error::invalid;
use crate::name::{Address, NbdUrl};

/// Options, by NBD's numbers.
const EXPORT_NAME: u32 = 1;
const GO: u32 = 7;
const STRUCTURED_REPLY: u32 = 8;
const SET_META_CONTEXT: u32 = 10;
/// Replies to options.
const ACK: u32 = 1;
const INFO: u32 = 3;
const META_CONTEXT: u32 = 4;
const REPLY_ERROR: u32 = 1 << 31;
const UNSUPPORTED: u32 = REPLY_ERROR | 1;
/// Information about an export.
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;
/// The longest that a server may say about anything, and how often it may speak up in reply to one option.
const LONGEST: u32 = 64 << 10;
const MOST_REPLIES: usize = 64;
const CONTEXT: &[u8] = b"base:allocation";

/// A connected socket of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub(super) type Socket = BufReader<Box<dyn Stream>>;

/// What was agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Export {
    /// In bytes.
    pub size: u64,
    flags: u16,
    /// The server's blocks, a power of two.
    pub align: u32,
    /// The most data in one request, in whole blocks.
    pub most: u32,
    /// Replies come in chunks.
    pub structured: bool,
    /// The number that `base:allocation` goes by.
    pub allocation: Option<u32>,
}

impl Export {
    pub(super) fn read_only(&self) -> bool {
        self.flags & 1 << 1 != 0
    }

    pub(super) fn can_flush(&self) -> bool {
        self.flags & 1 << 2 != 0
    }

    pub(super) fn can_fua(&self) -> bool {
        self.flags & 1 << 3 != 0
    }

    pub(super) fn can_trim(&self) -> bool {
        self.flags & 1 << 5 != 0
    }

    pub(super) fn can_write_zeroes(&self) -> bool {
        self.flags & 1 << 6 != 0
    }
}

/// Connects and negotiates, within the URL's timeout.
pub(super) async fn connect(url: &NbdUrl) -> io::Result<(Socket, Export)> {
    let connecting = async {
        let socket: Box<dyn Stream> = match &url.address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Address::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                Box::new(socket)
            }
        };
        let mut socket = BufReader::with_capacity(64 << 10, socket);
        let export = negotiate(&mut socket, url.export.as_bytes()).await?;
        Ok((socket, export))
    };
    let late = |_| Err(Error::new(ErrorKind::TimedOut, format!("no answer in {} s", url.patience.as_secs())));
    timeout(url.patience, connecting).await.unwrap_or_else(late).map_err(hung_up)
}

/// An end where none belongs is the other side's doing.
pub(super) fn hung_up(cause: Error) -> Error {
    match cause.kind() {
        ErrorKind::UnexpectedEof => Error::new(ErrorKind::ConnectionAborted, "the server hung up"),
        _ => cause,
    }
}

async fn negotiate(socket: &mut Socket, name: &[u8]) -> io::Result<Export> {
    let mut magic = [0; 16];
    socket.read_exact(&mut magic).await?;
    if magic != *b"NBDMAGICIHAVEOPT" {
        return Err(invalid("not a newstyle NBD server"));
    }
    let theirs = socket.read_u16().await?;
    let (fixed, zeroes) = (theirs & 1 != 0, theirs & 2 == 0);
    socket.write_all(&u32::from(theirs & 3).to_be_bytes()).await?;
    if !fixed {
        // Such a server may know no other option, and has no words for that.
        let (size, flags) = by_name(socket, name, zeroes).await?;
        return checked(size, flags, (1, MOST), false, None);
    }

    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let structured = accepted(option(socket, STRUCTURED_REPLY, &[]).await?);
    let mut allocation = None;
    if structured {
        let query = [counted(name), 1_u32.to_be_bytes().to_vec(), counted(CONTEXT)].concat();
        // A server may refuse this; it then has data everywhere.
        for reply in option(socket, SET_META_CONTEXT, &query).await? {
            match (reply.kind, &reply.body[..]) {
                (META_CONTEXT, [a, b, c, d, context @ ..]) if context == CONTEXT && allocation.is_none() => {
                    allocation = Some(u32::from_be_bytes([*a, *b, *c, *d]));
                }
                (META_CONTEXT, _) => return Err(invalid("the server offers a context that nobody asked for")),
                _ => {}
            }
        }
    }

    let go = [counted(name), vec![0, 1], INFO_BLOCK_SIZE.to_be_bytes().to_vec()].concat();
    let (mut export, mut blocks) = (None, (1, MOST));
    for Reply { kind, body } in option(socket, GO, &go).await? {
        match (kind, &body[..]) {
            (ACK, _) => {}
            (INFO, [a, b, info @ ..]) => match (u16::from_be_bytes([*a, *b]), info.len()) {
                (INFO_EXPORT, 10) => export = Some((be(&info[..8]), be(&info[8..]) as u16)),
                (INFO_BLOCK_SIZE, 12) => {
                    blocks = (be(&info[..4]) as u32, be(&info[8..]) as u32);
                }
                (INFO_EXPORT | INFO_BLOCK_SIZE, _) => return Err(invalid("garbage in reply to NBD_OPT_GO")),
                _ => {} // information that nobody asked for
            },
            (UNSUPPORTED, _) => export = Some(by_name(socket, name, zeroes).await?),
            (REPLY_ERROR.., why) => {
                let (name, why) = (String::from_utf8_lossy(name), String::from_utf8_lossy(why));
                let what = format!("the server refuses export {name:?}: error {}, {why:?}", kind & !REPLY_ERROR);
                return Err(Error::other(what));
            }
            _ => return Err(invalid("garbage in reply to NBD_OPT_GO")),
        }
    }
    let (size, flags) = export.ok_or_else(|| invalid("the server does not tell the export's size"))?;
    checked(size, flags, blocks, structured, allocation)
}

/// Asks for the export by `NBD_OPT_EXPORT_NAME`, which has no reply but the export's size and flags, and tells these.
async fn by_name(socket: &mut Socket, name: &[u8], zeroes: bool) -> io::Result<(u64, u16)> {
    let head = [&b"IHAVEOPT"[..], &EXPORT_NAME.to_be_bytes(), &(name.len() as u32).to_be_bytes()].concat();
    socket.write_all(&[&head, name].concat()).await?;
    let size = socket.read_u64().await.map_err(|cause| match cause.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            Error::other(format!("the server refuses export {:?}: it hung up", String::from_utf8_lossy(name)))
        }
        _ => cause,
    })?;
    let flags = socket.read_u16().await?;
    socket.read_exact(&mut [0; 124][..if zeroes { 124 } else { 0 }]).await?;
    Ok((size, flags))
}

/// An export that is possible, of these smallest and biggest blocks.
fn checked(
    size: u64,
    flags: u16,
    (align, most): (u32, u32),
    structured: bool,
    allocation: Option<u32>,
) -> io::Result<Export> {
    let sane = align.is_power_of_two() && align <= 64 << 10 && align <= most && size.is_multiple_of(align.into());
    if size > crate::name::MOST || flags & 1 == 0 || !sane {
        return Err(invalid(format!("impossible size {size}, flags {flags:#x} or blocks of {align} to {most} bytes")));
    }
    let most = most.min(MOST) & !(align - 1);
    Ok(Export { size, flags, align, most, structured, allocation })
}

struct Reply {
    kind: u32,
    body: Vec<u8>,
}

fn accepted(replies: Vec<Reply>) -> bool {
    replies.last().is_some_and(|reply| reply.kind == ACK)
}

/// Sends an option and reads all replies to it, the last of which is an acknowledgement or an error.
async fn option(socket: &mut Socket, option: u32, data: &[u8]) -> io::Result<Vec<Reply>> {
    let head = [&b"IHAVEOPT"[..], &option.to_be_bytes(), &(data.len() as u32).to_be_bytes()].concat();
    socket.write_all(&[&head, data].concat()).await?;
    let mut replies = Vec::new();
    while replies.len() < MOST_REPLIES {
        let (magic, about) = (socket.read_u64().await?, socket.read_u32().await?);
        let (kind, len) = (socket.read_u32().await?, socket.read_u32().await?);
        if (magic, about) != (0x0003_e889_0455_65a9, option) || len > LONGEST {
            return Err(invalid(format!("garbage in reply to option {option}")));
        }
        let mut body = vec![0; len as usize];
        socket.read_exact(&mut body).await?;
        replies.push(Reply { kind, body });
        if kind == ACK || kind & REPLY_ERROR != 0 {
            return Ok(replies);
        }
    }
    Err(invalid(format!("no end of replies to option {option}")))
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}
