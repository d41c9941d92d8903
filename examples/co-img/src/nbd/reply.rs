//! What a server answers, simple or in chunks, held to what it was asked.

use std::collections::BTreeMap;
use std::io::{self, Error};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Command;
use crate::error::invalid;

const SIMPLE: u32 = 0x6744_6698;
const CHUNK: u32 = 0x668e_33ef;
/// Kinds of chunks, and the bit that errors have.
const NONE: u16 = 0;
const DATA: u16 = 1;
const HOLE: u16 = 2;
const STATUS: u16 = 5;
const ERROR: u16 = 1 << 15;
/// A chunk's flag: the reply ends here.
const DONE: u16 = 1;
/// In so many pieces, with others between them, data may come: nobody knows which are missing without a list of them.
const MOST_PIECES: usize = 16 << 10;
/// The longest error, and the longest list of extents: QEMU's server tells of 128 Ki at a time.
const LONGEST_ERROR: u32 = 64 << 10;
const LONGEST_STATUS: u32 = 4 + (1 << 20);

/// A reply, complete.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Data(Vec<u8>),
    /// Extents, one after the other: how long each is, and its state. The first is not empty.
    Status(Vec<(u32, u32)>),
}

/// The head of a reply or a chunk, read off the wire.
#[derive(Debug)]
pub(super) struct Head {
    pub cookie: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Simple { error: u32 },
    Chunk { flags: u16, kind: u16, length: u32 },
}

impl Head {
    pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        match socket.read_u32().await? {
            SIMPLE => {
                let error = socket.read_u32().await?;
                Ok(Head { cookie: socket.read_u64().await?, kind: Kind::Simple { error } })
            }
            CHUNK => {
                let (flags, kind) = (socket.read_u16().await?, socket.read_u16().await?);
                let (cookie, length) = (socket.read_u64().await?, socket.read_u32().await?);
                Ok(Head { cookie, kind: Kind::Chunk { flags, kind, length } })
            }
            magic => Err(invalid(format!("garbage for a reply: magic {magic:#x}"))),
        }
    }

    /// How much follows this head, by what it says and by what a reply to such a request may have.
    pub(super) fn body(&self, command: Command, len: u32, structured: bool) -> io::Result<u32> {
        match self.kind {
            Kind::Simple { error: 0 } if command == Command::Read && structured => {
                Err(invalid("a simple reply to a read, where chunks were agreed upon"))
            }
            Kind::Simple { error: 0 } if command == Command::Read => Ok(len),
            Kind::Simple { .. } => Ok(0),
            Kind::Chunk { .. } if !structured => Err(invalid("a chunk, where simple replies were agreed upon")),
            Kind::Chunk { kind, length, .. } => {
                let most = match (kind, command) {
                    (NONE, _) => 0,
                    (DATA, Command::Read) => len + 8,
                    (HOLE, Command::Read) => 12,
                    (STATUS, Command::BlockStatus) => LONGEST_STATUS,
                    (ERROR.., _) => LONGEST_ERROR,
                    _ => return Err(invalid(format!("a chunk of kind {kind} in reply to {command:?}"))),
                };
                if length > most {
                    return Err(invalid(format!("a chunk of {length} bytes in reply to {command:?} of {len}")));
                }
                Ok(length)
            }
        }
    }
}

impl Head {
    /// How much data a chunk has behind its offset, if it has some.
    pub(super) fn data(&self) -> Option<u32> {
        match self.kind {
            Kind::Chunk { kind: DATA, length, .. } => length.checked_sub(8).filter(|data| *data > 0),
            _ => None,
        }
    }
}

/// What followed a head.
#[derive(Debug)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    /// Data that is where it belongs: see [`Partial::place`].
    Placed,
}

/// A reply in the making.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// As long as the read, and full of anything. Its bytes count when they are covered.
    data: Vec<u8>,
    /// Where data has come, and how long it is; what adjoins is one.
    covered: BTreeMap<u64, u64>,
    status: Vec<(u32, u32)>,
    error: Option<Error>,
}

impl Partial {
    /// Of which nothing has come. A read's data goes into `data`, which is as long as the read, and empty otherwise.
    pub(super) fn new(data: Vec<u8>) -> Self {
        Partial { data, ..Partial::default() }
    }

    /// Forgets all that has come, for a read of so many bytes or for another request.
    pub(super) fn begin_again(&mut self, read: usize) {
        let mut data = std::mem::take(&mut self.data);
        data.resize(read, 0); // it is lost with a connection that was reading into it
        *self = Partial::new(data);
    }

    /// Takes in a reply or a chunk. The result is the answer when that was the last of it; an error here means that the
    /// connection is no good any more.
    pub(super) fn take(
        &mut self,
        command: Command,
        off: u64,
        len: u32,
        context: Option<u32>,
        head: &Head,
        body: Body,
    ) -> io::Result<Option<io::Result<Answer>>> {
        let (is_placed, body) = match body {
            Body::Bytes(bytes) => (false, bytes),
            Body::Placed => (true, Vec::new()),
        };
        let (flags, kind) = match head.kind {
            Kind::Simple { error: 0 } if command == Command::Read => return Ok(Some(Ok(Answer::Data(body)))),
            Kind::Simple { error: 0 } if command == Command::BlockStatus => {
                return Err(invalid("a simple reply to a block status request"));
            }
            Kind::Simple { error: 0 } => return Ok(Some(Ok(Answer::Done))),
            Kind::Simple { error } => return Ok(Some(Err(os_error(error)))),
            Kind::Chunk { flags, kind, .. } => (flags, kind),
        };
        match (kind, &body[..]) {
            (NONE, _) if flags & DONE == 0 => return Err(invalid("an empty chunk that does not end its reply")),
            (NONE, _) => {}
            (DATA, _) if is_placed => {}
            (HOLE, place) if place.len() == 12 => {
                let count = be(&place[8..]);
                let from = self.cover(be(&place[..8]), count, off, len)?;
                self.data[from..][..count as usize].fill(0);
            }
            (STATUS, extents) if extents.len() >= 12 && extents.len() % 8 == 4 => {
                let (context_is, extents) = extents.split_at(4);
                if context != Some(be(context_is) as u32) || !self.status.is_empty() {
                    return Err(invalid("block status of a context that nobody asked for"));
                }
                let extents = extents.chunks_exact(8).map(|extent| (be(&extent[..4]) as u32, be(&extent[4..]) as u32));
                self.status = extents.collect();
                if self.status.iter().any(|(length, _)| *length == 0) {
                    return Err(invalid("block status of an empty extent"));
                }
            }
            (ERROR.., [a, b, c, d, m, n, rest @ ..]) if usize::from(u16::from_be_bytes([*m, *n])) <= rest.len() => {
                let number = u32::from_be_bytes([*a, *b, *c, *d]);
                let message = &rest[..usize::from(u16::from_be_bytes([*m, *n]))];
                let cause = os_error(number);
                let told = match message {
                    [] => cause,
                    _ => Error::new(cause.kind(), format!("{cause}: {:?}", String::from_utf8_lossy(message))),
                };
                self.error.get_or_insert(told);
            }
            _ => return Err(invalid(format!("garbage in a chunk of kind {kind}"))),
        }
        if flags & DONE == 0 {
            return Ok(None);
        }
        if let Some(error) = self.error.take() {
            return Ok(Some(Err(error)));
        }
        match command {
            Command::Read if self.covered.values().sum::<u64>() != u64::from(len) => {
                Err(invalid(format!("the reply to a read of {len} bytes has not all of them")))
            }
            Command::Read => Ok(Some(Ok(Answer::Data(std::mem::take(&mut self.data))))),
            Command::BlockStatus if self.status.is_empty() => {
                Err(invalid("a reply without the block status that was asked for"))
            }
            Command::BlockStatus => Ok(Some(Ok(Answer::Status(std::mem::take(&mut self.status))))),
            _ => Ok(Some(Ok(Answer::Done))),
        }
    }

    /// Where so many bytes of data at `at` are to be read to: a range of what is taken out of here, which
    /// [`put_back`](Self::put_back) undoes.
    pub(super) fn place(&mut self, at: u64, count: u32, off: u64, len: u32) -> io::Result<(usize, Vec<u8>)> {
        let from = self.cover(at, count.into(), off, len)?;
        Ok((from, std::mem::take(&mut self.data)))
    }

    pub(super) fn put_back(&mut self, data: Vec<u8>) {
        self.data = data;
    }

    /// Notes that so many bytes at `at` have come, and tells where in the data they belong.
    fn cover(&mut self, at: u64, count: u64, off: u64, len: u32) -> io::Result<usize> {
        let wrong = || invalid(format!("data for {count} bytes at {at} in reply to a read of {len} at {off}"));
        let end = at.checked_add(count).filter(|end| at >= off && count > 0 && *end <= off + u64::from(len));
        let end = end.ok_or_else(wrong)?;
        let before = self.covered.range(..=at).next_back().map(|(start, count)| (*start, start + count));
        let after = self.covered.range(at..).next().map(|(start, count)| (*start, start + count));
        if before.is_some_and(|(_, before)| before > at) || after.is_some_and(|(after, _)| after < end) {
            return Err(wrong());
        }
        let start = before.filter(|(_, end)| *end == at).map_or(at, |(start, _)| start);
        self.covered.remove(&end);
        let end = after.filter(|(after, _)| *after == end).map_or(end, |(_, end)| end);
        self.covered.insert(start, end - start);
        if self.covered.len() > MOST_PIECES {
            return Err(invalid(format!(
                "data in more than {MOST_PIECES} pieces in reply to a read of {len} at {off}"
            )));
        }
        Ok((at - off) as usize)
    }
}

/// NBD's errors are Linux's numbers, as far as it defines them.
fn os_error(number: u32) -> Error {
    match number {
        1 | 5 | 12 | 22 | 28 | 75 | 95 | 108 => Error::from_raw_os_error(number as i32),
        0 => invalid("error 0"),
        _ => Error::other(format!("the server's error {number}")),
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}
