use co_wrapper::{Blocking, co_wrapper};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

pub struct Disk(u8);

#[derive(Blocking)]
pub struct BlockingDisk(Disk);

#[co_wrapper(type = BlockingDisk)]
impl Disk {
    pub async fn by_name() -> HashMap<u8, Disk> {
        HashMap::new()
    }

    pub async fn shared() -> std::io::Result<Rc<Self>> {
        Ok(Rc::new(Disk(0)))
    }

    pub async fn all_shared() -> Arc<Vec<Self>> {
        Arc::new(Vec::new())
    }

    pub async fn itself(&self) -> Option<&Self> {
        Some(self)
    }

    pub async fn each(&self) -> impl Iterator<Item = Self> {
        [Disk(1)].into_iter()
    }

    pub async fn of_all(all: &[Self]) -> u8 {
        all[0].0
    }

    pub async fn of_arc(self: &Arc<Self>, _off: u64) {}

    pub async fn pinned(self: Pin<&mut Self>) {}

    pub async fn given(&self, f: impl Fn(&Self) -> u8) -> u8 {
        f(self)
    }

    pub async fn made<T: Into<Self>>(from: T) -> Self {
        from.into()
    }

    #[co_wrapper(suffix = "_blocking")]
    pub async fn named(&self) {}

    #[co_wrapper(type = BlockingDisk)]
    pub async fn typed(&self) {}

    #[cfg_attr(all(), co_wrapper(mixed))]
    pub async fn perhaps(&self) {}

    #[co_wrapper(mixed)]
    #[co_wrapper(timeout)]
    pub async fn twice(&self) {}

    #[co_wrapper]
    pub fn size(&self) -> u8 {
        self.0
    }

    #[co_wrapper]
    const SIZE: u8 = 1;
}

#[co_wrapper(type = BlockingDisk)]
impl Disk {
    fn nothing(&self) {}
}

#[co_wrapper(type = BlockingDisk, suffix = "_blocking")]
impl Disk {
    async fn suffixed(&self) {}
}

#[co_wrapper(type)]
impl Disk {
    async fn without_a_type(&self) {}
}

#[co_wrapper(type = BlockingDisk)]
async fn free() {}

#[co_wrapper(type = BlockingDisk)]
trait Node {
    async fn read(&self);
}

#[co_wrapper(type = BlockingDisk)]
impl Node for Disk {
    async fn read(&self) {}
}

#[co_wrapper(type = BlockingDisk)]
mod module {}

#[derive(Blocking)]
struct Two(Disk, u8);

#[derive(Blocking)]
struct None;

#[derive(Blocking)]
enum Either {
    One(Disk),
}

#[derive(Blocking)]
struct Any<T>(T);

#[derive(Blocking)]
#[blocking(has_drp)]
struct Misspelt(Disk);

fn main() {}
