//! Beside other attribute macros, in both orders where both make sense.

use async_recursion::async_recursion;
use async_trait::async_trait;
use co_wrapper::co_wrapper;
use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tracing::instrument;

/// Pending once, so that each wrapper really waits.
async fn later<T>(value: T) -> T {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await;
    value
}

struct Mem(u8);

// Each block is first expanded by the attribute that is written first.

#[async_trait]
#[co_wrapper(suffix = "_blocking")]
trait Outside {
    async fn read<'a>(&'a self, off: u64, mem: Arc<dyn Debug + Send + Sync>, r: &[&'a str]) -> (&'a str, String);

    async fn provided(&mut self, (a, _): (u8, u8)) -> u8
    where
        Self: Send,
    {
        later(a).await
    }

    #[co_wrapper(skip)]
    async fn skipped(&self) -> u8;
}

#[async_trait]
impl Outside for Mem {
    async fn read<'a>(&'a self, off: u64, mem: Arc<dyn Debug + Send + Sync>, r: &[&'a str]) -> (&'a str, String) {
        later((r[off as usize], format!("{mem:?}"))).await
    }

    async fn skipped(&self) -> u8 {
        later(self.0).await
    }
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
trait Inside {
    async fn write(&mut self, rc: std::rc::Rc<u8>) -> u8;

    #[co_wrapper(name = named)]
    async fn other(&self) -> u8 {
        later(3).await
    }

    async fn by_value(self) -> u8
    where
        Self: Sized;
}

#[async_trait(?Send)]
impl Inside for Mem {
    async fn write(&mut self, rc: std::rc::Rc<u8>) -> u8 {
        self.0 += *rc;
        later(self.0).await
    }

    async fn by_value(self) -> u8 {
        later(self.0).await
    }
}

struct Regions<'a>(&'a [&'a str]);

// A shape of real storage code, in both orders.
#[async_trait(?Send)]
#[co_wrapper(suffix = "_blocking")]
trait ToMem {
    async fn read_to_mem<'a>(
        &'a self,
        off: u64,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a u8, &'a str, String);
}

#[async_trait(?Send)]
impl ToMem for Mem {
    async fn read_to_mem<'a>(
        &'a self,
        off: u64,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a u8, &'a str, String) {
        later((&self.0, r.0[off as usize], format!("{mem:?}"))).await
    }
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
trait FromMem {
    async fn write_from_mem<'a>(&'a mut self, mem: Arc<dyn Debug + Send + Sync>, r: Regions<'a>)
    -> (&'a mut u8, usize);
}

#[async_trait(?Send)]
impl FromMem for Mem {
    async fn write_from_mem<'a>(
        &'a mut self,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a mut u8, usize) {
        let len = format!("{mem:?}").len() + r.0.len();
        later((&mut self.0, len)).await
    }
}

// Marked one by one, with nothing of ours around.
#[async_trait]
trait Marked {
    #[co_wrapper]
    async fn co_read(&self) -> u8;
}

#[async_trait]
impl Marked for Mem {
    async fn co_read(&self) -> u8 {
        later(self.0).await
    }
}

#[instrument(skip(secret))]
#[co_wrapper]
async fn co_traced_outside(x: u8, secret: u8) -> u8 {
    later(x + secret).await
}

#[co_wrapper]
#[instrument(level = "debug", ret)]
async fn co_traced_inside(mut x: u8) -> u8 {
    x += 1;
    later(x).await
}

impl Mem {
    #[instrument(skip_all)]
    #[co_wrapper]
    async fn co_method(&mut self, by: &u8) -> &mut u8 {
        self.0 += by;
        later(&mut self.0).await
    }
}

#[co_wrapper]
#[async_recursion]
async fn co_sum(n: u8) -> u32 {
    if n == 0 { later(0).await } else { u32::from(n) + co_sum(n - 1).await }
}

#[async_recursion(?Send)]
#[co_wrapper]
async fn co_longest<'a>(texts: &[&'a str]) -> &'a str {
    let [first, rest @ ..] = texts else {
        return later("").await;
    };
    let longest = co_longest(rest).await;
    if first.len() > longest.len() { first } else { longest }
}

#[test]
fn async_trait_both_orders() {
    let mut mem = Mem(7);
    let read = mem.read_blocking(1, Arc::new(5), &["a", "b"]);
    assert_eq!(read, ("b", "5".to_owned()));
    assert_eq!(mem.provided_blocking((4, 5)), 4);
    drop(mem.skipped());
    assert_eq!(mem.write_blocking(std::rc::Rc::new(2)), 9);
    assert_eq!(mem.named(), 3);
    assert_eq!(mem.read_to_mem_blocking(1, Arc::new(5), Regions(&["a", "b"])), (&9, "b", "5".to_owned()));
    assert_eq!(mem.write_from_mem_blocking(Arc::new(5), Regions(&["a"])), (&mut 9, 2));
    assert_eq!(Marked::read(&mem), 9);

    let object: &mut (dyn Outside + Send) = &mut mem;
    assert_eq!(object.read_blocking(0, Arc::new(5), &["a"]).0, "a");
    let object: &dyn Marked = &mem;
    assert_eq!(object.read(), 9);

    assert_eq!(mem.by_value_blocking(), 9);
}

#[test]
fn instrument_both_orders() {
    assert_eq!(traced_outside(1, 2), 3);
    assert_eq!(traced_inside(1), 2);
    let mut mem = Mem(1);
    *mem.method(&2) += 1;
    assert_eq!(mem.0, 4);
}

#[test]
fn async_recursion_both_orders() {
    assert_eq!(sum(4), 10);
    assert_eq!(longest(&["a", "ccc", "bb"]), "ccc");
}
