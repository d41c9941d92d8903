//! Programs that are killed, or asked to end, while they write a qcow2 image: the image is consistent at every moment.

mod support;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use nix::sys::signal::Signal;
use support::{Folder, content, qemu_is_here, text};

/// What reached the disk: a write, its place and bytes; or a flush.
type Done = Option<(u64, Vec<u8>)>;

/// A server of one export, in memory, and all writes to it in their order.
struct Recorder {
    url: String,
    log: Arc<Mutex<Vec<Done>>>,
}

impl Recorder {
    /// Of blocks of so many bytes.
    fn new(content: &[u8], align: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nbd://{}/img", listener.local_addr().unwrap());
        let log = Arc::<Mutex<Vec<_>>>::default();
        let (mut disk, writes) = (content.to_vec(), log.clone());
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let _ = serve(socket, &mut disk, align, &writes); // the client leaves when it is done
            }
        });
        Recorder { url, log }
    }
}

fn serve(mut socket: TcpStream, disk: &mut [u8], align: u32, log: &Mutex<Vec<Done>>) -> io::Result<()> {
    let be = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    socket.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
    socket.read_exact(&mut [0; 4])?;
    loop {
        let mut head = [0; 16];
        socket.read_exact(&mut head)?;
        io::copy(&mut Read::by_ref(&mut socket).take(be(&head[12..])), &mut io::sink())?;
        let reply = |kind: u32, body: &[u8]| {
            let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
            [&magic[..], &head[8..12], &kind.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body].concat()
        };
        if head[11] != 7 {
            socket.write_all(&reply(1 << 31 | 1, &[]))?;
            continue;
        }
        socket.write_all(&reply(3, &[&[0, 0][..], &(disk.len() as u64).to_be_bytes(), &[0, 0b101]].concat()))?;
        socket.write_all(&reply(
            3,
            &[&[0, 3][..], &[align, align.max(4096), 1 << 25].map(u32::to_be_bytes).concat()].concat(),
        ))?;
        socket.write_all(&reply(1, &[]))?;
        break;
    }
    loop {
        let mut head = [0; 28];
        socket.read_exact(&mut head)?;
        let (at, length) = (be(&head[16..24]) as usize, be(&head[24..]) as usize);
        let answer = [&0x6744_6698_u32.to_be_bytes()[..], &[0; 4], &head[8..16]].concat();
        let answer = match head[7] {
            0 => [answer, disk[at..at + length].to_vec()].concat(),
            1 => {
                let mut data = vec![0; length];
                socket.read_exact(&mut data)?;
                disk[at..at + length].copy_from_slice(&data);
                log.lock().unwrap().push(Some((at as u64, data)));
                answer
            }
            3 => {
                log.lock().unwrap().push(None);
                answer
            }
            _ => return Ok(()),
        };
        socket.write_all(&answer)?;
    }
}

/// Clusters that are referred to more often than they are counted, and compressed data that is not what was there at
/// `first` (nobody here writes any); and the clusters of all tables and of compressed data.
fn faults(image: &[u8], first: &[u8]) -> (Vec<String>, BTreeSet<usize>) {
    let be = |at: usize, length: usize| image[at..at + length].iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte));
    let (cluster, bits) = (1_usize << be(20, 4), 1_usize << be(96, 4));
    let place = |entry: u64| (entry & 0x00ff_ffff_ffff_fe00) as usize;
    let (mut used, mut tables, mut bad) = (vec![0_u64; image.len() / cluster], BTreeSet::new(), Vec::new());
    let mut compressed = Vec::new();
    let mut refer = |at: usize, length: usize| {
        used[at / cluster..(at + length).div_ceil(cluster)].iter_mut().for_each(|used| *used += 1);
    };
    let mut add = |at: usize, length: usize| {
        refer(at, length);
        tables.extend((at..at + length).step_by(cluster).map(|at| at / cluster));
    };
    add(0, 1);
    let (table, table_length) = (be(48, 8) as usize, be(56, 4) as usize * cluster);
    add(table, table_length);
    let blocks: Vec<usize> = (table..table + table_length).step_by(8).map(|at| place(be(at, 8))).collect();
    blocks.iter().filter(|block| **block != 0).for_each(|block| add(*block, 1));
    let mut l1s = vec![(be(40, 8) as usize, be(36, 4) as usize)];
    let mut at = be(64, 8) as usize;
    if be(60, 4) > 0 {
        let start = at;
        for _ in 0..be(60, 4) {
            l1s.push((be(at, 8) as usize, be(at + 8, 4) as usize));
            at += (40 + be(at + 36, 4) + be(at + 12, 2) + be(at + 14, 2)).next_multiple_of(8) as usize;
        }
        add(start, at - start);
    }
    l1s.iter().for_each(|(l1, entries)| add(*l1, entries * 8));
    let l2s = l1s.into_iter().flat_map(|(l1, entries)| (l1..l1 + entries * 8).step_by(8)).map(|at| place(be(at, 8)));
    let l2s: Vec<usize> = l2s.filter(|l2| *l2 != 0).collect();
    l2s.iter().for_each(|l2| add(*l2, 1));
    for entry in l2s.into_iter().flat_map(|l2| (l2..l2 + cluster).step_by(8)).map(|at| be(at, 8)) {
        match entry >> 62 & 1 {
            0 if place(entry) != 0 => refer(place(entry), 1),
            0 => {}
            _ => {
                let shift = 62 - (be(20, 4) - 8);
                let at = (entry & ((1 << shift) - 1)) as usize;
                let sectors = (entry >> shift & ((1 << (62 - shift)) - 1)) as usize + 1;
                let length = sectors * 512 - at % 512;
                refer(at, length);
                compressed.extend(at / cluster..(at + length).div_ceil(cluster));
                if image[at..at + length] != first[at..at + length] {
                    bad.push(format!("compressed data at {at} was written over"));
                }
            }
        }
    }
    let count = |index: usize| {
        let block = blocks.get(index / (cluster * 8 / bits)).copied().filter(|block| *block != 0)?;
        let index = index % (cluster * 8 / bits);
        Some(match bits {
            ..8 => u64::from(image[block + index * bits / 8]) >> (index * bits % 8) & ((1 << bits) - 1),
            _ => be(block + index * bits / 8, bits / 8),
        })
    };
    let over = used.into_iter().enumerate().filter(|(index, used)| *used > 0 && count(*index).unwrap_or(0) < *used);
    bad.extend(over.map(|(index, used)| format!("cluster {index}: count {:?}, used {used} times", count(index))));
    tables.extend(compressed);
    (bad, tables)
}

/// The way an image is made, and how it is written to.
struct Case {
    name: &'static str,
    /// Of the disk's blocks, in bytes.
    align: u32,
    make: &'static [&'static [&'static str]],
    write: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "an empty image",
        align: 1,
        make: &[&["create", "-f", "qcow2", "img", "24M"]],
        write: &["bench", "-w", "-c", "200", "-s", "16k", "-d", "8", "-f", "qcow2", "URL"],
    },
    Case {
        name: "clusters of 512 bytes, each with a table of its own soon",
        align: 1,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=512", "img", "4M"]],
        write: &["bench", "-w", "-c", "50", "-s", "32k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "clusters of 512 bytes, in whose blocks of refcounts everything is soon counted",
        align: 1,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", "img", "4M"]],
        write: &["bench", "-w", "-c", "120", "-s", "4k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "counts of one bit",
        align: 1,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=4k,refcount_bits=1", "img", "24M"]],
        write: &["bench", "-w", "-c", "200", "-s", "16k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "durable writes, which flush while others write",
        align: 1,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=4k", "img", "24M"]],
        write: &["bench", "-w", "-c", "40", "-s", "64k", "-d", "8", "-t", "writethrough", "-f", "qcow2", "URL"],
    },
    Case {
        name: "an image that is based on another",
        align: 1,
        make: &[
            &["create", "-f", "raw", "base", "24M"],
            &["create", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "BASE", "-F", "raw", "img"],
        ],
        write: &["bench", "-w", "-c", "150", "-s", "6k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "compressed clusters, which are freed",
        align: 1,
        make: &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"]],
        write: &["bench", "-w", "-c", "150", "-s", "12k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "compressed clusters of 512 bytes",
        align: 1,
        make: &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "raw", "img"]],
        write: &["bench", "-w", "-c", "60", "-s", "5k", "-d", "16", "-t", "writethrough", "-f", "qcow2", "URL"],
    },
    Case {
        name: "tables that are made while compressed clusters are freed",
        align: 1,
        make: &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "holey", "img"]],
        write: &["bench", "-w", "-c", "60", "-s", "5k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "an image with a snapshot, whose tables are copied",
        align: 1,
        make: &[
            &["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"],
            &["snapshot", "-c", "one", "img"],
        ],
        write: &["bench", "-w", "-c", "150", "-s", "16k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "clusters that are smaller than the disk's blocks",
        align: 4096,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=512", "img", "4M"]],
        write: &["bench", "-w", "-c", "50", "-s", "32k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "compressed clusters on blocks of 4096 bytes",
        align: 4096,
        make: &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=2k", "raw", "img"]],
        write: &["bench", "-w", "-c", "100", "-s", "9k", "-d", "16", "-f", "qcow2", "URL"],
    },
    Case {
        name: "an image made longer, whose L1 table grows",
        align: 1,
        make: &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "raw", "img"]],
        write: &["resize", "-f", "qcow2", "URL", "200M"],
    },
    Case {
        name: "an image made shorter",
        align: 1,
        make: &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"]],
        write: &["resize", "--shrink", "-f", "qcow2", "URL", "1M"],
    },
    Case {
        name: "an image that is emptied by a commit",
        align: 1,
        make: &[
            &["create", "-f", "raw", "base", "5M"],
            &["create", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "BASE", "-F", "raw", "img"],
            &["convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "img"],
        ],
        write: &["commit", "-f", "qcow2", "URL"],
    },
    Case {
        name: "a conversion into an image that is there",
        align: 1,
        make: &[&["create", "-f", "qcow2", "-o", "cluster_size=4k", "img", "6M"]],
        write: &["convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "URL"],
    },
    Case {
        name: "a conversion into an image with compressed clusters",
        align: 1,
        make: &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"]],
        write: &["convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "URL"],
    },
];

/// Wherever it is killed: after each write that reached the disk, in their order, the image has nothing that is not
/// counted. Catches: an L1 entry before the count of its table.
#[test]
fn after_every_single_write_the_image_is_consistent() {
    for_each_case(|folder, name, image, log| {
        let first = image.clone();
        let (bad, mut tables) = faults(image, &first);
        assert_eq!(bad, [""; 0], "{name}: the test misreads the image");
        let file = fs::File::options().read(true).write(true).open(folder.path("img")).unwrap();
        file.set_len(image.len() as u64).unwrap();
        for (n, (at, data)) in log.iter().flatten().enumerate() {
            put(image, *at, data);
            file.write_all_at(data, *at).unwrap();
            // Who writes to no table makes nothing inconsistent.
            if touches(1 << image[23], *at, data, &tables) {
                let (bad, now) = faults(image, &first);
                tables = now;
                assert!(bad.is_empty(), "{name}: killed after write {n} of {}: {bad:?}", log.len());
            }
            if n % log.len().div_ceil(3) == 0 {
                check(folder, "img", &format!("{name}, write {n}"));
            }
        }
        check(folder, "img", &format!("{name}, all written"));
    });
}

/// Whenever the power fails: of the writes since the last flush any may have reached the disk, or not. Tried with each of
/// them alone, and with all but each of them. Catches: counts that are not made durable before what they count.
#[test]
fn after_a_power_cut_the_image_is_consistent() {
    for_each_case(|_, name, before, log| {
        let (first, mut after, cluster) = (before.clone(), before.clone(), 1 << before[23]);
        let mut tables = faults(before, &first).1;
        for (epoch, writes) in log.split(Option::is_none).enumerate() {
            let writes: Vec<_> = writes.iter().flatten().collect();
            writes.iter().for_each(|write| put(&mut after, write.0, &write.1));
            tables.extend(faults(&after, &first).1); // and what were tables before
            for (n, (at, data)) in
                writes.iter().enumerate().filter(|(_, write)| touches(cluster, write.0, &write.1, &tables))
            {
                let there = |image: &[u8]| image[*at as usize..][..data.len()].to_vec();
                let (without, with) = (there(before), there(&after));
                for (kind, image, bytes, back) in
                    [("only", &mut *before, data, &without), ("all but", &mut after, &without, &with)]
                {
                    put(image, *at, bytes);
                    let bad = faults(image, &first).0;
                    put(image, *at, back);
                    assert!(
                        bad.is_empty(),
                        "{name}: {kind} write {n} of {} after flush {epoch}: {bad:?}",
                        writes.len()
                    );
                }
            }
            writes.iter().for_each(|write| put(before, write.0, &write.1));
        }
    });
}

fn put(image: &mut [u8], at: u64, data: &[u8]) {
    image[at as usize..][..data.len()].copy_from_slice(data);
}

fn touches(cluster: usize, at: u64, data: &[u8], tables: &BTreeSet<usize>) -> bool {
    tables.range(at as usize / cluster..(at as usize + data.len()).div_ceil(cluster)).next().is_some()
}

/// Runs each case, and hands over the image before it and what was done to it.
fn for_each_case(look: impl Fn(&Folder, &str, &mut Vec<u8>, &[Done])) {
    if !qemu_is_here() {
        return;
    }
    for Case { name, align, make, write } in CASES {
        let folder = Folder::new();
        folder.raw("raw", 5 << 20);
        // Every other piece is a hole, of the size that an L2 table of clusters of 512 bytes maps.
        let mut holey = fs::read(folder.path("raw")).unwrap();
        holey.chunks_mut(32 << 10).skip(1).step_by(2).for_each(|piece| piece.fill(0));
        fs::write(folder.path("holey"), holey).unwrap();
        let base = folder.at("base");
        for command in *make {
            let command: Vec<&str> = command.iter().map(|word| if *word == "BASE" { &base } else { *word }).collect();
            folder.qemu_img(&[&command[..1], &["-q"], &command[1..]].concat());
        }
        let mut image = fs::read(folder.path("img")).unwrap();
        image.resize(14 << 20, 0);
        let recorder = Recorder::new(&image, *align);
        let command: Vec<&str> = write.iter().map(|word| if *word == "URL" { &recorder.url } else { *word }).collect();
        folder.ok(&command);
        let log = recorder.log.lock().unwrap();
        assert!(log.len() > 2, "{name}: {} writes", log.len());
        look(&folder, name, &mut image, &log);
    }
}

/// qemu-img finds no error in it; it may have leaked clusters.
#[track_caller]
fn check(folder: &Folder, image: &str, what: &str) {
    let output = support::run(
        std::process::Command::new("qemu-img").args(["check", "-f", "qcow2", image]).current_dir(folder.0.path()),
    );
    assert!(matches!(output.status.code(), Some(0 | 3)), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// The real thing: a program that is killed, or asked to end, at some moment. The moments are spread, and none is required.
#[test]
fn a_signal_while_an_image_is_written_leaves_it_consistent() {
    if !qemu_is_here() {
        return;
    }
    for (signal, code) in [
        (Signal::SIGKILL, None),
        (Signal::SIGTERM, Some(143)),
        (Signal::SIGINT, Some(130)),
        (Signal::SIGHUP, Some(129)),
    ] {
        for round in 0..5 {
            let folder = Folder::new();
            folder.qemu_img(&["create", "-q", "-f", "raw", "base", "1G"]);
            let based: &[&str] = if round % 2 == 0 { &["-b", "base", "-F", "raw"] } else { &[] };
            let options = ["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k"];
            folder.qemu_img(&[&options[..], based, &["img", "1G"]].concat());
            let mut child = match round % 4 {
                3 => {
                    fs::write(folder.path("raw"), content(1 << 20).repeat(300)).unwrap();
                    folder.command(&["convert", "-n", "-O", "qcow2", "-f", "raw", "raw", "img"])
                }
                _ => folder.command(&["bench", "-w", "-c", "100000000", "-s", "10k", "-d", "16", "img"]),
            };
            // The moments begin when it writes.
            let before = fs::metadata(folder.path("img")).unwrap().len();
            let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            support::until(|| fs::metadata(folder.path("img")).unwrap().len() > before);
            thread::sleep(std::time::Duration::from_millis(round * 9));
            support::kill(child.id(), signal);
            let output = support::ended(child);
            let ended = output.status.code();
            assert!(ended == code || ended == Some(0), "{signal} {round}: {ended:?} {}", text(&output.stderr));
            check(&folder, "img", &format!("{signal}, round {round}"));
            if code.is_some() && ended == code {
                assert!(text(&output.stderr).contains("interrupted"), "{}", text(&output.stderr));
                let check = folder.tool("qemu-img", &["check", "img"]); // without leaks, too
                assert!(check.contains("No errors"), "{signal} {round}: {check}");
            }
        }
    }
}
