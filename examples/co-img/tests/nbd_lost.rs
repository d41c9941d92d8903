//! What a disk behind an NBD server loses: the server dies with writes that it has answered and not flushed, or the disk
//! cannot be flushed. No command may say then that all is well, and none may give up what another image had.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Folder, content, one_line, qemu_is_here};

const SIZE: usize = 512 << 10;
const HAS_FLAGS: u16 = 1;
const CAN_FLUSH: u16 = 1 << 2;
const CAN_FUA: u16 = 1 << 3;
const CAN_TRIM: u16 = 1 << 5;
const CAN_WRITE_ZEROES: u16 = 1 << 6;
const ALL: u16 = HAS_FLAGS | CAN_FLUSH | CAN_FUA | CAN_TRIM | CAN_WRITE_ZEROES;

/// What happens to the n-th request, or to the n-th flush, from 1 on. All others are served well.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The server dies before it has done the request.
    DiesBefore(usize),
    /// The server dies after it has done the request, and before it has answered.
    DiesAfter(usize),
    /// As Linux has it, the flush gives up what should have been written, and the next one does not tell.
    Flush(usize),
}

struct Disk {
    flags: u16,
    fault: Fault,
    /// What a read gets.
    written: Vec<u8>,
    /// What there is after a crash.
    durable: Vec<u8>,
    /// What was written and is to be made durable by a flush.
    dirty: Vec<Range<usize>>,
    requests: usize,
    flushes: usize,
    writes: usize,
    /// The first flush is not answered before so many writes are.
    flush_after: usize,
    has_failed: bool,
}

impl Disk {
    fn new(flags: u16, fault: Fault, image: Vec<u8>) -> Self {
        let durable = image.clone();
        let (dirty, requests, flushes, writes, flush_after, has_failed) = (Vec::new(), 0, 0, 0, 0, false);
        Disk { flags, fault, written: image, durable, dirty, requests, flushes, writes, flush_after, has_failed }
    }

    fn awaits_writes(&self) -> bool {
        self.writes < self.flush_after
    }

    fn crash(&mut self) {
        self.written.clone_from(&self.durable);
        self.dirty.clear();
    }

    /// Does what is asked. The answer is an error number, and data.
    fn serve(&mut self, command: u16, fua: bool, range: Range<usize>, data: &[u8]) -> (u32, Vec<u8>) {
        match command {
            0 => return (0, self.written[range].to_vec()),
            1 => {
                self.writes += 1;
                self.written[range.clone()].copy_from_slice(data);
            }
            6 => self.written[range.clone()].fill(0),
            3 => {
                self.flushes += 1;
                let dirty = std::mem::take(&mut self.dirty);
                if matches!(self.fault, Fault::Flush(n) if n == self.flushes) {
                    self.has_failed = true;
                    return (5, Vec::new());
                }
                for range in dirty {
                    self.durable[range.clone()].copy_from_slice(&self.written[range]);
                }
            }
            _ => {} // a trim, which is free to do nothing
        }
        match fua || self.flags & CAN_FLUSH == 0 {
            true => self.durable[range.clone()].copy_from_slice(&self.written[range]),
            false => self.dirty.push(range),
        }
        (0, Vec::new())
    }
}

/// A server, which comes back at once when it has died, and its URL.
fn served() -> (Arc<Mutex<Disk>>, String) {
    let disk = Arc::new(Mutex::new(Disk::new(ALL, Fault::None, Vec::new())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/img", listener.local_addr().unwrap());
    let served = disk.clone();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, served) = (socket.unwrap(), served.clone());
            // The client leaves when it has had enough.
            thread::spawn(move || _ = session(&mut socket, &served));
        }
    });
    (disk, url)
}

fn number<const N: usize>(socket: &mut TcpStream) -> io::Result<u64> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

fn session(socket: &mut TcpStream, disk: &Mutex<Disk>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
    number::<4>(socket)?;
    loop {
        number::<8>(socket)?;
        let option = number::<4>(socket)? as u32;
        let length = number::<4>(socket)?;
        io::copy(&mut Read::by_ref(socket).take(length), &mut io::sink())?;
        let reply = |kind: u32, body: &[u8]| {
            let head = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()];
            [&head.concat()[..], &(body.len() as u32).to_be_bytes(), body].concat()
        };
        if option != 7 {
            socket.write_all(&reply(1 << 31 | 1, b""))?;
            continue;
        }
        let (size, flags) = {
            let disk = disk.lock().unwrap();
            (disk.written.len() as u64, disk.flags)
        };
        socket.write_all(&reply(3, &[&[0, 0], &size.to_be_bytes()[..], &flags.to_be_bytes()].concat()))?;
        socket.write_all(&reply(1, b""))?;
        break;
    }
    let mut late = Vec::new();
    loop {
        number::<4>(socket)?;
        let (flags, command) = (number::<2>(socket)?, number::<2>(socket)? as u16);
        let (cookie, at) = (number::<8>(socket)?, number::<8>(socket)? as usize);
        let length = number::<4>(socket)? as usize;
        let mut data = vec![0; if command == 1 { length } else { 0 }];
        socket.read_exact(&mut data)?;
        let ((error, data), is_late) = {
            let mut disk = disk.lock().unwrap();
            if command == 2 {
                return Ok(());
            }
            disk.requests += 1;
            let (before, after) = match disk.fault {
                Fault::DiesBefore(n) => (n == disk.requests, false),
                Fault::DiesAfter(n) => (false, n == disk.requests),
                _ => (false, false),
            };
            let answer =
                if before { (0, Vec::new()) } else { disk.serve(command, flags & 1 != 0, at..at + length, &data) };
            if before || after {
                disk.has_failed = true;
                disk.crash();
                return Ok(());
            }
            (answer, command == 3 && disk.awaits_writes())
        };
        let head = [&0x6744_6698_u32.to_be_bytes()[..], &error.to_be_bytes(), &cookie.to_be_bytes()].concat();
        let answer = [&head[..], &data].concat();
        if is_late {
            late.extend(answer);
            continue;
        }
        socket.write_all(&answer)?;
        if !late.is_empty() && !disk.lock().unwrap().awaits_writes() {
            socket.write_all(&std::mem::take(&mut late))?;
        }
    }
}

/// Has `go` run with the n-th request or flush at fault, for all n that there are. It gets the disk, and tells whether the
/// command ended well. The result is how many did, and how many did not.
fn with_each_fault(
    disk: &Mutex<Disk>,
    flags: u16,
    image: &[u8],
    fault: fn(usize) -> Fault,
    go: impl Fn() -> bool,
) -> [usize; 2] {
    let mut ends = [0, 0];
    for n in 1.. {
        *disk.lock().unwrap() = Disk::new(flags, fault(n), image.to_vec());
        let well = go();
        if !disk.lock().unwrap().has_failed {
            assert!(well, "{:?}: nothing was wrong", fault(n));
            break;
        }
        ends[usize::from(!well)] += 1;
    }
    ends
}

/// Runs a command, and tells whether it ended well. What the disk has after a crash then is the source, and if `always`, also
/// if the command failed.
fn copies(
    folder: &Folder,
    disk: &Mutex<Disk>,
    args: &[&str],
    format: &str,
    compare: Option<&str>,
    always: bool,
) -> bool {
    let output = folder.run(args);
    let well = output.status.success();
    if !well {
        one_line(&output, 1, &["cannot "]);
    }
    if well || always {
        let fault = {
            let mut disk = disk.lock().unwrap();
            disk.crash();
            fs::write(folder.path("crashed"), &disk.durable).unwrap();
            std::mem::replace(&mut disk.fault, Fault::None)
        };
        let copy = compare.unwrap_or("crashed");
        let output = folder.run(&["compare", "-f", "raw", "-F", format, "raw", copy]);
        assert_eq!(output.status.code(), Some(0), "{args:?}, {fault:?}, ended well: {well}");
    }
    well
}

const FAULTS: [fn(usize) -> Fault; 3] = [Fault::DiesBefore, Fault::DiesAfter, Fault::Flush];

/// Catches: a server that comes back without what it had answered, and a flush of that server that promises it; a flush that
/// fails where nobody looks, and another that does not tell.
#[test]
fn what_a_server_may_have_lost_is_no_success() {
    let folder = Folder::new();
    folder.raw("raw", SIZE);
    folder.ok(&["create", "-f", "qcow2", "-o", "cluster_size=64k", "empty", "512k"]);
    let qcow2 = |name| {
        let mut image = fs::read(folder.path(name)).unwrap();
        image.resize(SIZE * 2, 0);
        image
    };
    let (disk, url) = served();
    for (cache, format, flags) in [
        ("writeback", "raw", ALL),
        ("writeback", "raw", ALL & !CAN_FUA & !CAN_WRITE_ZEROES),
        ("writethrough", "raw", ALL),
        ("writethrough", "raw", ALL & !CAN_FUA),
        ("writeback", "qcow2", ALL),
        // Without a flush a server holds nothing back.
        ("writeback", "raw", ALL & !CAN_FLUSH),
        ("writeback", "raw", HAS_FLAGS),
        ("writethrough", "raw", ALL & !CAN_FLUSH),
        ("writethrough", "raw", HAS_FLAGS),
        ("writeback", "qcow2", ALL & !CAN_FLUSH),
        ("writeback", "qcow2", HAS_FLAGS),
    ] {
        let image = if format == "raw" { vec![7; SIZE] } else { qcow2("empty") };
        let mut total = [0, 0];
        for fault in FAULTS {
            let args = ["convert", "-n", "-t", cache, "-f", "raw", "-O", format, "raw", &url];
            let ends =
                with_each_fault(&disk, flags, &image, fault, || copies(&folder, &disk, &args, format, None, false));
            total = [total[0] + ends[0], total[1] + ends[1]];
        }
        // Who loses nothing is connected to again.
        let may_lose = flags & CAN_FLUSH != 0;
        assert!(total[0] > 0 && (total[1] > 0) == may_lose, "{cache}, {format}, {flags:#x}: {total:?}");
    }
}

/// Catches: an image that is emptied although what it had is not safe in what it is based on.
#[test]
fn what_is_not_safe_below_is_not_given_up_above() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("raw", SIZE);
    fs::write(folder.path("before"), content(SIZE).iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>()).unwrap();
    // A cluster that is written over is freed, which imago does where it goes on after errors.
    folder.qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=64k", "before", "base"]);
    let mut base = fs::read(folder.path("base")).unwrap();
    base.resize(SIZE * 4, 0);
    let (disk, url) = served();
    *disk.lock().unwrap() = Disk::new(ALL, Fault::None, base.clone());
    folder.ok(&["create", "-f", "qcow2", "-b", &url, "-F", "qcow2", "-o", "cluster_size=64k", "full"]);
    folder.ok(&["convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "full"]);
    for cache in ["writeback", "writethrough"] {
        let args = ["convert", "-n", "-t", cache, "-f", "raw", "-O", "qcow2", "raw", &url];
        let flags = if cache == "writeback" { ALL } else { ALL & !CAN_FUA };
        let ends =
            with_each_fault(&disk, flags, &base, Fault::Flush, || copies(&folder, &disk, &args, "qcow2", None, false));
        assert!(ends[0] == 0 && ends[1] > 2, "{cache}: {ends:?}");
    }
    for fault in [Fault::DiesAfter, Fault::Flush] {
        let ends = with_each_fault(&disk, ALL, &base, fault, || {
            fs::copy(folder.path("full"), folder.path("top")).unwrap();
            copies(&folder, &disk, &["commit", "-f", "qcow2", "top"], "qcow2", Some("top"), true)
        });
        assert!(ends[1] > 2, "{ends:?}");
    }
}

/// Catches: a flush for each of many writes that wait for the disk at the same time; and a flush that was under way before a
/// write ended, and is taken for that write's.
#[test]
fn writes_that_wait_for_the_disk_together_share_a_flush() {
    const WRITES: usize = 32;
    let folder = Folder::new();
    folder.raw("raw", 4 << 20);
    folder.ok(&["convert", "-S", "0", "-f", "raw", "-O", "qcow2", "raw", "full"]); // no cluster is new
    let image = fs::read(folder.path("full")).unwrap();
    let (disk, url) = served();
    for cache in ["writethrough", "directsync"] {
        // One at a time, each has its own. All at once, the first has its own, and the others end while it is under way.
        // The command flushes once more when it ends.
        for (at_a_time, expected) in [(1, WRITES + 1..WRITES + 2), (WRITES, 3..WRITES / 2)] {
            *disk.lock().unwrap() = Disk { flush_after: at_a_time, ..Disk::new(ALL, Fault::None, image.clone()) };
            let (count, depth) = (WRITES.to_string(), at_a_time.to_string());
            folder.ok(&["bench", "-w", "-c", &count, "-d", &depth, "-s", "64k", "-t", cache, "-f", "qcow2", &url]);
            let disk = disk.lock().unwrap();
            assert_eq!(disk.writes, WRITES, "{cache}, {at_a_time}");
            assert!(expected.contains(&disk.flushes), "{cache}, {at_a_time}: {} flushes", disk.flushes);
        }
    }
}
