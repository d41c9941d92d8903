//! The driver `nbd`: an export of an NBD server.
//!
//! A queue to one task on the reactor, which owns the connection and makes it again when it is lost. So any thread,
//! executor and runtime may use it, all at once, and a call dropped half-way tears no request and no reply.
//!
//! `connect` makes a connection and agrees with the server on what it can do; `reply` understands what it answers;
//! `client` is the task.

mod client;
mod connect;
mod reply;

use std::fmt::{self, Debug, Display, Formatter};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc, oneshot};

use crate::driver::{Cache, Extent};
use crate::error::{invalid, refused};
use crate::name::NbdUrl;
use client::{Payload, Request};
use connect::Export;
use reply::Answer;

/// NBD's commands, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 6,
    BlockStatus = 7,
}

/// Flags of a request.
const FUA: u16 = 1 << 0;
const NO_HOLE: u16 = 1 << 1;

/// What any server takes in one request.
const MOST: u32 = 32 << 20;
/// How much a request without data may be about.
const MOST_DATALESS: u64 = 1 << 30;
/// How far ahead the server is asked what there is.
const LOOK_AHEAD: u64 = 64 << 20;
/// So many buffers are kept for reads, none of more bytes than this.
const MOST_SPARE: usize = 16;
const LONGEST_SPARE: usize = 256 << 10;
/// What block status says of an extent.
const STATE_HOLE: u32 = 1;
const STATE_ZERO: u32 = 2;

/// An NBD export. Calls in flight together are not ordered. One that is dropped may or may not take effect, and disturbs
/// no other.
pub struct Nbd {
    url: String,
    export: Export,
    cache: Cache,
    queue: mpsc::Sender<Request>,
    /// Held shared by every modifying request until it is answered, dropped future or not.
    modifying: Arc<RwLock<()>>,
    /// Counts beginnings and ends of changes: what was known before one is not known any more.
    changes: Arc<AtomicU64>,
    known: Mutex<Option<Known>>,
    /// Buffers of reads that have ended, for the next: new ones would have to be filled with zeroes and mapped.
    spare: Mutex<Vec<Vec<u8>>>,
    helper: CommonStorageHelper,
}

/// Extents that the server told of.
struct Known {
    /// When it was: see [`Nbd::changes`].
    changes: u64,
    /// Where it was last asked about. Who asks there again, or before that, is told anew: another client may have written.
    asked: u64,
    start: u64,
    /// Where each ends, and its state.
    extents: Vec<(u64, u32)>,
}

impl Known {
    /// What is at `offset`, up to `end` at most.
    fn at(&self, offset: u64, end: u64) -> Option<Extent> {
        let of = self.extents.partition_point(|(to, _)| *to <= offset);
        let (_, state) = *self.extents.get(of).filter(|_| self.start <= offset)?;
        // Two that are alike are one.
        let alike = self.extents[of..].iter().take_while(|(_, other)| *other == state);
        let to = alike.map(|(to, _)| *to).last()?.min(end);
        Some(Extent { length: to - offset, data: state & STATE_HOLE == 0, zero: state & STATE_ZERO != 0 })
    }
}

/// A change, from its beginning to the server's answer, whether anybody waits for that or not.
#[derive(Debug)]
struct Change {
    changes: Arc<AtomicU64>,
    _modifying: OwnedRwLockReadGuard<()>,
}

impl Change {
    fn begin(changes: &Arc<AtomicU64>, modifying: OwnedRwLockReadGuard<()>) -> Self {
        changes.fetch_add(1, SeqCst);
        Change { changes: changes.clone(), _modifying: modifying }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.changes.fetch_add(1, SeqCst);
    }
}

impl Nbd {
    /// Connects to a server; `reactor` is where the connection lives.
    ///
    /// # Errors
    /// When it cannot be reached, refuses the export, makes impossible claims, or takes longer than `timeout=`.
    pub async fn open(url: &NbdUrl, cache: Cache, reactor: &Handle) -> io::Result<Self> {
        let connecting = {
            let url = url.clone();
            async move { connect::connect(&url).await }
        };
        let (socket, export) = reactor.spawn(connecting).await??;
        let (queue, requests) = mpsc::channel(16);
        reactor.spawn(client::serve(url.clone(), export.clone(), socket, requests));
        Ok(Nbd {
            url: url.text.clone(),
            export,
            cache,
            queue,
            modifying: Arc::default(),
            changes: Arc::default(),
            known: Mutex::default(),
            spare: Mutex::default(),
            helper: CommonStorageHelper::default(),
        })
    }

    /// Whether the server takes no writes.
    pub fn read_only(&self) -> bool {
        self.export.read_only()
    }

    /// Fills `buf`, from within the export.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub async fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let most = self.export.most as usize;
        for (piece, at) in buf.chunks_mut(most).zip((offset..).step_by(most)) {
            self.read_piece(at, piece.len() as u32, |data| piece.copy_from_slice(data)).await?;
        }
        Ok(())
    }

    /// Hands over what one request gets.
    async fn read_piece(&self, offset: u64, length: u32, take: impl FnOnce(&[u8])) -> io::Result<()> {
        let mut buffer = self.spare.lock().unwrap().pop().unwrap_or_default();
        buffer.resize(length as usize, 0);
        match self.submit(Command::Read, 0, offset, length, Payload::Read(buffer)).await? {
            Answer::Data(data) if data.len() == length as usize => {
                take(&data);
                let mut spare = self.spare.lock().unwrap();
                if spare.len() < MOST_SPARE && data.capacity() <= LONGEST_SPARE {
                    spare.push(data);
                }
                Ok(())
            }
            _ => Err(invalid("the server's reply to a read is none")),
        }
    }

    /// Writes `data`; with `fua` it is durable on return.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub async fn write(&self, offset: u64, data: &[u8], fua: bool) -> io::Result<()> {
        let most = self.export.most as usize;
        for (piece, at) in data.chunks(most).zip((offset..).step_by(most)) {
            self.submit(Command::Write, self.fua(fua), at, piece.len() as u32, Payload::Write(piece.into())).await?;
        }
        self.made_durable(fua).await
    }

    /// Has the server write zeroes; with `allocate` it keeps room for the range.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the server does not offer it; those of the server and connection.
    pub async fn write_zeroes(&self, offset: u64, length: u64, allocate: bool, fua: bool) -> io::Result<()> {
        if !self.export.can_write_zeroes() {
            return Err(ErrorKind::Unsupported.into());
        }
        let flags = self.fua(fua) | if allocate { NO_HOLE } else { 0 };
        self.pieces(Command::WriteZeroes, flags, offset, length).await?;
        self.made_durable(fua).await
    }

    /// Says that nobody needs the range any more. A no-op where the server does not offer it.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub async fn trim(&self, offset: u64, length: u64) -> io::Result<()> {
        match self.export.can_trim() {
            true => self.pieces(Command::Trim, 0, offset, length).await,
            false => Ok(()),
        }
    }

    /// Makes completed writes durable. A server that offers no flush holds nothing back: a no-op.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub async fn flush_export(&self) -> io::Result<()> {
        match self.export.can_flush() {
            true => self.submit(Command::Flush, 0, 0, 0, Payload::None).await.map(drop),
            false => Ok(()),
        }
    }

    /// What `base:allocation` says of the range's beginning. A server without it has data everywhere.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub async fn block_status(&self, offset: u64, length: u64) -> io::Result<Extent> {
        let align = u64::from(self.export.align);
        let end = self.export.size.min(offset.saturating_add(length));
        if offset >= end {
            return Ok(Extent::zero(length));
        }
        if self.export.allocation.is_none() {
            return Ok(Extent::data(end - offset));
        }
        let changes = self.changes.load(SeqCst);
        if let Some(known) = &mut *self.known.lock().unwrap()
            && known.changes == changes
            && known.asked < offset
            && let Some(extent) = known.at(offset, end)
        {
            known.asked = offset;
            return Ok(extent);
        }
        // The server speaks of whole blocks only. It is asked about more than is wanted, for the next that will be wanted.
        let start = offset - offset % align;
        let asked = (self.export.size - start).min(LOOK_AHEAD.max(align));
        let Answer::Status(told) = self.submit(Command::BlockStatus, 0, start, asked as u32, Payload::None).await?
        else {
            return Err(invalid("the server's reply to a block status request is none"));
        };
        let mut at = start;
        let extents = told.into_iter().map(|(length, state)| {
            at = at.saturating_add(length.into()).min(self.export.size);
            (at, state)
        });
        let known = Known { changes, asked: offset, start, extents: extents.collect() };
        let extent = known.at(offset, end);
        *self.known.lock().unwrap() = Some(known);
        extent.ok_or_else(|| invalid("the server's reply to a block status request is too short"))
    }

    fn fua(&self, wanted: bool) -> u16 {
        if (wanted || self.cache.writethrough()) && self.export.can_fua() { FUA } else { 0 }
    }

    /// After writes to a server that does not know FUA.
    async fn made_durable(&self, wanted: bool) -> io::Result<()> {
        match (wanted || self.cache.writethrough()) && !self.export.can_fua() {
            true => self.flush_export().await,
            false => Ok(()),
        }
    }

    async fn pieces(&self, command: Command, flags: u16, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).ok_or_else(|| refused("the range is past the end of all exports"))?;
        let mut at = offset;
        while at < end {
            let length = (end - at).min(MOST_DATALESS);
            self.submit(command, flags, at, length as u32, Payload::None).await?;
            at += length;
        }
        Ok(())
    }

    async fn submit(&self, command: Command, flags: u16, off: u64, len: u32, data: Payload) -> io::Result<Answer> {
        let asked = |why: io::Error| io::Error::new(why.kind(), format!("{command:?} of {len} bytes at {off}: {why}"));
        let modifies = matches!(command, Command::Write | Command::WriteZeroes | Command::Trim);
        if modifies && self.read_only() {
            return Err(asked(io::Error::new(ErrorKind::ReadOnlyFilesystem, "the export is read-only")));
        }
        if off.checked_add(len.into()).is_none_or(|end| end > self.export.size) {
            return Err(asked(io::Error::new(ErrorKind::StorageFull, "past the end of the export")));
        }
        let guard = match modifies {
            true => Some(Change::begin(&self.changes, self.modifying.clone().read_owned().await)),
            false => None,
        };
        let (reply, answer) = oneshot::channel();
        // The task at the other end outlives this, and answers every request.
        let _ = self.queue.send(Request::new(command, flags, off, len, data, reply, guard)).await;
        answer.await.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into())).map_err(asked)
    }
}

impl Storage for Nbd {
    fn req_align(&self) -> usize {
        self.export.align as usize
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.export.size)
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let there = self.export.size.saturating_sub(offset).min(bufv.len());
        if there == bufv.len() && there <= self.export.most.into() {
            return self.read_piece(offset, there as u32, |data| bufv.copy_from_slice(data)).await;
        }
        let mut buf = vec![0; bufv.len() as usize];
        self.read(offset, &mut buf[..there as usize]).await?;
        bufv.copy_from_slice(&buf);
        Ok(())
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        let mut data = vec![0; bufv.len() as usize];
        bufv.copy_into_slice(&mut data);
        self.write(offset, &data, false).await
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write_zeroes(offset, length, false, false).await
    }

    async unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write_zeroes(offset, length, true, false).await
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.trim(offset, length).await
    }

    async fn flush(&self) -> io::Result<()> {
        Ok(()) // no buffers on this side
    }

    async fn sync(&self) -> io::Result<()> {
        match self.cache.unsafe_flush() {
            true => Ok(()),
            false => self.flush_export().await,
        }
    }

    async fn settle_writes(&self) -> io::Result<()> {
        drop(self.modifying.write().await);
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    async fn resize(&self, new_size: u64, _: PreallocateMode) -> io::Result<()> {
        match new_size <= self.export.size {
            true => Ok(()),
            false => Err(refused("an NBD export does not grow")),
        }
    }
}

impl Debug for Nbd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nbd").field("url", &self.url).field("export", &self.export).finish_non_exhaustive()
    }
}

impl Display for Nbd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
