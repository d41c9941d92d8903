//! A block driver written once, async; its blocking half is generated. A pattern to copy.
//!
//!     cargo run --release --example blockdev        # makes an image, reads it from everywhere
//!     cargo run --release --example blockdev -- 'nbd+unix:///img?socket=/run/nbd.sock&timeout=5'
//!
//! A `Disk` is a `co_wrapper::file::File`, or a queue to one task, which owns a socket and lives on the process-wide reactor.
//! So any thread, executor and runtime may use it, all at once; a call dropped half-way tears no request and no reply, for it
//! neither writes nor reads the socket, and what goes on has buffers of its own; and no caller ever works on behalf of another.

use std::io::{self, Error, ErrorKind as Kind, Write};
use std::sync::{Arc, Mutex};
use std::{collections::BTreeMap, env, mem, process::ExitCode, thread, time::Duration};

use co_wrapper::file::File;
use co_wrapper::{blocking::Device, co_wrapper, reactor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

/// A raw image file, a block device or an NBD export. Calls in flight together are not ordered. One that is dropped may
/// or may not take effect, and disturbs no other.
pub struct Disk {
    /// In bytes.
    pub size: u64,
    flags: u16,
    align: u64,
    most: usize,
    medium: Medium,
}

enum Medium {
    File(File),
    Nbd(mpsc::Sender<Request>),
}

struct Request {
    command: Command,
    off: u64,
    len: usize,
    data: Vec<u8>,
    reply: oneshot::Sender<io::Result<Vec<u8>>>,
}

/// NBD's commands, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
}

const READ_ONLY: u16 = 1 << 1;
const CAN_FLUSH: u16 = 1 << 2;
const CAN_TRIM: u16 = 1 << 5;
const MOST: usize = 32 << 20; // what any NBD server takes in one request

#[co_wrapper(suffix = "_blocking", interrupt)]
impl Disk {
    /// Opens a path, `nbd://host[:port]/export` or `nbd+unix:///export?socket=path`; read-only if need be. With
    /// `?timeout=seconds` (30), a server that takes longer to open fails, and so does one that owes a reply twice as long.
    pub async fn open(url: &str) -> io::Result<Self> {
        let (address, export, patience) = parse(url)?;
        let open = async move {
            match address {
                Address::File(path) => open_file(&path).await,
                Address::Unix(path) => negotiate(UnixStream::connect(path).await?, &export, patience).await,
                Address::Tcp(host, port) => {
                    let socket = TcpStream::connect((host, port)).await?;
                    socket.set_nodelay(true)?;
                    negotiate(socket, &export, patience).await
                }
            }
        };
        let open = async move { tokio::time::timeout(patience, open).await };
        // The process's own, so that a disk opened in a host's runtime needs that runtime neither alive nor driven.
        reactor().spawn(open).await?.unwrap_or_else(|_| Err(Kind::TimedOut.into())).map_err(hung_up)
    }

    /// Fills `buf` from the bytes at `off`.
    pub async fn read(&self, off: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check(Command::Read, off, buf.len() as u64)?;
        if let Medium::File(file) = &self.medium {
            return Ok(file.read_at(buf, off).await?);
        }
        for (piece, at) in buf.chunks_mut(self.most).zip((off..).step_by(self.most)) {
            piece.copy_from_slice(&self.submit(Command::Read, at, piece.len(), &[]).await?);
        }
        Ok(())
    }

    /// Writes all of `data` at `off`; [`flush`](Self::flush) makes it durable.
    pub async fn write(&self, off: u64, data: &[u8]) -> io::Result<()> {
        self.check(Command::Write, off, data.len() as u64)?;
        if let Medium::File(file) = &self.medium {
            return Ok(file.write_at(data, off).await?);
        }
        for (piece, at) in data.chunks(self.most).zip((off..).step_by(self.most)) {
            self.submit(Command::Write, at, piece.len(), piece).await?;
        }
        Ok(())
    }

    /// Makes completed writes durable. A server that offers no flush holds nothing back: a no-op.
    pub async fn flush(&self) -> io::Result<()> {
        match &self.medium {
            Medium::File(file) => Ok(file.sync().await?),
            Medium::Nbd(_) if self.flags & CAN_FLUSH == 0 => Ok(()),
            Medium::Nbd(_) => self.submit(Command::Flush, 0, 0, &[]).await.map(drop),
        }
    }

    /// Says that nobody needs the range any more, which may then read as anything. A hint: a no-op where not offered.
    pub async fn trim(&self, off: u64, len: u64) -> io::Result<()> {
        self.check(Command::Trim, off, len)?;
        for at in (off..off + len).step_by(self.most).filter(|_| self.flags & CAN_TRIM != 0) {
            self.submit(Command::Trim, at, self.most.min((off + len - at) as usize), &[]).await?;
        }
        Ok(())
    }

    fn check(&self, command: Command, off: u64, len: u64) -> io::Result<()> {
        let faults = [
            (off.checked_add(len).is_none_or(|end| end > self.size), "past the end of the disk"),
            (command != Command::Read && self.flags & READ_ONLY != 0, "the disk is read-only"),
            (!(off | len).is_multiple_of(self.align), "not aligned to the server's blocks"),
        ];
        match faults.iter().find(|(fault, _)| *fault) {
            Some((_, why)) => {
                Err(Error::new(Kind::InvalidInput, format!("{command:?} of {len} bytes at {off}: {why}")))
            }
            None => Ok(()),
        }
    }

    #[co_wrapper(skip)]
    async fn submit(&self, command: Command, off: u64, len: usize, data: &[u8]) -> io::Result<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        let Medium::Nbd(queue) = &self.medium else { unreachable!("a file is asked without a queue") };
        // The task at the other end outlives the disk, and answers every request.
        let _ = queue.send(Request { command, off, len, data: data.to_vec(), reply }).await;
        let answer = answer.await.unwrap_or_else(|_| Err(Kind::BrokenPipe.into()));
        answer.map_err(|why| Error::new(why.kind(), format!("{command:?} of {len} bytes at {off}: {why}")))
    }
}

/// For crates that want `Read + Write + Seek`: `blocking::Cursor` has them over this. See `format_disk.rs`.
impl Device for Disk {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_blocking(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_blocking(offset, data)
    }

    fn flush(&self) -> io::Result<()> {
        self.flush_blocking()
    }

    fn alignment(&self) -> u64 {
        self.align
    }
}

fn hung_up(cause: Error) -> Error {
    match cause.kind() {
        Kind::UnexpectedEof => Error::new(Kind::ConnectionAborted, "the server hung up"),
        _ => cause,
    }
}

/// Writes run on the caller's thread, as long as they are quick: see `inline`.
async fn open_file(path: &str) -> io::Result<Disk> {
    let (file, flags) = match File::options().write(true).inline(true).open(path).await {
        Ok(file) => (file, CAN_FLUSH),
        Err(_) => (File::open(path).await?, CAN_FLUSH | READ_ONLY),
    };
    Ok(Disk { size: file.size().await?, flags, align: 1, most: MOST, medium: Medium::File(file) })
}

#[derive(Debug, PartialEq)]
enum Address {
    File(String),
    Tcp(String, u16),
    Unix(String),
}

fn parse(url: &str) -> io::Result<(Address, String, Duration)> {
    let bad = || Error::new(Kind::InvalidInput, "not nbd://host:port/export or nbd+unix:///export?socket=path");
    let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| bad());
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| scheme.starts_with("nbd")) else {
        return Ok((Address::File(url.into()), String::new(), Duration::from_secs(30)));
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, export) = rest.split_once('/').unwrap_or((rest, ""));
    let option = |name| query.split('&').find_map(|option| option.strip_prefix(name));
    let patience = option("timeout=").map_or(Ok(30), str::parse).map_err(|_| bad())?;
    let address = match (scheme, option("socket=")) {
        ("nbd+unix", Some(path)) if host.is_empty() => Address::Unix(decode(path)?),
        ("nbd", None) => {
            let (host, port) =
                host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).unwrap_or((host, "10809"));
            Address::Tcp(decode(host.trim_matches(['[', ']']))?, port.parse().map_err(|_| bad())?)
        }
        _ => return Err(bad()),
    };
    Ok((address, decode(export)?, Duration::from_secs(patience)))
}

/// NBD's newstyle negotiation, by `NBD_OPT_GO` where the server knows it, else by `NBD_OPT_EXPORT_NAME`. A task then serves the connection until the disk is dropped.
async fn negotiate<S>(socket: S, export: &str, patience: Duration) -> io::Result<Disk>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    const EXPORT_NAME: u32 = 1;
    const GO: u32 = 7;
    let be = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let mut socket = BufReader::new(socket);
    if (socket.read_u64().await?, socket.read_u64().await?) != (be(b"NBDMAGIC"), be(b"IHAVEOPT")) {
        return Err(Error::new(Kind::InvalidData, "not a newstyle NBD server"));
    }
    let ours = u32::from(socket.read_u16().await? & 3); // fixed newstyle and no zeroes, if it has them
    socket.write_all(&ours.to_be_bytes()).await?;
    let (mut size, mut flags, mut align, mut most) = (u64::MAX, 0, 1, MOST as u64);
    let mut by_name = ours & 1 == 0; // without fixed newstyle a server may know no other option
    if !by_name {
        let (name, wanted) = (export.len() as u32, [0, 1, 0, 3]); // one thing: NBD_INFO_BLOCK_SIZE
        let go = [b"IHAVEOPT", &GO.to_be_bytes()[..], &(name + 8).to_be_bytes(), &name.to_be_bytes()].concat();
        socket.write_all(&[&go, export.as_bytes(), &wanted].concat()).await?;
    }
    while !by_name {
        let (magic, option) = (socket.read_u64().await?, socket.read_u32().await?);
        let (kind, len) = (socket.read_u32().await?, socket.read_u32().await?);
        if (magic, option) != (0x0003_e889_0455_65a9, GO) || len > 64 << 10 {
            return Err(Error::new(Kind::InvalidData, "garbage in reply to NBD_OPT_GO"));
        }
        let mut body = vec![0; len as usize];
        socket.read_exact(&mut body).await?;
        match (kind, &body[..]) {
            (1, _) => break,
            (3, [0, 0, info @ ..]) if len == 12 => (size, flags) = (be(&info[..8]), be(&info[8..]) as u16),
            (3, [0, 3, info @ ..]) if len == 14 => (align, most) = (be(&info[..4]), be(&info[8..])),
            (3, [_, 1 | 2 | 4..=u8::MAX, ..]) => {} // information that nobody asked for
            (0x8000_0001, _) => by_name = true,
            (0x8000_0000.., why) => {
                let (error, why) = (kind & 0xffff, String::from_utf8_lossy(why));
                return Err(Error::other(format!("the server refuses export {export:?}: error {error}, {why:?}")));
            }
            _ => return Err(Error::new(Kind::InvalidData, "garbage in reply to NBD_OPT_GO")),
        }
    }
    if by_name {
        let name = export.len() as u32;
        socket.write_all(&[b"IHAVEOPT", &EXPORT_NAME.to_be_bytes()[..], &name.to_be_bytes()].concat()).await?;
        socket.write_all(export.as_bytes()).await?;
        // This option has no reply but the export, or the connection's end.
        size = socket.read_u64().await.map_err(|cause| match cause.kind() {
            Kind::UnexpectedEof => Error::other(format!("the server refuses export {export:?}: it hung up")),
            _ => cause,
        })?;
        flags = socket.read_u16().await?;
        let zeroes = if ours & 2 == 0 { 124 } else { 0 };
        socket.read_exact(&mut [0; 124][..zeroes]).await?;
    }
    if size > i64::MAX as u64 || flags & 1 == 0 || !align.is_power_of_two() || align > most.min(MOST as u64) {
        let claim = format!("impossible size {size}, flags {flags:#x} or blocks of {align} to {most} bytes");
        return Err(Error::new(Kind::InvalidData, claim));
    }
    let most = (most.min(MOST as u64) & !(align - 1)) as usize;
    let (queue, requests) = mpsc::channel(16);
    tokio::spawn(serve(socket, requests, patience));
    Ok(Disk { size, flags, align, most, medium: Medium::Nbd(queue) })
}

/// Owns one connection. Whatever ends it is the answer to all calls, those outstanding and those to come.
async fn serve(socket: impl AsyncRead + AsyncWrite, mut requests: mpsc::Receiver<Request>, patience: Duration) {
    let (mut r, mut w) = tokio::io::split(socket);
    let owed = Mutex::new(BTreeMap::<u64, Request>::new()); // sent but not answered, oldest first
    let sending = async {
        for cookie in 0.. {
            let Some(mut request) = requests.recv().await else { break };
            let data = mem::take(&mut request.data);
            let packet = packet(request.command, cookie, request.off, request.len as u32, &data);
            owed.lock().unwrap().insert(cookie, request);
            w.write_all(&packet).await?;
        }
        w.write_all(&packet(Command::Disconnect, 0, 0, 0, &[])).await?;
        w.shutdown().await.and(Err(Kind::NotConnected.into()))
    };
    let receiving = async {
        loop {
            let (magic, error, cookie) = (r.read_u32().await?, r.read_u32().await?, r.read_u64().await?);
            let asked = owed.lock().unwrap().get(&cookie).map(|request| (request.command, request.len));
            let (0x6744_6698, Some((command, len))) = (magic, asked) else {
                return Err(Error::new(
                    Kind::InvalidData,
                    format!("a reply to no request: magic {magic:#x}, cookie {cookie:#x}"),
                ));
            };
            let mut data = vec![0; if command == Command::Read && error == 0 { len } else { 0 }];
            r.read_exact(&mut data).await?;
            // A caller that has gone is owed nothing, but its reply had to be read.
            let answer = if error == 0 { Ok(data) } else { Err(Error::from_raw_os_error(error as i32)) };
            owed.lock().unwrap().remove(&cookie).map(|request| request.reply.send(answer));
        }
    };
    let oldest = || owed.lock().unwrap().keys().next().copied();
    let silence = async {
        loop {
            let before = oldest();
            tokio::time::sleep(patience).await;
            if before.is_some() && before == oldest() {
                return Err(Kind::TimedOut.into());
            }
        }
    };
    let ended: io::Result<((), (), ())> = tokio::try_join!(biased; receiving, sending, silence);
    let Err(cause) = ended.map_err(hung_up) else { return };
    let fail = |request: Request| _ = request.reply.send(Err(Error::new(cause.kind(), cause.to_string())));
    owed.into_inner().unwrap().into_values().for_each(fail);
    while let Some(request) = requests.recv().await {
        fail(request);
    }
}

fn packet(command: Command, cookie: u64, off: u64, len: u32, data: &[u8]) -> Vec<u8> {
    let (magic, command) = (0x2560_9513_u32.to_be_bytes(), (command as u32).to_be_bytes());
    [&magic[..], &command, &cookie.to_be_bytes(), &off.to_be_bytes(), &len.to_be_bytes(), data].concat()
}

/// The size, the partition table and a checksum, for people.
#[co_wrapper(mixed, expect_long)]
async fn disk_co_survey(disk: &Disk) -> io::Result<String> {
    let (mut text, mut crc, mut buf) = (String::new(), crc32fast::Hasher::new(), vec![0; 1 << 20]);
    for at in (0..disk.size).step_by(buf.len()) {
        let piece = &mut buf[..(disk.size - at).min(1 << 20) as usize];
        disk.read(at, piece).await?;
        crc.update(piece);
        if at == 0 {
            let row = |[kind, at, len]: [u32; 3]| format!("  type {kind:02x}: {len:8} sectors from {at}\n");
            text.extend(partitions(piece).into_iter().map(row));
        }
    }
    Ok(format!("  {} bytes, crc32 {:08x}\n{text}", disk.size, crc.finalize()))
}

/// Blocking code of old, reached from a coroutine.
#[co_wrapper]
async fn disk_co_nested(disk: &Disk) -> io::Result<String> {
    disk_survey(disk)
}

/// Type, first sector and number of sectors, of what an MBR lists.
fn partitions(boot: &[u8]) -> Vec<[u32; 3]> {
    let Some([table @ .., 0x55, 0xaa]) = boot.get(446..512) else { return Vec::new() };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte));
    let used = table.chunks(16).filter(|entry| entry[0] & 0x7f == 0 && entry[4] != 0);
    used.map(|entry| [&entry[4..5], &entry[8..12], &entry[12..]].map(number)).collect()
}

fn boot_sector(partitions: &[[u32; 3]]) -> Vec<u8> {
    let mut sector = vec![0; 510];
    for (&[kind, start, sectors], entry) in partitions.iter().zip(sector[446..].chunks_mut(16)) {
        entry[1..8].copy_from_slice(&[0xfe, 0xff, 0xff, kind as u8, 0xfe, 0xff, 0xff]); // no CHS: "use the LBA"
        entry[8..].copy_from_slice(&[start, sectors].map(u32::to_le_bytes).concat());
    }
    [sector, vec![0x55, 0xaa]].concat()
}

fn demo() -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("disk.img").display().to_string();
    std::fs::File::create(&path)?.set_len(16 << 20)?;
    let disk = Arc::new(Disk::open_blocking(&path)?);
    let layout = [[0xef, 2048, 4096], [0x82, 6144, 2048], [0x83, 8192, 24576]];
    disk.write_blocking(0, &boot_sector(&layout))?;
    let content: Vec<u8> = (512..disk.size).map(|at| (at / 512 * 7 + at) as u8).collect();
    disk.write_blocking(512, &content)?;
    disk.trim_blocking(6144 * 512, 2048 * 512)?;
    disk.flush_blocking()?;
    let task = async |disk: Arc<Disk>| tokio::spawn(async move { disk_co_survey(&disk).await }).await?;
    // These runtimes drive neither sockets nor timers: the disk brings its own reactor.
    let (multi, current) = (Builder::new_multi_thread().build()?, Builder::new_current_thread().build()?);
    let surveys = [
        ("this thread, blocking", disk_survey(&disk)?),
        ("another thread, blocking", thread::scope(|s| s.spawn(|| disk_survey(&disk)).join().unwrap())?),
        ("a multi_thread runtime's task, awaiting", multi.block_on(task(disk.clone()))?),
        ("a current_thread runtime's task, awaiting", current.block_on(task(disk.clone()))?),
        ("a coroutine, blocking (nested)", disk_nested(&disk)?),
    ];
    let (places, texts): (Vec<_>, Vec<_>) = surveys.into_iter().unzip();
    match texts.iter().all(|text| *text == texts[0]) {
        true => Ok(format!("a new raw image\n{}read alike from\n  {}\n", texts[0], places.join("\n  "))),
        false => Err(Error::new(Kind::InvalidData, format!("read differently: {texts:?}"))),
    }
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let report = match &args[..] {
        [] => demo(),
        [url] => Disk::open_blocking(url).and_then(|disk| disk_survey(&disk)).map(|survey| format!("{url}\n{survey}")),
        _ => Err(Error::other("usage: blockdev [path or NBD URL]")),
    };
    let Err(cause) = report.and_then(|report| io::stdout().write_all(report.as_bytes())) else {
        return ExitCode::SUCCESS;
    };
    let line = format!("blockdev: {}: {cause}", args.first().map_or("demo", String::as_str));
    let _ = writeln!(io::stderr(), "{}", line.replace(char::is_control, " "));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parsed = |url| parse(url).ok().map(|(address, export, patience)| (address, export, patience.as_secs()));
        let tcp = |host: &str, port| Address::Tcp(host.into(), port);
        assert_eq!(parsed("nbd://h"), Some((tcp("h", 10809), "".into(), 30)));
        assert_eq!(parsed("nbd://[::1]:7/a%20b/c?timeout=5"), Some((tcp("::1", 7), "a b/c".into(), 5)));
        assert_eq!(parsed("nbd+unix:///x?socket=/a%3fb"), Some((Address::Unix("/a?b".into()), "x".into(), 30)));
        assert_eq!(parsed("a/nbd://b"), Some((Address::File("a/nbd://b".into()), "".into(), 30)));
        assert_eq!(["nbds://h/", "nbd+unix:///x", "nbd://h:x/"].map(parsed), [None, None, None]);
    }
}
