use co_wrapper::{AioContext, co_wrapper, declare};

struct Disk {
    ctx: AioContext,
}

#[co_wrapper(suffix = "_blocking", ctx = self.ctx)]
impl Disk {
    async fn open() -> Disk {
        Disk { ctx: AioContext::main() }
    }

    #[co_wrapper(ctx = none)]
    async fn create() -> Disk {
        Disk { ctx: AioContext::main() }
    }

    async fn read(&self) {}
}

// No block has one.
#[co_wrapper(ctx = none)]
async fn co_read() {}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    #[co_wrapper(ctx = none)]
    async fn write(&self) {}
}

#[co_wrapper(suffix = "_now", ctx = none)]
impl Disk {
    async fn trim(&self) {}
}

declare! {
    #[co_wrapper(ctx = none)]
    fn read() = co_read;
}

fn main() {}
