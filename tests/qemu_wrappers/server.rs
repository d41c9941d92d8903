//! An NBD server on a real socket, whose disk is memory.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Has flags, flush, trim.
const FLAGS: u16 = 0b10_0101;

/// Serves whoever comes, for as long as the process runs; returns the export's URL.
pub fn serve(size: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/img", listener.local_addr().unwrap());
    let disk = Arc::new(Mutex::new(vec![0; size]));
    thread::spawn(move || {
        for socket in listener.incoming() {
            let disk = Arc::clone(&disk);
            // A client that leaves ends it with an error.
            thread::spawn(move || connection(&mut socket?, &disk));
        }
    });
    url
}

fn receive<const N: usize>(socket: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn reply_option(socket: &mut TcpStream, kind: u32, body: &[u8]) -> io::Result<()> {
    let head = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &7_u32.to_be_bytes(), &kind.to_be_bytes()].concat();
    socket.write_all(&[&head[..], &(body.len() as u32).to_be_bytes(), body].concat())
}

fn connection(socket: &mut TcpStream, disk: &Mutex<Vec<u8>>) -> io::Result<()> {
    socket.write_all(&[&b"NBDMAGICIHAVEOPT"[..], &[0, 3]].concat())?;
    receive::<4>(socket)?;
    assert_eq!(&receive::<12>(socket)?, b"IHAVEOPT\0\0\0\x07");
    let len = u32::from_be_bytes(receive(socket)?);
    socket.read_exact(&mut vec![0; len as usize])?;
    let size = disk.lock().unwrap().len() as u64;
    reply_option(socket, 3, &[&[0, 0], &size.to_be_bytes()[..], &FLAGS.to_be_bytes()].concat())?;
    reply_option(socket, 1, &[])?;
    loop {
        let head: [u8; 28] = receive(socket)?;
        let be = |range: std::ops::Range<usize>| head[range].iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        let range = be(16..24)..be(16..24) + be(24..28);
        let mut data = Vec::new();
        match be(6..8) {
            0 => data.extend_from_slice(&disk.lock().unwrap()[range]),
            1 => {
                let mut written = vec![0; range.len()];
                socket.read_exact(&mut written)?;
                disk.lock().unwrap()[range].copy_from_slice(&written);
            }
            2 => return Ok(()),
            3 => {}
            4 => disk.lock().unwrap()[range].fill(0),
            command => panic!("no such command: {command}"),
        }
        let magic = 0x6744_6698_u32.to_be_bytes();
        socket.write_all(&[&magic[..], &[0; 4], &head[8..16], &data].concat())?;
    }
}
