//! The NBD driver against servers that answer in unusual ways or misbehave, each a thread here.

mod support;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use co_img::backend::{blk_block_status, blk_flush, blk_pdiscard, blk_pread, blk_pwrite, blk_pwrite_zeroes};
use co_img::driver::Cache;
use co_img::open::{ImageFormat, blk_open};
use support::Folder;

/// One connection, seen from the server.
struct Peer(TcpStream);

#[derive(Debug, PartialEq)]
struct Request {
    flags: u16,
    command: u16,
    cookie: u64,
    off: u64,
    len: u32,
}

const FLAGS: u16 = 0b110_1101; // has flags, flush, FUA, trim, write zeroes

impl Peer {
    fn send(&mut self, parts: &[&[u8]]) {
        let _ = self.0.write_all(&parts.concat()); // the client may have left, which is then the point of the test
    }

    fn receive<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn option(&mut self) -> io::Result<u32> {
        let head: [u8; 16] = self.receive()?;
        let len = u32::from_be_bytes(head[12..].try_into().unwrap());
        io::copy(&mut Read::by_ref(&mut self.0).take(len.into()), &mut io::sink())?;
        Ok(u32::from_be_bytes(head[8..12].try_into().unwrap()))
    }

    fn reply(&mut self, option: u32, kind: u32, body: &[u8]) {
        let head = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()].concat();
        self.send(&[&head, &(body.len() as u32).to_be_bytes(), body]);
    }

    /// The whole negotiation, with all that the client asks for, or nothing but what it needs.
    fn negotiate(&mut self, size: u64, structured: bool) -> io::Result<()> {
        self.send(&[b"NBDMAGICIHAVEOPT", &[0, 3]]);
        self.receive::<4>()?;
        loop {
            match self.option()? {
                8 if structured => self.reply(8, 1, &[]),
                10 if structured => {
                    self.reply(10, 4, &[&[0, 0, 0, 7], &b"base:allocation"[..]].concat());
                    self.reply(10, 1, &[]);
                }
                7 => {
                    self.reply(7, 3, &[&[0, 0], &size.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat());
                    self.reply(7, 1, &[]);
                    return Ok(());
                }
                option => self.reply(option, 1 << 31 | 1, b"no"),
            }
        }
    }

    fn request(&mut self) -> io::Result<Request> {
        let head: [u8; 28] = self.receive()?;
        let be = |range: std::ops::Range<usize>| head[range].iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        assert_eq!(be(0..4), 0x2560_9513, "a request's magic");
        let request = Request {
            flags: be(4..6) as u16,
            command: be(6..8) as u16,
            cookie: be(8..16),
            off: be(16..24),
            len: be(24..28) as u32,
        };
        if request.command == 1 {
            io::copy(&mut Read::by_ref(&mut self.0).take(request.len.into()), &mut io::sink())?;
        }
        Ok(request)
    }

    fn simple(&mut self, cookie: u64, error: u32, data: &[u8]) {
        self.send(&[&0x6744_6698_u32.to_be_bytes(), &error.to_be_bytes(), &cookie.to_be_bytes(), data]);
    }

    fn chunk(&mut self, cookie: u64, done: bool, kind: u16, body: &[&[u8]]) {
        let body = body.concat();
        let head = [&0x668e_33ef_u32.to_be_bytes()[..], &u16::from(done).to_be_bytes(), &kind.to_be_bytes()].concat();
        self.send(&[&head, &cookie.to_be_bytes(), &(body.len() as u32).to_be_bytes(), &body]);
    }
}

type Script = fn(&mut Peer) -> io::Result<()>;

/// Serves connections, one after the other, with a script each; the last one's goes for all further ones. It is waited for as
/// long as a busy machine may take.
fn scripted(scripts: &'static [Script]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/img?{PATIENT}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for n in 0.. {
            let Ok((socket, _)) = listener.accept() else { break };
            let _ = scripts[n.min(scripts.len() - 1)](&mut Peer(socket)); // the client leaves when it has had enough
        }
    });
    url
}

const PATIENT: &str = "timeout=60&reconnect=60";

/// For a server that does not answer, or is not there any more.
fn impatient(url: &str) -> String {
    url.replace(PATIENT, "timeout=2&reconnect=2")
}

/// Reads 4096 bytes from such a server.
fn read_from(scripts: &'static [Script]) -> io::Result<Vec<u8>> {
    read(&scripted(scripts))
}

fn read(url: &str) -> io::Result<Vec<u8>> {
    let blk = blk_open(url, Some(ImageFormat::Raw), false, Cache::Writeback).map_err(|error| error.cause)?;
    let mut buf = vec![0xee; 4096];
    blk_pread(&blk, 8192, &mut buf).map(|()| buf)
}

/// Negotiates, and takes the one read.
fn first(peer: &mut Peer) -> io::Result<u64> {
    peer.negotiate(1 << 20, true)?;
    let request = peer.request()?;
    assert_eq!((request.command, request.off, request.len), (0, 8192, 4096));
    Ok(request.cookie)
}

const AT: [u8; 8] = 8192_u64.to_be_bytes();
const MIDDLE: [u8; 8] = 10240_u64.to_be_bytes();

fn linger(peer: &mut Peer) -> io::Result<()> {
    io::copy(&mut peer.0, &mut io::sink()).map(drop)
}

#[test]
fn structured_replies_in_any_order_with_holes() {
    let data = read_from(&[|peer| {
        let cookie = first(peer)?;
        peer.chunk(cookie, false, 1, &[&MIDDLE, &[5; 1024]]);
        peer.chunk(cookie, false, 2, &[&11264_u64.to_be_bytes(), &1024_u32.to_be_bytes()]);
        peer.chunk(cookie, false, 1, &[&AT, &[4; 2048]]);
        peer.chunk(cookie, true, 0, &[]);
        linger(peer)
    }]);
    assert_eq!(data.unwrap(), [vec![4; 2048], vec![5; 1024], vec![0; 1024]].concat());
}

#[test]
fn a_server_without_structured_replies_has_data_everywhere() {
    let url = scripted(&[|peer| {
        peer.negotiate(1 << 20, false)?;
        loop {
            let request = peer.request()?;
            peer.simple(request.cookie, 0, &vec![6; request.len as usize]);
        }
    }]);
    let blk = blk_open(&url, Some(ImageFormat::Raw), false, Cache::Writeback).unwrap();
    let status = blk_block_status(&blk, 0, 1 << 20).unwrap();
    assert!(status.data && !status.zero && status.length == 1 << 20, "{status:?}");
    let mut buf = [0; 100];
    blk_pread(&blk, 3, &mut buf).unwrap();
    assert_eq!(buf, [6; 100]);
}

#[test]
fn lies_are_errors_and_end_the_connection() {
    let scripts: [(&'static [Script], &str); 11] = [
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.simple(cookie, 0, &[0; 4096]);
                linger(peer)
            }],
            "simple reply",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie + 1, true, 0, &[]);
                linger(peer)
            }],
            "no request",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 0, &[]);
                linger(peer)
            }],
            "not all of them",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 1, &[&AT, &[1; 4095]]);
                linger(peer)
            }],
            "not all",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 1, &[&AT, &[1; 4097]]);
                linger(peer)
            }],
            "4105 bytes",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 1, &[&MIDDLE, &[1; 4096]]);
                linger(peer)
            }],
            "at 10240",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, false, 1, &[&AT, &[1; 3000]]);
                peer.chunk(cookie, true, 1, &[&MIDDLE, &[1; 2048]]);
                linger(peer)
            }],
            "2048 bytes at 10240",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 2, &[&AT, &u32::MAX.to_be_bytes()]);
                linger(peer)
            }],
            "4294967295 bytes",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 5, &[&[0; 12]]);
                linger(peer)
            }],
            "kind 5",
        ),
        (
            &[|peer| {
                let cookie = first(peer)?;
                peer.chunk(cookie, true, 77, &[]);
                linger(peer)
            }],
            "kind 77",
        ),
        (
            &[|peer| {
                first(peer)?;
                peer.send(&[b"HTTP/1.1 418 I'm a teapot\r\n\r\n"]);
                linger(peer)
            }],
            "garbage",
        ),
    ];
    for (scripts, words) in scripts {
        let error = read_from(scripts).unwrap_err();
        assert!(error.to_string().contains(words), "{error} lacks {words:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    }
}

#[test]
fn errors_of_the_server_are_the_callers() {
    for script in [
        (|peer| {
            let cookie = first(peer)?;
            peer.chunk(cookie, true, 0x8001, &[&28_u32.to_be_bytes(), &4_u16.to_be_bytes(), b"full"]);
            linger(peer)
        }) as Script,
        |peer| {
            let cookie = first(peer)?;
            peer.chunk(cookie, false, 0x8002, &[&28_u32.to_be_bytes(), &4_u16.to_be_bytes(), b"full", &AT]);
            peer.chunk(cookie, true, 0, &[]);
            linger(peer)
        },
    ] {
        let error = read_from(Box::leak(Box::new([script]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("full"), "{error}");
    }
}

/// A server of 1 MiB of zeroes, which takes everything but one command, for which it has no room.
fn has_zeroes(peer: &mut Peer, but: Option<u16>) -> io::Result<()> {
    peer.negotiate(1 << 20, true)?;
    loop {
        let request = peer.request()?;
        match request.command {
            command if but == Some(command) => {
                peer.chunk(request.cookie, true, 0x8001, &[&28_u32.to_be_bytes(), &4_u16.to_be_bytes(), b"full"]);
            }
            0 => peer.chunk(request.cookie, true, 1, &[&request.off.to_be_bytes(), &vec![0; request.len as usize]]),
            2 => return Ok(()),
            7 => {
                let extent = [&[0, 0, 0, 7][..], &request.len.to_be_bytes(), &0_u32.to_be_bytes()].concat();
                peer.chunk(request.cookie, true, 5, &[&extent]);
            }
            _ => peer.chunk(request.cookie, true, 0, &[]),
        }
    }
}

fn refuses_flushes(peer: &mut Peer) -> io::Result<()> {
    has_zeroes(peer, Some(3))
}

/// Catches: a flush whose error is lost, and with it what was written.
#[test]
fn a_flush_that_fails_is_an_error_of_the_command() {
    let folder = Folder::new();
    folder.raw("img", 1 << 20);
    let url = scripted(&[refuses_flushes]);
    folder.fails(&["convert", "-O", "raw", "img", &url], 1, &[&url, "full"]);
    let url = scripted(&[refuses_flushes]);
    folder.fails(&["bench", "-w", "-c", "4", &url], 1, &[&url, "full"]);
    // Who asks for no flush gets no error.
    let url = scripted(&[refuses_flushes]);
    folder.ok(&["bench", "-w", "-c", "4", "-t", "unsafe", &url]);
}

/// As `qemu-nbd` without `-t`. Catches: what an image is to be based on that is connected to twice.
#[test]
fn a_server_that_serves_one_connection_may_be_what_a_converted_image_is_based_on() {
    let folder = Folder::new();
    folder.raw("raw", 1 << 20);
    for before in [None, Some("what was there")] {
        let url = scripted(&[|peer| has_zeroes(peer, None), |_| Ok(())]);
        let _ = fs::remove_file(folder.path("out"));
        if let Some(before) = before {
            fs::write(folder.path("out"), before).unwrap();
        }
        folder.ok(&["convert", "-f", "raw", "-O", "qcow2", "-B", &url, "-F", "raw", "raw", "out"]);
        assert_eq!(folder.names(), ["out", "raw"]);
        folder.fails(&["compare", "out", "raw"], 2, &["the server hung up"]); // and is not there any more
    }
}

#[test]
fn a_lost_connection_is_made_again_and_what_was_owed_asked_again() {
    let data = read_from(&[
        |peer| {
            let cookie = first(peer)?;
            peer.chunk(cookie, false, 1, &[&AT, &[1; 2048]]); // half of it, and gone
            Ok(())
        },
        |_| Ok(()), // hangs up on sight
        |peer| {
            let cookie = first(peer)?;
            peer.chunk(cookie, true, 1, &[&AT, &[2; 4096]]);
            linger(peer)
        },
    ]);
    assert_eq!(data.unwrap(), [2; 4096]);
}

/// A connection is lost while data comes, and the next one has the rest of it before it was asked. Catches: a buffer that is
/// lost with a connection, and what it had counted as come.
#[test]
fn a_rest_that_comes_unasked_by_another_connection_breaks_nothing() {
    static HALF: [u8; 2048] = [3; 2048];
    fn begins(peer: &mut Peer) -> io::Result<u64> {
        let cookie = first(peer)?;
        let length = 8 + HALF.len() as u32;
        let head = [&0x668e_33ef_u32.to_be_bytes()[..], &[0, 0, 0, 1], &cookie.to_be_bytes(), &length.to_be_bytes()];
        peer.send(&[&head.concat(), &AT, &HALF[..100]]); // and gone
        Ok(cookie)
    }
    for hole in [false, true] {
        let scripts: &'static [Script] = match hole {
            false => &[
                |peer| begins(peer).map(drop),
                |peer| {
                    peer.negotiate(1 << 20, true)?;
                    peer.chunk(0, false, 1, &[&MIDDLE, &HALF]);
                    let cookie = peer.request()?.cookie;
                    peer.chunk(cookie, true, 1, &[&AT, &HALF]);
                    linger(peer)
                },
            ],
            true => &[
                |peer| begins(peer).map(drop),
                |peer| {
                    peer.negotiate(1 << 20, true)?;
                    peer.chunk(0, false, 2, &[&MIDDLE, &2048_u32.to_be_bytes()]);
                    let cookie = peer.request()?.cookie;
                    peer.chunk(cookie, true, 1, &[&AT, &HALF]);
                    linger(peer)
                },
            ],
        };
        let rest = if hole { [0; 2048] } else { HALF };
        assert_eq!(read_from(scripts).unwrap(), [HALF, rest].concat(), "hole: {hole}");
    }
}

/// Catches: a connection made again and again for nobody.
#[test]
fn an_idle_connection_that_is_lost_is_made_again_when_it_is_needed() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let url = scripted(&[|peer| {
        let answer = CONNECTIONS.fetch_add(1, Relaxed) > 0 && !IDLE.load(Relaxed);
        peer.negotiate(1 << 20, true)?;
        if answer {
            let request = peer.request()?;
            peer.chunk(request.cookie, true, 1, &[&AT, &[3; 4096]]);
        }
        Ok(())
    }]);
    static IDLE: AtomicBool = AtomicBool::new(true);
    let blk = blk_open(&url, Some(ImageFormat::Raw), false, Cache::Writeback).unwrap();
    thread::sleep(Duration::from_millis(500)); // for connections that should not be
    assert_eq!(CONNECTIONS.load(Relaxed), 1);
    IDLE.store(false, Relaxed);
    let mut buf = [0; 4096];
    blk_pread(&blk, 8192, &mut buf).unwrap();
    assert_eq!((buf, CONNECTIONS.load(Relaxed)), ([3; 4096], 2));
}

/// Reads 64 KiB of which each byte comes by itself, in this order.
fn in_bytes(order: fn(u64) -> u64) -> io::Result<Vec<u8>> {
    static ORDER: Mutex<fn(u64) -> u64> = Mutex::new(|n| n);
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    *ORDER.lock().unwrap() = order;
    let url = scripted(&[|peer| {
        peer.negotiate(1 << 20, true)?;
        let request = peer.request()?;
        let order = *ORDER.lock().unwrap();
        let head = |done: bool| [&0x668e_33ef_u32.to_be_bytes()[..], &[0, u8::from(done), 0, 1]].concat();
        let chunk = |n: u64| {
            let (cookie, at) = (request.cookie.to_be_bytes(), order(n).to_be_bytes());
            [&head(n == 65535)[..], &cookie, &[0, 0, 0, 9], &at, &[order(n) as u8]].concat()
        };
        peer.send(&[&(0..65536).flat_map(chunk).collect::<Vec<u8>>()]);
        linger(peer)
    }]);
    let blk = blk_open(&url, Some(ImageFormat::Raw), false, Cache::Writeback).map_err(|error| error.cause)?;
    let mut buf = vec![0; 65536];
    blk_pread(&blk, 0, &mut buf).map(|()| buf)
}

/// Catches: a list of pieces that takes more memory than the data, many times over.
#[test]
fn data_in_tiny_pieces_is_put_together_and_in_too_many_refused() {
    let whole: Vec<u8> = (0..65536).map(|n| n as u8).collect();
    assert!(in_bytes(|n| n).unwrap() == whole);
    assert!(in_bytes(|n| 65535 - n).unwrap() == whole);
    // Every fourth byte, and then the gaps: 16384 pieces, and no more.
    assert!(in_bytes(|n| n % 16384 * 4 + n / 16384).unwrap() == whole);
    let error = in_bytes(|n| n % 32768 * 2 + n / 32768).unwrap_err(); // every other: 32768
    assert!(error.to_string().contains("data in more than 16384 pieces"), "{error}");
}

#[test]
fn what_a_server_dies_of_is_not_asked_for_ever() {
    let error = read_from(&[|peer| first(peer).map(drop)]).unwrap_err();
    assert!(error.to_string().contains("hung up") || error.kind() == ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn a_server_that_stays_away_is_an_error() {
    let error = read(&impatient(&scripted(&[|peer| first(peer).map(drop), |_| Ok(())]))).unwrap_err();
    assert!(error.to_string().contains("hung up") || error.kind() == ErrorKind::ConnectionReset, "{error}");
}

/// Catches: a try that counts only once the request is sent, which it never is where the end comes first.
#[test]
fn a_server_that_hangs_up_on_sight_is_not_connected_to_for_ever() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let url = scripted(&[|peer| {
        CONNECTIONS.fetch_add(1, Relaxed);
        peer.negotiate(1 << 20, true)
    }]);
    let blk = blk_open(&url, Some(ImageFormat::Raw), false, Cache::Writeback).unwrap();
    for n in 1..=20 {
        assert!(blk_pread(&blk, 0, &mut [0; 512]).is_err());
        let connections = CONNECTIONS.load(Relaxed);
        assert!(connections <= 1 + 3 * n, "{connections} connections for {n} requests");
    }
}

/// A server of 16 MiB that answers four reads at a time, the last first, or none.
fn answers_by_fours(peer: &mut Peer) -> io::Result<()> {
    const SIZE: u64 = 16 << 20;
    peer.negotiate(SIZE, true)?;
    let (mut held, mut asked) = (Vec::new(), 0);
    loop {
        let request = peer.request()?;
        match request.command {
            0 => {
                asked += u64::from(request.len);
                held.push(request);
                if held.len() == 4 || asked == SIZE {
                    for Request { cookie, off, len, .. } in held.drain(..).rev() {
                        peer.chunk(cookie, true, 1, &[&off.to_be_bytes(), &vec![(off >> 20) as u8 + 1; len as usize]]);
                    }
                }
            }
            2 => return Ok(()),
            7 => {
                let extent = [&[0, 0, 0, 7][..], &request.len.to_be_bytes(), &0_u32.to_be_bytes()].concat();
                peer.chunk(request.cookie, true, 5, &[&extent]);
            }
            _ => peer.chunk(request.cookie, true, 0, &[]),
        }
    }
}

/// Catches: one request after the other, of which the first is never answered.
#[test]
fn convert_keeps_several_requests_in_flight() {
    let folder = Folder::new();
    folder.ok(&["convert", "-f", "raw", "-O", "raw", &scripted(&[answers_by_fours]), "out"]);
    let out = fs::read(folder.path("out")).unwrap();
    assert_eq!(out.len(), 16 << 20);
    // Each answer is where it belongs, whatever the order.
    assert!(out.chunks(1 << 20).enumerate().all(|(at, part)| part.iter().all(|byte| *byte == at as u8 + 1)));
}

/// A server of 16 MiB that answers the fourth read, by an error, and no other.
fn answers_the_fourth_read(peer: &mut Peer) -> io::Result<()> {
    peer.negotiate(16 << 20, false)?;
    let mut reads = 0;
    loop {
        let request = peer.request()?;
        match request.command {
            0 => {
                reads += 1;
                if reads == 4 {
                    peer.simple(request.cookie, 5, &[]);
                }
            }
            2 => return Ok(()),
            _ => peer.simple(request.cookie, 0, &[]),
        }
    }
}

/// Catches: a command that has failed, and waits for reads that may never be answered.
#[test]
fn a_command_whose_read_has_failed_waits_for_no_other() {
    let folder = Folder::new();
    for command in [&["bench", "-c", "100", "-d", "4", "-s", "1M"][..], &["bench", "-c", "4", "-s", "4k"]] {
        // Longer than any test is waited for.
        let url = scripted(&[answers_the_fourth_read]).replace(PATIENT, "timeout=36000");
        folder.fails(&[command, &["-f", "raw", &url]].concat(), 1, &["cannot read", &url]);
    }
}

#[test]
fn a_server_that_dies_or_lies_leaves_no_target() {
    let folder = Folder::new();
    for (script, words) in [
        ((|peer| peer.negotiate(1 << 20, true)) as Script, ""),
        (
            |peer| {
                peer.negotiate(1 << 20, true)?;
                let request = peer.request()?;
                peer.chunk(request.cookie, true, 5, &[&[0, 0, 0, 7], &[0; 8]]);
                linger(peer)
            },
            "empty extent",
        ),
        (
            |peer| {
                peer.negotiate(1 << 20, false)?;
                peer.request()?;
                peer.send(&[&[0x67, 0x44]]); // and nothing more
                linger(peer)
            },
            "has owed a reply for 2 s",
        ),
    ] {
        let mut url = scripted(Box::leak(Box::new([script])));
        if words.ends_with("for 2 s") {
            url = impatient(&url);
        }
        folder.fails(&["convert", "-f", "raw", "-O", "qcow2", &url, "out"], 1, &["cannot ", &url, words]);
        assert_eq!(folder.names(), [""; 0]);
    }
}

#[test]
fn a_server_that_comes_back_with_another_export_is_refused() {
    let error = read_from(&[
        |peer| first(peer).map(drop),
        |peer| {
            peer.negotiate(2 << 20, true)?;
            linger(peer)
        },
    ]);
    assert!(error.unwrap_err().to_string().contains("another export"));
}

#[test]
fn a_silent_server_is_an_error() {
    let error = read(&impatient(&scripted(&[|peer| {
        first(peer)?;
        linger(peer)
    }])));
    assert!(error.unwrap_err().to_string().contains("has owed a reply for 2 s"));
    let error = read(&impatient(&scripted(&[linger])));
    assert!(error.unwrap_err().to_string().contains("no answer in 2 s"));
}

#[test]
fn impossible_claims_are_refused() {
    for size in [u64::MAX, i64::MAX as u64] {
        static SIZES: [Script; 2] = [
            |peer| {
                peer.negotiate(u64::MAX, true)?;
                linger(peer)
            },
            |peer| {
                peer.negotiate(i64::MAX as u64, true)?;
                linger(peer)
            },
        ];
        let script = if size == u64::MAX { &SIZES[..1] } else { &SIZES[1..] };
        assert!(read_from(script).unwrap_err().to_string().contains("impossible size"));
    }
    assert!(
        read_from(&[|peer| {
            peer.send(&[b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"]);
            linger(peer)
        }])
        .unwrap_err()
        .to_string()
        .contains("not a newstyle")
    );
}

/// Takes these commands with these flags, and grants them; anything else ends the connection, and with it the test.
fn expect(peer: &mut Peer, requests: &[(u16, u16)]) -> io::Result<()> {
    peer.negotiate(1 << 20, true)?;
    for expected in requests {
        let request = peer.request()?;
        if (request.command, request.flags) != *expected {
            return Err(io::Error::other(format!("{request:?} for {expected:?}")));
        }
        match request.command {
            7 => {
                let extent = [&[0, 0, 0, 7][..], &request.len.to_be_bytes(), &3_u32.to_be_bytes()].concat();
                peer.chunk(request.cookie, true, 5, &[&extent]);
            }
            _ => peer.chunk(request.cookie, true, 0, &[]),
        }
    }
    linger(peer)
}

#[test]
fn requests_carry_the_flags_that_they_should() {
    let url = scripted(&[|peer| expect(peer, &[(1, 1), (6, 1), (1, 1)])]);
    let mut blk = blk_open(&url, Some(ImageFormat::Raw), true, Cache::Writethrough).unwrap();
    blk_pwrite(&blk, 0, &[0; 512], false).unwrap();
    blk_pwrite_zeroes(&blk, 0, 512).unwrap();
    blk_pwrite(&blk, 0, &[0; 512], true).unwrap();
    drop(blk);
    let url = scripted(&[|peer| expect(peer, &[(1, 0), (6, 0), (4, 0), (3, 0), (7, 0)])]);
    blk = blk_open(&url, Some(ImageFormat::Raw), true, Cache::Writeback).unwrap();
    blk_pwrite(&blk, 0, &[0; 512], false).unwrap();
    blk_pwrite_zeroes(&blk, 0, 512).unwrap();
    blk_pdiscard(&mut blk, 0, 512).unwrap();
    blk_flush(&blk).unwrap();
    let status = blk_block_status(&blk, 512, 1024).unwrap();
    assert!(status.zero && !status.data && status.length == 1024);
}

/// How often a server of 8 MiB was asked for block status, of which it has an extent of 64 KiB after the other, with data or
/// without.
static STATUS_REQUESTS: AtomicUsize = AtomicUsize::new(0);

fn tells_of_many_extents(peer: &mut Peer) -> io::Result<()> {
    const EXTENT: u32 = 64 << 10;
    peer.negotiate(8 << 20, true)?;
    loop {
        let request = peer.request()?;
        match request.command {
            2 => return Ok(()),
            7 => {
                STATUS_REQUESTS.fetch_add(1, Relaxed);
                let mut list = vec![0, 0, 0, 7];
                let (mut at, end) = (request.off, request.off + u64::from(request.len));
                while at < end {
                    let length = EXTENT - (at % u64::from(EXTENT)) as u32;
                    let state = if at / u64::from(EXTENT) % 2 == 0 { 0_u32 } else { 3 };
                    list.extend([length.to_be_bytes(), state.to_be_bytes()].concat());
                    at += u64::from(length);
                }
                peer.chunk(request.cookie, true, 5, &[&list]);
            }
            _ => peer.chunk(request.cookie, true, 0, &[]),
        }
    }
}

/// Catches: a round trip for each extent; extents that are still told of when something has been written.
#[test]
fn extents_are_told_many_at_a_time_and_forgotten_when_something_is_written() {
    const EXTENT: u64 = 64 << 10;
    let blk = blk_open(&scripted(&[tells_of_many_extents]), Some(ImageFormat::Raw), true, Cache::Writeback).unwrap();
    let before = STATUS_REQUESTS.load(Relaxed);
    let asked = |at: u64| {
        let status = blk_block_status(&blk, at, 8 << 20).unwrap();
        assert_eq!((status.zero, status.length), (at / EXTENT % 2 == 1, EXTENT - at % EXTENT), "{at}");
        STATUS_REQUESTS.load(Relaxed) - before
    };
    assert!((0..128).all(|n| asked(n * EXTENT) == 1));
    // Who asks again is told anew: somebody else may have written.
    assert_eq!(asked(EXTENT + 512), 2);
    assert_eq!(asked(2 * EXTENT), 2);
    blk_pwrite(&blk, 0, &[0; 512], false).unwrap();
    assert_eq!(asked(3 * EXTENT), 3);
    assert_eq!(asked(4 * EXTENT + 1024), 3);
    blk_pwrite_zeroes(&blk, 0, 512).unwrap();
    assert_eq!(asked(5 * EXTENT), 4);
}

/// What a server of 8 MiB with such extents was asked for: where, and for how many bytes.
static READS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn counts_reads(peer: &mut Peer) -> io::Result<()> {
    const EXTENT: u64 = 192 << 10; // three quarters of a window
    peer.negotiate(8 << 20, true)?;
    loop {
        let request = peer.request()?;
        match request.command {
            0 => {
                let (off, len) = (request.off, u64::from(request.len));
                READS.lock().unwrap().push((off, len));
                let data: Vec<u8> = (off..off + len).map(|at| ((at / EXTENT + 1) % 2) as u8).collect();
                peer.chunk(request.cookie, true, 1, &[&off.to_be_bytes(), &data]);
            }
            2 => return Ok(()),
            7 => {
                let mut list = vec![0, 0, 0, 7];
                let (mut at, end) = (request.off, request.off + u64::from(request.len));
                while at < end {
                    let length = (EXTENT - at % EXTENT).min(end - at);
                    let state = if (at / EXTENT).is_multiple_of(2) { 0_u32 } else { 3 };
                    list.extend([(length as u32).to_be_bytes(), state.to_be_bytes()].concat());
                    at += length;
                }
                peer.chunk(request.cookie, true, 5, &[&list]);
            }
            _ => peer.chunk(request.cookie, true, 0, &[]),
        }
    }
}

/// Catches: bytes that are asked for twice; holes of the source that are.
#[test]
fn convert_reads_no_byte_twice_and_no_hole() {
    const EXTENT: u64 = 192 << 10;
    let folder = Folder::new();
    let url = scripted(&[counts_reads]);
    for (args, holes_too) in [
        (&["-O", "raw"][..], false),
        (&["-O", "qcow2"], false),
        (&["-O", "qcow2", "-o", "cluster_size=512"], false),
        (&["-O", "raw", "-S", "1M"], false),
        (&["-O", "raw", "-S", "0"], true),
    ] {
        READS.lock().unwrap().clear();
        folder.ok(&[&["convert", "-f", "raw"], args, &[&url, "out"]].concat());
        let mut reads = READS.lock().unwrap().clone();
        reads.sort_unstable();
        assert!(reads.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0), "{args:?}: {reads:?}");
        let wanted: u64 = match holes_too {
            true => 8 << 20,
            false => (0..8 << 20).step_by(2 * EXTENT as usize).map(|at| EXTENT.min((8 << 20) - at)).sum(),
        };
        assert_eq!(reads.iter().map(|(_, length)| length).sum::<u64>(), wanted, "{args:?}: {reads:?}");
    }
}
