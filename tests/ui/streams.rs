use co_wrapper::{Blocking, co_wrapper};
use futures::stream::{BoxStream, Stream};
use std::collections::HashMap;

#[co_wrapper]
async fn co_by_name() -> HashMap<u8, BoxStream<'static, u8>> {
    HashMap::new()
}

#[co_wrapper]
fn co_each() -> [BoxStream<'static, u8>; 0] {
    []
}

#[co_wrapper]
async fn co_object() -> Option<Box<dyn Stream<Item = u8>>> {
    None
}

#[co_wrapper]
fn co_any<S: Stream<Item = u8>>(stream: S) -> S {
    stream
}

#[co_wrapper(bdrv_rdlock)]
fn co_locked() -> BoxStream<'static, u8> {
    Box::pin(futures::stream::empty())
}

struct Disk;

#[derive(Blocking)]
struct BlockingDisk(Disk);

#[co_wrapper(type = BlockingDisk)]
impl Disk {
    fn snapshots(&self) -> BoxStream<'static, Self> {
        Box::pin(futures::stream::empty())
    }
}

fn main() {}
