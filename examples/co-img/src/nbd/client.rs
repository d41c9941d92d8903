//! The task that owns the connection: sends what is asked, matches what is answered, and connects again.

use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::connect::{Export, Socket, connect, hung_up};
use super::reply::{Answer, Body, Head, Partial};
use super::{Change, Command, FUA};
use crate::error::invalid;
use crate::name::NbdUrl;

/// So many connections may be lost while a request waits, for it may be what the server dies of.
const MOST_TRIES: u32 = 3;

/// One request, until it is answered. All of them may be sent twice: none but a flush depends on what went before, and
/// what a flush covers is seen to by [`Unflushed`].
pub(super) struct Request {
    command: Command,
    flags: u16,
    off: u64,
    len: u32,
    data: Arc<[u8]>,
    reply: oneshot::Sender<io::Result<Answer>>,
    /// Let go of when it is answered.
    change: Option<Change>,
    partial: Partial,
    tries: u32,
    /// Of a flush: see [`Unflushed::changes`], as it was when this was sent.
    covers: u64,
}

/// What the server has taken and may still lose. A server that is back need not have it any more, and nobody here does. So a
/// connection that is lost meanwhile is not made again: a flush of the next server would promise what that one never had,
/// and a read might get what was there before.
#[derive(Default)]
struct Unflushed {
    /// How many changes were answered that are not durable by themselves.
    changes: AtomicU64,
    /// So many of them are durable. A flush covers what was answered before it was sent.
    durable: AtomicU64,
}

impl Unflushed {
    /// A request was answered, and well.
    fn answered(&self, request: &Request) {
        match request.command {
            Command::Write | Command::WriteZeroes | Command::Trim if request.flags & FUA == 0 => {
                self.changes.fetch_add(1, Relaxed);
            }
            Command::Flush => _ = self.durable.fetch_max(request.covers, Relaxed),
            _ => {}
        }
    }

    fn any(&self) -> bool {
        self.durable.load(Relaxed) < self.changes.load(Relaxed)
    }
}

/// The bytes of a request.
pub(super) enum Payload {
    None,
    /// What is written.
    Write(Arc<[u8]>),
    /// Where to read to: as long as the read, with anything in it. The answer has this buffer.
    Read(Vec<u8>),
}

impl Request {
    pub(super) fn new(
        command: Command,
        flags: u16,
        off: u64,
        len: u32,
        data: Payload,
        reply: oneshot::Sender<io::Result<Answer>>,
        change: Option<Change>,
    ) -> Self {
        let (data, buffer) = match data {
            Payload::None => Default::default(),
            Payload::Write(data) => (data, Vec::new()),
            Payload::Read(buffer) => (Arc::default(), buffer),
        };
        let partial = Partial::new(buffer);
        Request { command, flags, off, len, data, reply, change, partial, tries: 0, covers: 0 }
    }

    /// Nothing of the answer has come.
    fn begin_again(&mut self) {
        self.partial.begin_again(if self.command == Command::Read { self.len as usize } else { 0 });
    }

    fn head(&self, cookie: u64) -> Vec<u8> {
        head(self.command, self.flags, cookie, self.off, self.len)
    }

    fn fail(self, cause: &Error) {
        self.answer(Err(Error::new(cause.kind(), cause.to_string())));
    }

    /// The change ends before its caller goes on: what the caller then learns of extents is remembered.
    fn answer(self, answer: io::Result<Answer>) {
        let Request { reply, change, .. } = self;
        drop(change);
        let _ = reply.send(answer);
    }
}

fn head(command: Command, flags: u16, cookie: u64, off: u64, len: u32) -> Vec<u8> {
    let (magic, command) = (0x2560_9513_u32.to_be_bytes(), (command as u16).to_be_bytes());
    [&magic[..], &flags.to_be_bytes(), &command, &cookie.to_be_bytes(), &off.to_be_bytes(), &len.to_be_bytes()].concat()
}

/// Serves the queue until its other end is dropped. What ends a connection for good is the answer to all calls, those
/// outstanding and those to come.
pub(super) async fn serve(url: NbdUrl, export: Export, socket: Socket, mut requests: mpsc::Receiver<Request>) {
    let mut owed = BTreeMap::new();
    let unflushed = Unflushed::default();
    let mut next = 0;
    let mut socket = socket;
    let cause = loop {
        let lost = match session(&url, &export, socket, &mut requests, &mut owed, &unflushed, &mut next).await {
            Ok(()) => return,
            Err(cause) => hung_up(cause),
        };
        // A server that lies would lie again, and one that is silent has had its time.
        if matches!(lost.kind(), ErrorKind::InvalidData | ErrorKind::TimedOut) {
            break lost;
        }
        // Who offers no flush holds nothing back.
        if export.can_flush() && unflushed.any() {
            let what = format!("{lost}; what was written since the last flush may be lost");
            break Error::new(lost.kind(), what);
        }
        // Sent or not: a server may hang up on sight.
        owed.values_mut().for_each(|request| request.tries += 1);
        let (again, given_up): (BTreeMap<u64, Request>, BTreeMap<_, _>) = std::mem::take(&mut owed)
            .into_iter()
            .filter(|(_, request)| !request.reply.is_closed() || request.change.is_some())
            .partition(|(_, request)| request.tries < MOST_TRIES);
        owed = again;
        given_up.into_values().for_each(|request| request.fail(&lost));
        // While nobody asks for anything, a server that hangs up on sight would be connected to for ever.
        if owed.is_empty() {
            let Some(request) = requests.recv().await else { return };
            owed.insert(next, request);
            next += 1;
        }
        match reconnect(&url, &export, lost).await {
            Ok(connected) => socket = connected,
            Err(cause) => break cause,
        }
    };
    owed.into_values().for_each(|request| request.fail(&cause));
    while let Some(request) = requests.recv().await {
        request.fail(&cause);
    }
}

/// Tries for as long as the URL says. The export has to be what it was.
async fn reconnect(url: &NbdUrl, export: &Export, lost: Error) -> io::Result<Socket> {
    let deadline = Instant::now() + url.reconnect;
    let mut pause = Duration::from_millis(50);
    let mut cause = lost;
    while Instant::now() < deadline {
        let connected = tokio::select! {
            connected = connect(url) => connected,
            () = sleep_until(deadline) => break,
        };
        match connected {
            Ok((socket, now)) if now == *export => return Ok(socket),
            Ok(_) => return Err(invalid("the server is back with another export")),
            Err(error) => cause = error,
        }
        sleep(pause.min(deadline - Instant::now())).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    Err(cause)
}

/// One connection's life. Ends well only when nobody wants anything any more.
async fn session(
    url: &NbdUrl,
    export: &Export,
    socket: Socket,
    requests: &mut mpsc::Receiver<Request>,
    owed: &mut BTreeMap<u64, Request>,
    unflushed: &Unflushed,
    next: &mut u64,
) -> io::Result<()> {
    // What has come of an answer was another connection's.
    owed.values_mut().for_each(Request::begin_again);
    let (mut r, mut w) = tokio::io::split(socket);
    let mut again: Vec<u64> = owed.keys().copied().collect();
    again.reverse();
    let owed = Mutex::new(owed); // sent but not answered, oldest first
    let sending = async {
        loop {
            let (cookie, mut request) = if let Some(cookie) = again.pop() {
                // Unless the server has answered what it was not asked again.
                let Some(request) = owed.lock().unwrap().remove(&cookie) else { continue };
                (cookie, request)
            } else {
                let Some(request) = requests.recv().await else { break };
                (*next, request)
            };
            let (head, data) = (request.head(cookie), request.data.clone());
            *next = (cookie + 1).max(*next);
            request.covers = unflushed.changes.load(Relaxed);
            owed.lock().unwrap().insert(cookie, request);
            w.write_all(&head).await?;
            w.write_all(&data).await?;
            w.flush().await?;
        }
        w.write_all(&head(Command::Disconnect, 0, 0, 0, 0)).await?;
        w.shutdown().await.and(Err(Error::from(ErrorKind::NotConnected)))
    };
    let receiving = async {
        loop {
            let head = Head::read(&mut r).await?;
            let asked = owed.lock().unwrap().get(&head.cookie).map(|request| (request.command, request.len));
            let Some((command, len)) = asked else {
                return Err(invalid(format!("a reply to no request: cookie {:#x}", head.cookie)));
            };
            let length = head.body(command, len, export.structured)?;
            let body = if let Some(count) = head.data() {
                let at = r.read_u64().await?;
                // The lock is not held while data comes.
                let (from, mut data) = {
                    let mut owed = owed.lock().unwrap();
                    let request = owed.get_mut(&head.cookie).expect("only this future takes requests away");
                    request.partial.place(at, count, request.off, len)?
                };
                r.read_exact(&mut data[from..][..count as usize]).await?;
                let mut owed = owed.lock().unwrap();
                owed.get_mut(&head.cookie).expect("as above").partial.put_back(data);
                Body::Placed
            } else {
                let mut body = vec![0; length as usize];
                r.read_exact(&mut body).await?;
                Body::Bytes(body)
            };
            let mut owed = owed.lock().unwrap();
            let request = owed.get_mut(&head.cookie).expect("only this future takes requests away");
            let answer = request.partial.take(command, request.off, len, export.allocation, &head, body)?;
            // A caller that has gone is owed nothing, but its reply had to be read.
            if let Some(answer) = answer {
                let request = owed.remove(&head.cookie).expect("taken away only here");
                if answer.is_ok() {
                    unflushed.answered(&request);
                }
                request.answer(answer);
            }
        }
    };
    let oldest = || owed.lock().unwrap().keys().next().copied();
    let silence = async {
        loop {
            let before = oldest();
            sleep(url.patience).await;
            if before.is_some() && before == oldest() {
                let what = format!("the server has owed a reply for {} s", url.patience.as_secs());
                return Err(Error::new(ErrorKind::TimedOut, what));
            }
        }
    };
    let ended: io::Result<((), (), ())> = tokio::try_join!(biased; receiving, sending, silence);
    match ended {
        Err(cause) if cause.kind() == ErrorKind::NotConnected => Ok(()),
        Err(cause) => Err(cause),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request as it is when it is answered.
    fn request(command: Command, flags: u16, covers: u64) -> Request {
        let (reply, _) = oneshot::channel();
        Request { covers, ..Request::new(command, flags, 0, 0, Payload::None, reply, None) }
    }

    #[test]
    fn a_flush_covers_what_was_answered_before_it_was_sent() {
        let changes = [Command::Write, Command::WriteZeroes, Command::Trim];
        for (command, flags, changed) in changes
            .map(|command| (command, 0, true))
            .into_iter()
            .chain(changes.map(|command| (command, FUA, false)))
            .chain([Command::Read, Command::BlockStatus, Command::Flush].map(|command| (command, 0, false)))
        {
            let unflushed = Unflushed::default();
            let flush = || request(Command::Flush, 0, unflushed.changes.load(Relaxed));
            unflushed.answered(&request(command, flags, 0));
            assert_eq!(unflushed.any(), changed, "{command:?}, {flags}");
            let (first, second) = (flush(), flush());
            unflushed.answered(&request(command, flags, 0)); // while both are under way
            unflushed.answered(&second);
            assert_eq!(unflushed.any(), changed, "{command:?}, {flags}");
            let third = flush();
            unflushed.answered(&third);
            assert!(!unflushed.any(), "{command:?}, {flags}");
            unflushed.answered(&first); // late
            assert!(!unflushed.any(), "{command:?}, {flags}");
        }
    }
}
