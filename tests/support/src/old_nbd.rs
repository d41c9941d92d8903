//! NBD servers as they were: a front for a server of today, which forgets what older ones did not know.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

/// What an older server does not know.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// `NBD_OPT_GO`; else no option at all but `NBD_OPT_EXPORT_NAME`.
    pub only_go: bool,
    /// The fixed newstyle negotiation, so that it hangs up on every other option instead of saying that it knows none.
    pub fixed: bool,
    /// To leave out 124 zeroes.
    pub no_zeroes: bool,
}

/// All sorts of them, and what they are called.
pub const AGES: [(&str, Age); 5] = [
    ("no NBD_OPT_GO", Age { only_go: true, fixed: true, no_zeroes: true }),
    ("nothing but NBD_OPT_EXPORT_NAME", Age { only_go: false, fixed: true, no_zeroes: true }),
    ("nothing but NBD_OPT_EXPORT_NAME, and zeroes", Age { only_go: false, fixed: true, no_zeroes: false }),
    ("no fixed newstyle", Age { only_go: false, fixed: false, no_zeroes: true }),
    ("no fixed newstyle, and zeroes", Age { only_go: false, fixed: false, no_zeroes: false }),
];

const EXPORT_NAME: u8 = 1;
const INFO: u8 = 6;
const GO: u8 = 7;

/// A front for the server at `real`, until the process ends; and how often a client has asked by `NBD_OPT_EXPORT_NAME`.
pub fn older(real: SocketAddr, age: Age) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let count = count.clone();
            thread::spawn(move || TcpStream::connect(real).and_then(|server| serve(client, server, age, &count)));
        }
    });
    (address, asked)
}

fn serve(mut client: TcpStream, mut server: TcpStream, age: Age, count: &AtomicUsize) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut greeting = [0; 18];
    server.read_exact(&mut greeting)?;
    let flags = u8::from(age.fixed) | u8::from(age.no_zeroes) << 1;
    client.write_all(&[&greeting[..16], &[0, flags]].concat())?;
    let mut answer = [0; 4];
    client.read_exact(&mut answer)?;
    assert!(answer[3] & !flags == 0, "the client wants what was not offered");
    server.write_all(&answer)?;
    loop {
        let mut head = [0; 16];
        client.read_exact(&mut head)?;
        let mut data = vec![0; u32::from_be_bytes(head[12..].try_into().unwrap()) as usize];
        client.read_exact(&mut data)?;
        match head[11] {
            EXPORT_NAME => {
                count.fetch_add(1, SeqCst);
                server.write_all(&[&head[..], &data].concat())?;
                break;
            }
            _ if !age.fixed => return Ok(()),
            option if matches!(option, INFO | GO) || !age.only_go => {
                let unsupported =
                    [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &head[8..12], &[0x80, 0, 0, 1], &[0; 4]];
                client.write_all(&unsupported.concat())?;
            }
            _ => {
                server.write_all(&[&head[..], &data].concat())?;
                loop {
                    let mut reply = [0; 20];
                    server.read_exact(&mut reply)?;
                    let mut body = vec![0; u32::from_be_bytes(reply[16..].try_into().unwrap()) as usize];
                    server.read_exact(&mut body)?;
                    client.write_all(&[&reply[..], &body].concat())?;
                    if reply[12] & 0x80 != 0 || reply[15] == 1 {
                        break; // an error, or the acknowledgement
                    }
                }
            }
        }
    }
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let copied = io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
    copied.map(drop)
}
