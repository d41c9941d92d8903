//! `blocking::Cursor` over a device whose requests fail, panic or are given up: nobody sees bytes that are not on the
//! device.
#![cfg(not(loom))]

mod common;

use std::{
    cell::{Cell, RefCell},
    io::{self, BufRead, Read, Seek, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
};

use co_wrapper_runtime::blocking::{Cursor, Device};

/// How a request ends without a result.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Error,
    /// As a plain twin does in coroutine context, or a call into a context that was closed.
    Panic,
    /// It waits, and the coroutine that made it is dropped.
    GivenUp,
}

/// A device in memory, one request of which fails.
struct Faulty {
    bytes: RefCell<Vec<u8>>,
    alignment: u64,
    /// How many requests come before the one that fails, and how that fails.
    next: Cell<Option<(usize, Fault)>>,
}

impl Faulty {
    fn new(size: usize, alignment: u64) -> Self {
        let bytes = (0..size).map(|at| (at % 251) as u8 + 1).collect();
        Self { bytes: RefCell::new(bytes), alignment, next: Cell::new(None) }
    }

    fn request(&self) -> io::Result<()> {
        match self.next.take() {
            Some((0, Fault::Error)) => Err(io::Error::other("the disk is broken")),
            Some((0, Fault::Panic)) => panic!("the disk is on fire"),
            Some((0, Fault::GivenUp)) => co_wrapper_runtime::block_on(std::future::pending()),
            Some((more, fault)) => {
                self.next.set(Some((more - 1, fault)));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Device for Faulty {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.request()?;
        buf.copy_from_slice(&self.bytes.borrow()[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.request()?;
        self.bytes.borrow_mut()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn alignment(&self) -> u64 {
        self.alignment
    }
}

type Shared = Rc<RefCell<Cursor<Rc<Faulty>>>>;

/// What is wrong with the bytes that the cursor shows next.
fn look(cursor: &Shared) -> Option<String> {
    let mut cursor = cursor.borrow_mut();
    let (at, device) = (cursor.position() as usize, Rc::clone(cursor.get_ref()));
    let shown = cursor.fill_buf().unwrap();
    let there = &device.bytes.borrow()[at..];
    (shown.is_empty() || *shown != there[..shown.len()]).then(|| format!("{:?} at {at}", &shown[..4.min(shown.len())]))
}

/// Looks when it is dropped while the thread unwinds.
struct Looks(Shared, Rc<RefCell<Vec<String>>>);

impl Drop for Looks {
    fn drop(&mut self) {
        if thread::panicking() {
            self.1.borrow_mut().extend(look(&self.0).map(|wrong| format!("in a destructor: {wrong}")));
        }
    }
}

type Step = (&'static str, fn(&mut Cursor<Rc<Faulty>>) -> io::Result<()>);

const STEPS: &[Step] = &[
    ("fill_buf", |cursor| cursor.fill_buf().map(drop)),
    ("read of a part of a block", |cursor| cursor.read(&mut [0; 3]).map(drop)),
    ("read of whole blocks", |cursor| cursor.read(&mut [0; 1024]).map(drop)),
    ("read_exact", |cursor| cursor.read_exact(&mut [0; 9])),
    ("read_to_end", |cursor| cursor.read_to_end(&mut Vec::new()).map(drop)),
    ("write of a part of a block", |cursor| cursor.write(&[0xee; 3]).map(drop)),
    ("write of whole blocks", |cursor| cursor.write(&[0xee; 1024]).map(drop)),
];

/// What the cursor did before.
const BEFORE: &[Step] = &[
    ("nothing", |_| Ok(())),
    ("fill_buf at the beginning", |cursor| {
        let position = cursor.position();
        cursor.rewind()?;
        cursor.fill_buf()?;
        // This does not forget what was read ahead.
        cursor.consume(position as usize);
        Ok(())
    }),
    ("a small read and back", |cursor| {
        let position = cursor.position();
        cursor.read_exact(&mut [0; 2])?;
        cursor.seek(SeekFrom::Start(position)).map(drop)
    }),
];

/// Does it, with a request that fails; whether one did.
fn fail(cursor: &Shared, fault: Fault, step: &Step, wrong: &Rc<RefCell<Vec<String>>>) -> bool {
    let code = {
        let (cursor, wrong, step) = (Rc::clone(cursor), Rc::clone(wrong), step.1);
        move || {
            let _looks = Looks(Rc::clone(&cursor), wrong);
            step(&mut cursor.borrow_mut())
        }
    };
    if fault != Fault::GivenUp {
        return !matches!(catch_unwind(AssertUnwindSafe(code)), Ok(Ok(())));
    }
    #[cfg(all(feature = "coroutine", not(miri)))]
    {
        use std::{
            future::Future,
            pin::pin,
            task::{Context, Waker},
        };
        // SAFETY: it has no scope in a thread-local.
        let mut coroutine = pin!(unsafe { co_wrapper_runtime::Coroutine::new(code) });
        coroutine.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
    #[cfg(not(all(feature = "coroutine", not(miri))))]
    {
        drop(code);
        false
    }
}

/// Catches: a buffer that is shown before the device has filled it, or with what was not written.
#[test]
fn what_a_failed_request_leaves_behind_is_shown_to_nobody() {
    let mut failed = 0;
    for fault in [Fault::Error, Fault::Panic, Fault::GivenUp] {
        for (before, position, alignment) in
            BEFORE.iter().flat_map(|before| [(before, 3, 512), (before, 600, 512), (before, 1990, 512), (before, 5, 1)])
        {
            for step in STEPS {
                for nth in 0..2 {
                    let row =
                        format!("{fault:?} at {nth} in {} at {position} of {alignment} after {}", step.0, before.0);
                    let device = Rc::new(Faulty::new(2000, alignment));
                    let mut cursor = Cursor::new(Rc::clone(&device));
                    cursor.seek(SeekFrom::Start(position)).unwrap();
                    before.1(&mut cursor).unwrap();
                    let cursor = Rc::new(RefCell::new(cursor));
                    let wrong = Rc::new(RefCell::new(Vec::new()));
                    device.next.set(Some((nth, fault)));
                    failed += usize::from(fail(&cursor, fault, step, &wrong));
                    device.next.set(None);
                    assert!(wrong.borrow().is_empty(), "{row}: {wrong:?}");
                    if cursor.borrow().position() < 2000 {
                        assert_eq!(look(&cursor), None, "{row}");
                    }
                }
            }
        }
    }
    assert!(failed > 100, "{failed} rows failed at all");
}
