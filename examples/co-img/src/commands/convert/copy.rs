//! The copying of `convert`: which pieces of the source are read and written, in which order, and on how many threads.
//!
//! A thread takes a *stripe* of the source at a time, and cuts it into *pieces* of a window at most, each of data or of
//! zeroes. Pieces are read and written in *batches*, several of them in flight.
//!
//! Invariants: a grain of the target is written once, also where zeroes and data share it. After an error no thread begins
//! another batch. Images are opened, made and flushed by the caller, in `convert.rs`.

use std::io;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread::{self, ScopedJoinHandle};

use co_wrapper::co_wrapper;
use futures::future::try_join_all;
use futures::stream::{self, TryStreamExt};
use tokio::task::unconstrained;

use crate::backend::{
    BlockBackend, BlockStatus, blk_co_block_status, blk_co_pread, blk_co_pwrite, blk_co_pwrite_zeroes,
    blk_co_read_ahead,
};
use crate::error::{Doing, Error, Result};
use crate::in_flight::{InFlight, all_of};
use crate::name::Name;
use crate::progress::Progress;

/// So much is copied at a time, or a cluster where these are larger, so that none is written or unpacked twice. Small enough
/// for the processor's cache to have it still when it is written.
pub(super) const WINDOW: u64 = 256 << 10;
/// So many windows are in flight. Times [`WINDOW`], and again for what drivers copy, this is the memory it takes.
const IN_FLIGHT: usize = 8;
/// On so many threads, if the source is on files: one reads while the other one writes. What is in flight is theirs together.
/// A server is one thread's, which asks it in order.
const THREADS: usize = 2;
/// So many windows a thread reads before it writes them, where threads take turns. Each turn costs waking the other thread,
/// and this is memory of each.
const BATCH: u64 = 8;
/// So much a thread takes at a time: some windows.
const STRIPE: u64 = 8 << 20;

/// What is to be copied, and how.
pub(super) struct Copy<'a> {
    pub(super) from: &'a BlockBackend,
    pub(super) to: &'a BlockBackend,
    /// Where to stop.
    pub(super) end: u64,
    /// The target reads as zeroes where nothing has been written.
    pub(super) blank: bool,
    /// Only what the source has itself is copied.
    pub(super) own: bool,
    /// So many zeroes in a row are left out, or none.
    pub(super) sparse: u64,
    /// A piece does not go beyond a multiple of this.
    pub(super) window: u64,
    /// Zeroes are looked for in pieces of this size.
    pub(super) grain: u64,
    pub(super) progress: &'a Progress,
    /// Up to here threads have taken it.
    pub(super) taken: Mutex<u64>,
    /// A write to the target ends when the page cache has it.
    pub(super) page_cache: bool,
    /// All threads'.
    pub(super) in_flight: InFlight,
}

/// How one of the threads copies.
#[derive(Clone, Copy)]
struct Pace<'a> {
    /// So many pieces are read before they are written.
    batch: usize,
    /// So many batches are in flight.
    in_flight: usize,
    /// Who writes has this, if threads take turns. The system has one thread at a time write to a file's pages, and imago one
    /// at a time look for room in an image, so others would wait, in the middle of each write and in more expensive ways.
    turn: Option<&'a tokio::sync::Mutex<()>>,
}

/// What a thread has taken, and has not begun to copy.
#[derive(Default)]
struct Share {
    at: u64,
    end: u64,
    /// The stripe that comes after that.
    next: (u64, u64),
    /// Up to here nothing is to be read, as far as is known.
    left_out: u64,
}

/// A piece of the source, with data or to be read as zeroes.
struct Piece {
    at: u64,
    length: u64,
    zero: bool,
    /// Left as it is.
    skip: bool,
}

/// What was read of a piece. Of one that is none of data, nothing.
#[derive(Default)]
struct Content {
    buffer: Option<Vec<u8>>,
    /// What the buffer begins with: zeroes that are left out, or data, and how much of it, in turns.
    runs: Vec<(bool, usize)>,
}

/// Buffers of a window each. What they had need not be cleared.
type Buffers = Mutex<Vec<Vec<u8>>>;

/// Copies one thread's share.
#[co_wrapper(expect_long)]
async fn img_co_convert(copy: &Copy<'_>, pace: Pace<'_>) -> Result<()> {
    let batches = stream::try_unfold(Share::default(), |mut share| async move {
        let batch = copy.batch(&mut share, pace.batch).await?;
        Ok((!batch.is_empty()).then_some((batch, share)))
    });
    let buffers = &Buffers::default();
    let batches = batches.map_ok(|batch| copy.batch_over(batch, pace.turn, buffers));
    let copying = copy.in_flight.run(batches, pace.in_flight);
    // Below a host's runtime its budget would run out in the first poll; a stream of futures is then woken through wakers
    // of its own, which the host keeps back until we return.
    unconstrained(copying).await
}

impl Copy<'_> {
    /// Copies all of it.
    pub(super) fn run(&self) -> Result<()> {
        let on_files = self.from.layers.iter().all(|layer| matches!(layer.place, Name::Path(_)));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = if on_files { THREADS.min(processors) } else { 1 };
        let turn = tokio::sync::Mutex::default();
        let pace = match threads > 1 && self.page_cache {
            true => Pace { batch: (BATCH * WINDOW / self.window).max(1) as usize, in_flight: 1, turn: Some(&turn) },
            // Whose writes wait for a disk or a server has several of them wait at once.
            false => Pace { batch: 1, in_flight: IN_FLIGHT / threads, turn: None },
        };
        let share = || img_convert(self, pace);
        thread::scope(|scope| {
            // If there can be no other thread, this one does it all.
            let other = |_| thread::Builder::new().name("convert".into()).spawn_scoped(scope, share).ok();
            let others: Vec<_> = (1..threads).filter_map(other).collect();
            let joined = |other: ScopedJoinHandle<'_, _>| other.join().unwrap_or_else(|panic| resume_unwind(panic));
            others.into_iter().map(joined).fold(share(), Result::and)
        })
    }

    /// So many pieces of a share, or those that are left.
    async fn batch(&self, share: &mut Share, pieces: usize) -> Result<Vec<Piece>> {
        let mut batch = Vec::with_capacity(pieces);
        while batch.len() < pieces && (share.at < share.end || self.next_stripe(share).await?) {
            batch.push(self.piece(share).await?);
        }
        Ok(batch)
    }

    /// Begins with the stripe that was taken before, and takes another one, which is read ahead meanwhile.
    async fn next_stripe(&self, share: &mut Share) -> Result<bool> {
        share.at = share.end;
        while share.at == share.end {
            let next = self.take(share.left_out);
            (share.at, share.end) = mem::replace(&mut share.next, next);
            if next.0 < next.1 {
                let read_ahead = blk_co_read_ahead(self.from, next.0, next.1 - next.0);
                read_ahead.await.map_err(Error::at(Doing::Map, self.from.name()))?;
            } else {
                break;
            }
        }
        Ok(share.at < share.end)
    }

    /// Takes a stripe, or as many as there is nothing to be read of up to `left_out`. An empty one if none is left.
    fn take(&self, left_out: u64) -> (u64, u64) {
        let (mut taken, end) = (self.taken.lock().unwrap(), self.end);
        let from = (*taken).min(end);
        if from < end {
            *taken = (from + STRIPE).max(left_out / STRIPE * STRIPE).min(end);
        }
        (from, (*taken).min(end))
    }

    /// What is next in a share: zeroes as far as they go, or data up to the window's end or the zeroes that this ends with.
    /// There may be more zeroes in it.
    async fn piece(&self, share: &mut Share) -> Result<Piece> {
        let status = async |at, length| {
            blk_co_block_status(self.from, at, length).await.map_err(Error::at(Doing::Map, self.from.name()))
        };
        let Share { at, end, .. } = *share;
        let window = (at + 1).next_multiple_of(self.window).min(end);
        let found = status(at, self.end - at).await?;
        let alike = found.length.min(end - at);
        let left_out = |found: &BlockStatus| found.zero && self.sparse > 0;
        let mut piece =
            Piece { at, length: alike, zero: left_out(&found), skip: self.own && (!found.present || found.depth > 0) };
        if self.own {
            if !piece.skip && !piece.zero {
                piece.length = alike.min(window - at);
            }
        } else {
            // What zeroes and data have in common of a grain is data: a grain is written once.
            if piece.zero && at + alike < end {
                piece.length = ((at + alike) / self.grain * self.grain).saturating_sub(at);
                piece.zero = piece.length > 0;
            }
            if !piece.zero {
                let (mut to, mut data) = (at + alike, at + alike);
                while to < window {
                    let found = status(to, window - to).await?;
                    to += found.length;
                    if !left_out(&found) {
                        data = to;
                    }
                }
                piece.length = data.next_multiple_of(self.grain).min(window) - at;
            }
        }
        share.at += piece.length;
        share.left_out = if piece.zero || piece.skip { at + found.length } else { 0 };
        Ok(piece)
    }

    async fn batch_over(
        &self,
        batch: Vec<Piece>,
        turn: Option<&tokio::sync::Mutex<()>>,
        buffers: &Buffers,
    ) -> Result<()> {
        let reads = try_join_all(batch.iter().map(|piece| self.read(piece, buffers)));
        let Some(read) = self.in_flight.unless_stopped(reads).await.transpose()? else { return Ok(()) };
        let turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let mut pieces = batch.iter().zip(&read);
        // The next thread takes about as long to wake up as the last write does, so the two meet in the system at most. In a
        // qcow2 image they would meet in imago, which would have one of them sleep again.
        let last = if self.to.is_raw() { pieces.next_back() } else { None };
        all_of(pieces.map(|(piece, content)| self.write(piece, content))).await?;
        drop(turn);
        if let Some((piece, content)) = last {
            self.write(piece, content).await?;
        }
        buffers.lock().unwrap().extend(read.into_iter().filter_map(|content| content.buffer));
        self.progress.inc(batch.iter().map(|piece| piece.length).sum());
        Ok(())
    }

    /// Reads a piece, if it is one of data.
    async fn read(&self, piece: &Piece, buffers: &Buffers) -> Result<Content> {
        if piece.zero || piece.skip {
            return Ok(Content::default());
        }
        let mut buffer = buffers.lock().unwrap().pop().unwrap_or_else(|| vec![0; self.window as usize]);
        let buf = &mut buffer[..piece.length as usize];
        blk_co_pread(self.from, piece.at, buf).await.map_err(Error::at(Doing::Read, self.from.name()))?;
        let (mut runs, mut done) = (Vec::<(bool, usize)>::new(), 0);
        while done < buf.len() {
            let (zero, length) = run_of(&buf[done..], piece.at + done as u64, self.grain);
            done += length;
            // Zeroes that may go on in the next piece are many enough.
            let zero = zero && self.sparse > 0 && (length as u64 >= self.sparse || done == buf.len());
            match runs.last_mut() {
                Some(last) if last.0 == zero => last.1 += length,
                _ => runs.push((zero, length)),
            }
        }
        Ok(Content { buffer: Some(buffer), runs })
    }

    async fn write(&self, &Piece { at, length, zero, skip }: &Piece, content: &Content) -> Result<()> {
        if skip {
            return Ok(());
        }
        if zero {
            return self.zeroes(at, length).await;
        }
        let (mut place, mut rest) = (at, content.buffer.as_deref().unwrap_or_default());
        for &(zero, length) in &content.runs {
            let (run, after) = rest.split_at(length);
            match zero {
                true => self.zeroes(place, length as u64).await?,
                false => blk_co_pwrite(self.to, place, run, false).await.map_err(self.failed())?,
            }
            (place, rest) = (place + length as u64, after);
        }
        Ok(())
    }

    async fn zeroes(&self, at: u64, length: u64) -> Result<()> {
        match self.blank {
            true => Ok(()),
            false => blk_co_pwrite_zeroes(self.to, at, length).await.map_err(self.failed()),
        }
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error {
        Error::at(Doing::Write, self.to.name())
    }
}

/// Whether `buf`, which is for `at`, begins with zeroes or with data, and how much of it, in grains.
fn run_of(buf: &[u8], at: u64, grain: u64) -> (bool, usize) {
    let grain_end = |done: usize| {
        let place = at + done as u64;
        (done + (grain - place % grain) as usize).min(buf.len())
    };
    let mut end = grain_end(0);
    let zero = is_zero(&buf[..end]);
    while end < buf.len() && is_zero(&buf[end..grain_end(end)]) == zero {
        end = grain_end(end);
    }
    (zero, end)
}

fn is_zero(buf: &[u8]) -> bool {
    // The first bytes decide most of the time; comparing the rest with itself, shifted, is a memcmp.
    let (head, rest) = buf.split_at(buf.len().min(16));
    head.iter().all(|byte| *byte == 0) && rest == &buf[..rest.len()]
}

#[cfg(test)]
mod tests {
    use super::run_of;

    #[test]
    fn runs_end_where_grains_do() {
        let mut buf = vec![0; 100];
        assert_eq!(run_of(&buf, 3, 16), (true, 100));
        buf[40] = 1;
        assert_eq!(run_of(&buf, 3, 16), (true, 29)); // 3 + 29 = 2 * 16
        assert_eq!(run_of(&buf[29..], 32, 16), (false, 16));
        assert_eq!(run_of(&buf[45..], 48, 16), (true, 55));
        assert_eq!(run_of(&[7], 48, 16), (false, 1));
    }
}
