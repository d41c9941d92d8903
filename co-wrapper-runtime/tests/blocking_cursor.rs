//! `blocking::Cursor` and `Partition` over block devices, beside std's `Cursor` over the same bytes.
#![cfg(not(loom))]

mod common;

use std::{
    fmt::Debug,
    io::{self, BufRead, Cursor as StdCursor, ErrorKind, Read, Seek, SeekFrom, Write},
    rc::Rc,
    sync::{Arc, Mutex},
};

use co_wrapper_runtime::{
    block_on,
    blocking::{Cursor, Device, Partition},
};
use common::*;

/// A device in memory, which holds its users to what [`Device`] promises it.
#[derive(Default)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    alignment: u64,
    grows: bool,
    /// Each request: its kind, offset and length.
    requests: Mutex<Vec<(&'static str, u64, usize)>>,
}

impl Memory {
    fn new(bytes: &[u8], alignment: u64, grows: bool) -> Self {
        Self { bytes: Mutex::new(bytes.to_vec()), alignment, grows, requests: Mutex::default() }
    }

    fn check(&self, what: &'static str, offset: u64, len: usize, within: Option<u64>) {
        self.requests.lock().unwrap().push((what, offset, len));
        let (alignment, size) = (self.alignment.max(1), self.bytes.lock().unwrap().len() as u64);
        let end = offset + len as u64;
        assert!(offset.is_multiple_of(alignment), "{what} of {len} bytes at {offset}");
        assert!(end.is_multiple_of(alignment) || end >= size, "{what} of {len} bytes at {offset} of {size}");
        assert!(within.is_none_or(|size| end <= size), "{what} of {len} bytes at {offset} of {size}");
    }
}

impl Device for Memory {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check("read", offset, buf.len(), Some(self.size()?));
        // As a driver's twin does it.
        block_on(async { buf.copy_from_slice(&self.bytes.lock().unwrap()[offset as usize..][..buf.len()]) });
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check("write", offset, data.len(), Some(self.size()?).filter(|_| !self.grows));
        let (mut bytes, end) = (self.bytes.lock().unwrap(), offset as usize + data.len());
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.check("flush", 0, 0, None);
        Ok(())
    }

    fn alignment(&self) -> u64 {
        self.alignment
    }

    fn grows(&self) -> bool {
        self.grows
    }
}

trait ReadWriteSeek: BufRead + Write + Seek {}
impl<T: BufRead + Write + Seek> ReadWriteSeek for T {}

#[derive(Clone, Copy, Debug)]
enum Step {
    Seek(SeekFrom),
    Read(usize),
    ReadExact(usize),
    Write(usize),
    WriteAll(usize),
    ReadToEnd,
    FillAndConsume(usize),
    Skip(i64),
}

/// What a step gave: bytes, or the kind of its error, and where it left the position.
type Gave = (Result<Vec<u8>, ErrorKind>, u64);

impl Step {
    /// Does it. With `whole`, a step whose length is up to the reader or writer is done as often as it takes.
    fn run(self, on: &mut dyn ReadWriteSeek, whole: bool, number: usize) -> Gave {
        let data = |len: usize| (0..len).map(|at| (at + number * 17) as u8 | 1).collect::<Vec<_>>();
        let upto = |on: &mut dyn ReadWriteSeek, len: usize| {
            let mut buf = Vec::new();
            on.take(len as u64).read_to_end(&mut buf).map(|_| buf)
        };
        let gave = match self {
            Self::Seek(to) => on.seek(to).map(|position| position.to_le_bytes().to_vec()),
            Self::Skip(by) => on.seek_relative(by).map(|()| Vec::new()),
            Self::Read(len) if whole => upto(on, len),
            Self::Read(len) => {
                let mut buf = vec![0; len];
                on.read(&mut buf).map(|read| buf[..read].to_vec())
            }
            Self::ReadExact(len) => {
                let mut buf = vec![0; len];
                let before = on.stream_position().unwrap();
                let read = on.read_exact(&mut buf).map(|()| buf);
                if read.is_err() {
                    // How far it came before the end is not defined.
                    on.seek(SeekFrom::Start(before)).unwrap();
                }
                read
            }
            Self::Write(len) if !whole => on.write(&data(len)).map(|written| vec![0; written]),
            Self::Write(len) | Self::WriteAll(len) => on.write_all(&data(len)).map(|()| Vec::new()),
            Self::ReadToEnd => {
                let mut buf = Vec::new();
                on.read_to_end(&mut buf).map(|_| buf)
            }
            Self::FillAndConsume(len) => {
                let mut seen = Vec::new();
                loop {
                    let shown = on.fill_buf().unwrap();
                    let some = shown.len().min(len - seen.len());
                    seen.extend_from_slice(&shown[..some]);
                    on.consume(some);
                    if some == 0 {
                        break Ok(seen);
                    }
                }
            }
        };
        (gave.map_err(|error| error.kind()), on.stream_position().unwrap())
    }
}

fn same(what: &str, ours: &mut dyn ReadWriteSeek, std: &mut dyn ReadWriteSeek, whole: bool, steps: &[Step]) {
    for (number, step) in steps.iter().enumerate() {
        let (ours, std) = (step.run(ours, whole, number), step.run(std, whole, number));
        assert_eq!(ours, std, "{what}: step {number} of {steps:?}");
    }
}

/// Runs `steps` over devices of `bytes` with several alignments, and over std's cursors.
fn same_as_std(bytes: &[u8], steps: &[Step]) {
    for alignment in [0, 1, 4, 16, 512] {
        let whole = alignment > 1;
        let device = Memory::new(bytes, alignment, false);
        let mut fixed = bytes.to_vec();
        let mut std = StdCursor::new(&mut fixed[..]);
        same(&format!("fixed, {alignment}"), &mut Cursor::new(&device), &mut std, whole, steps);
        assert_eq!(*device.bytes.lock().unwrap(), fixed, "{steps:?}");

        let device = Memory::new(bytes, alignment, true);
        let mut std = StdCursor::new(bytes.to_vec());
        same(&format!("growing, {alignment}"), &mut Cursor::new(&device), &mut std, whole, steps);
        assert_eq!(*device.bytes.lock().unwrap(), *std.get_ref(), "{steps:?}");
    }
}

fn counted(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Catches: a position that differs from std's, a short read or write that is not where std has it, a gap that is not
/// zeros, an error of another kind.
#[test]
fn it_gives_what_stds_cursor_gives() {
    use SeekFrom::{Current, End, Start};
    use Step::*;
    let table: &[&[Step]] = &[
        &[Read(4), Read(4), Read(0), ReadToEnd, Read(4)],
        &[ReadExact(10), ReadExact(100), ReadExact(20), ReadExact(1), ReadExact(0)],
        &[Write(4), Write(4), Seek(Start(2)), Read(4)],
        // Up to the end, over it, at it, behind it.
        &[Seek(End(-4)), Write(4), Seek(End(-4)), ReadToEnd],
        &[Seek(End(-4)), Write(8), Seek(Start(0)), ReadToEnd],
        &[Seek(End(-4)), WriteAll(8), Seek(End(0)), WriteAll(1), Write(1)],
        &[Seek(End(0)), Read(1), Write(3), Seek(Start(0)), ReadToEnd],
        &[Seek(End(9)), Read(1), ReadToEnd, Write(3), Seek(Start(0)), ReadToEnd],
        // Where there is nothing to be.
        &[Seek(Current(-1)), Read(1), Seek(End(-1000)), Read(1)],
        &[Seek(End(i64::MIN)), Seek(Current(i64::MIN)), Seek(Current(i64::MAX)), Read(1), Seek(Start(3)), Read(2)],
        &[Seek(Start(u64::MAX)), Read(1), Seek(Current(1)), Seek(Current(-1)), Seek(End(0)), Read(1)],
        &[Seek(Start(u64::MAX)), ReadToEnd, Skip(i64::MAX), Skip(-1), Seek(Start(0)), Skip(-1), Skip(5), Read(1)],
        // Read ahead, and then changed.
        &[FillAndConsume(3), Read(3), FillAndConsume(30), FillAndConsume(30)],
        &[FillAndConsume(3), WriteAll(3), Seek(Start(0)), FillAndConsume(9)],
        &[FillAndConsume(3), Seek(Start(20)), FillAndConsume(3), Seek(Start(3)), FillAndConsume(3)],
        &[Seek(End(2)), FillAndConsume(3), Seek(End(-2)), FillAndConsume(3)],
    ];
    within_bounds(move || {
        for steps in table {
            for len in [0, 1, 37, 64, 1500] {
                same_as_std(&counted(len), steps);
            }
        }
    });
}

/// Catches: what no table thought of.
#[test]
fn it_gives_what_stds_cursor_gives_at_random() {
    within_bounds(|| {
        let mut rng = fastrand::Rng::with_seed(18);
        for _ in 0..400 {
            let len = rng.usize(..1200);
            // A write of nothing past the end makes a `Vec` longer, and no file.
            let steps: Vec<Step> = (0..rng.usize(1..12))
                .map(|_| match rng.u8(..9) {
                    0 => Step::Seek(SeekFrom::Start(rng.u64(..1500))),
                    1 => Step::Seek(SeekFrom::End(rng.i64(-1300..300))),
                    2 => Step::Seek(SeekFrom::Current(rng.i64(-600..600))),
                    3 => Step::Read(rng.usize(..700)),
                    4 => Step::ReadExact(rng.usize(..700)),
                    5 => Step::WriteAll(rng.usize(1..700)),
                    6 => Step::ReadToEnd,
                    7 => Step::Skip(rng.i64(-600..600)),
                    _ => Step::FillAndConsume(rng.usize(..700)),
                })
                .collect();
            // A `write_all` that fails has written up to the end, in std as here.
            same_as_std(&counted(len), &steps);
        }
    });
}

/// Catches: a request that is split, or one that is made for nothing.
#[test]
fn a_read_or_write_of_whole_blocks_is_one_request() {
    let requests = |alignment, grows, run: &dyn Fn(&mut Cursor<&Memory>) -> io::Result<()>| {
        let device = Memory::new(&counted(8192), alignment, grows);
        run(&mut Cursor::new(&device)).unwrap();
        device.requests.into_inner().unwrap()
    };
    let to_4096 = |cursor: &mut Cursor<&Memory>| cursor.seek(SeekFrom::Start(4096)).map(drop);
    assert_eq!(requests(512, false, &|cursor| cursor.read_exact(&mut [0; 4096])), [("read", 0, 4096)]);
    assert_eq!(
        requests(512, false, &|cursor| to_4096(cursor).and_then(|()| cursor.write_all(&[0; 4096]))),
        [("write", 4096, 4096)]
    );
    // Up to its end the device's blocks need not be whole.
    assert_eq!(
        requests(5000, false, &|cursor| cursor.read_to_end(&mut Vec::with_capacity(8192)).map(drop))[0].0,
        "read"
    );
    assert_eq!(
        requests(512, false, &|cursor| cursor.write_all(&[0; 1000])),
        [("write", 0, 512), ("read", 512, 512), ("write", 512, 512)]
    );
    assert_eq!(
        requests(512, false, &|cursor| cursor.seek_relative(10).and_then(|()| cursor.read_exact(&mut [0; 1100]))),
        [("read", 0, 512), ("read", 512, 512), ("read", 1024, 512)]
    );
    // A file that ends within a block, made longer.
    assert_eq!(
        requests(8192, true, &|cursor| {
            cursor.seek(SeekFrom::Start(8200))?;
            cursor.write_all(&[7; 3])
        }),
        [("write", 8192, 11)]
    );
    assert_eq!(requests(1, false, &|cursor| cursor.flush()), [("flush", 0, 0)]);
    assert_eq!(requests(1, false, &|cursor| cursor.seek(SeekFrom::End(7)).map(drop)), []);
    assert_eq!(requests(1, false, &|cursor| to_4096(cursor).and_then(|()| cursor.rewind())), []);
    assert_eq!(requests(1, false, &|cursor| cursor.read(&mut []).map(drop)), []);
    assert_eq!(requests(1, false, &|cursor| cursor.write(&[]).map(drop)), []);
    assert_eq!(
        requests(1, true, &|cursor| cursor.seek(SeekFrom::End(9)).and_then(|_| cursor.write(&[])).map(drop)),
        []
    );
    // Ahead, once, until it is used up.
    let lines = requests(512, false, &|cursor| {
        (0..9).try_for_each(|_| cursor.skip_until(250).map(drop)).and_then(|()| cursor.stream_position().map(drop))
    });
    assert_eq!(lines, [("read", 0, 8192)]);
}

/// Catches: a write that wraps round, or panics.
#[test]
fn a_growing_device_ends_where_offsets_do() {
    let mut cursor = Cursor::new(Endless);
    cursor.seek(SeekFrom::Start(u64::MAX - 3)).unwrap();
    assert_eq!(cursor.write(b"four").unwrap(), 3);
    assert_eq!(cursor.write(b"four").unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(cursor.write(b"").unwrap(), 0);
    assert_eq!(cursor.position(), u64::MAX);
    assert_eq!(cursor.read(&mut [0; 4]).unwrap(), 0);
    cursor.rewind().unwrap();
    assert_eq!(cursor.read(&mut [0; 4]).unwrap(), 4);
}

/// As large as can be, and growing.
struct Endless;

impl Device for Endless {
    fn size(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn grows(&self) -> bool {
        true
    }
}

/// Catches: an error that is lost, moves the position, or leaves what was half read to be shown.
#[test]
fn an_error_of_the_device_is_the_callers_and_moves_nothing() {
    /// Fails in every function but the named one.
    struct Fails(&'static str);
    impl Fails {
        fn unless(&self, this: &str) -> io::Result<()> {
            if self.0 == this { Ok(()) } else { Err(io::Error::from_raw_os_error(5)) }
        }
    }
    impl Device for Fails {
        fn size(&self) -> io::Result<u64> {
            self.unless("size").map(|()| 100)
        }
        fn read_at(&self, _: u64, buf: &mut [u8]) -> io::Result<()> {
            buf.fill(9);
            self.unless("read")
        }
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            self.unless("write")
        }
        fn flush(&self) -> io::Result<()> {
            self.unless("flush")
        }
        fn alignment(&self) -> u64 {
            10
        }
    }
    fn fails<T: Debug>(result: io::Result<T>) {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(5));
    }
    let mut cursor = Cursor::new(Fails("size"));
    for position in [0, 5, 90, 95] {
        cursor.seek(SeekFrom::Start(position)).unwrap();
        fails(cursor.read(&mut [0; 10]));
        fails(cursor.write(&[0; 10]));
        fails(cursor.write(&[0; 1]));
        fails(cursor.fill_buf());
        fails(cursor.fill_buf());
        fails(cursor.flush());
        assert_eq!(cursor.position(), position);
    }
    *cursor.get_mut() = Fails("flush");
    fails(cursor.read(&mut [0]));
    fails(cursor.write(&[0]));
    fails(cursor.seek(SeekFrom::End(0)));
    fails(Partition::new(Fails("flush"), 0, 10));
    cursor.flush().unwrap();
    assert_eq!(cursor.position(), 95);
}

/// Catches: a pointer that does not forward one of the functions.
#[test]
fn pointers_to_devices_are_devices() {
    fn check(device: impl Device) {
        assert_eq!((device.size().unwrap(), device.alignment(), device.grows()), (64, 4, true));
        let mut bytes = [0; 4];
        device.write_at(4, &[1, 2, 3, 4]).unwrap();
        device.read_at(4, &mut bytes).unwrap();
        device.flush().unwrap();
        assert_eq!(bytes, [1, 2, 3, 4]);
    }
    let device = || Memory::new(&[0; 64], 4, true);
    check(Box::new(device()));
    check(Rc::new(device()));
    let shared = Arc::new(device());
    check(Arc::clone(&shared) as Arc<dyn Device + Send + Sync>);
    check(&shared);
    assert_eq!(shared.requests.lock().unwrap().len(), 6);
    fn is_send(_: impl Send) {}
    is_send(Cursor::new(shared));
}

/// Catches: a partition that shows or changes what is outside it, or begins where no request may.
#[test]
fn a_partition_is_a_device_by_itself() {
    let device = Memory::new(&counted(1024), 4, true);
    let whole = counted(1024);
    for (start, len) in [(0, 1024), (4, 8), (512, 512), (8, 1000), (1004, 20), (1024, 0), (0, 0)] {
        let part = Partition::new(&device, start, len).unwrap();
        let range = start as usize..(start + len) as usize;
        let mut content = Vec::new();
        Cursor::new(&part).read_to_end(&mut content).unwrap();
        assert_eq!(content, whole[range.clone()]);
        let mut cursor = Cursor::new(part);
        let mut data = vec![0xee; len as usize];
        cursor.write_all(&data).unwrap();
        assert_eq!(cursor.write(&[1]).unwrap(), 0, "a partition does not grow, even if its device does");
        assert_eq!(cursor.seek(SeekFrom::End(-0)).unwrap(), len);
        cursor.flush().unwrap();
        let mut bytes = device.bytes.lock().unwrap();
        assert_eq!(bytes.len(), 1024);
        data.clone_from_slice(&bytes[range.clone()]);
        assert!(data.iter().all(|byte| *byte == 0xee));
        bytes[range.clone()].copy_from_slice(&whole[range]);
        assert_eq!(*bytes, whole, "and nothing else");
    }
    for (start, len, why) in [
        (0, 1025, "a partition of 1025 bytes at 0: past the end of a device of 1024 bytes"),
        (1028, 0, "a partition of 0 bytes at 1028: past the end of a device of 1024 bytes"),
        (8, u64::MAX, "a partition of 18446744073709551615 bytes at 8: past the end of a device of 1024 bytes"),
        (8, 9, "a partition of 9 bytes at 8: the device's requests have to be multiples of 4 bytes"),
        (6, 8, "a partition of 8 bytes at 6: the device's requests have to be multiples of 4 bytes"),
    ] {
        let refused = Partition::new(&device, start, len).unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::InvalidInput, why));
    }
    // By hand, past its end.
    let part = Partition::new(&device, 4, 8).unwrap();
    for (offset, len) in [(0, 9), (8, 1), (u64::MAX, 1)] {
        let mut buf = vec![0; len];
        assert_eq!(part.read_at(offset, &mut buf).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(part.write_at(offset, &buf).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // A partition of a partition.
    let inner = Partition::new(part, 4, 4).unwrap();
    let mut content = Vec::new();
    Cursor::new(inner).read_to_end(&mut content).unwrap();
    assert_eq!(content, whole[8..12]);
}

/// Catches: bytes of the neighbours that are lost when a part of a block is written.
#[test]
fn writing_within_a_block_keeps_the_rest_of_it() {
    for alignment in [1, 2, 64, 512] {
        for (from, len) in [(0, 1), (1, 1), (63, 2), (511, 513), (1000, 24), (1, 1022)] {
            let device = Memory::new(&counted(1024), alignment, false);
            let mut cursor = Cursor::new(&device);
            cursor.seek(SeekFrom::Start(from)).unwrap();
            cursor.write_all(&vec![0xff; len]).unwrap();
            let mut expected = counted(1024);
            expected[from as usize..from as usize + len].fill(0xff);
            assert!(*device.bytes.lock().unwrap() == expected, "{len} bytes at {from}, blocks of {alignment}");
        }
    }
}

/// Catches: a `Debug` that wants one of the device, which crates of partition tables require.
#[test]
fn it_shows_its_position() {
    let mut cursor = Cursor::new(Endless);
    cursor.seek(SeekFrom::Start(7)).unwrap();
    assert_eq!(format!("{cursor:?}"), "Cursor { position: 7, .. }");
}

/// Catches: a file's offsets, growth, size or errors that do not get through to the cursor.
#[test]
#[cfg(all(feature = "file", unix))]
fn a_file_is_a_device_which_grows() {
    use co_wrapper_runtime::file::File;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut cursor = Cursor::new(File::options().write(true).create(true).open_blocking(&path).unwrap());
    cursor.write_all(b"0123456789").unwrap();
    cursor.seek(SeekFrom::Start(20)).unwrap();
    cursor.write_all(b"end").unwrap();
    cursor.flush().unwrap();
    cursor.seek(SeekFrom::End(-15)).unwrap();
    let mut rest = Vec::new();
    cursor.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"89\0\0\0\0\0\0\0\0\0\0end");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 23);
    let part = Partition::new(cursor.get_ref(), 0, 10).unwrap();
    let mut part = Cursor::new(part);
    part.seek(SeekFrom::Start(8)).unwrap();
    assert_eq!(part.write(b"abc").unwrap(), 2, "a partition does not grow");

    let mut unwritable = Cursor::new(File::open_blocking(&path).unwrap());
    let error = unwritable.write(b"x").unwrap_err();
    assert!(error.to_string().contains("disk"), "{error}");
    assert_eq!(unwritable.position(), 0);
}
