use co_wrapper::{Blocking, co_wrapper};
use std::sync::Arc;

pub struct Disk(u8);

pub struct NotDerived;

#[co_wrapper(type = NotDerived)]
impl Disk {
    pub async fn size(&self) -> u8 {
        self.0
    }
}

pub struct Log;

#[derive(Blocking)]
#[blocking(has_drop)]
pub struct BlockingLog(Log);

#[co_wrapper(type = BlockingLog)]
impl Log {
    pub async fn closed(self) {}

    pub async fn opened() -> Self {
        Log
    }

    pub async fn shared() -> Arc<Self> {
        Arc::new(Log)
    }
}

#[derive(Blocking)]
pub struct Dropped(Disk);

impl Drop for Dropped {
    fn drop(&mut self) {}
}

fn main() {}
