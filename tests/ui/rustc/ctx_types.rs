use co_wrapper::{AioContext, co_wrapper};
use std::rc::Rc;

/// Neither `Send` nor `Sync`.
struct Local(*const u8);

// One that is not `Send`: one message, at the type.
#[co_wrapper(ctx = AioContext::main())]
async fn co_a(x: u8, local: Local) -> bool {
    x == 1 && local.0.is_null()
}

struct Disk(Local);

impl Disk {
    #[co_wrapper(ctx = AioContext::main())]
    async fn co_b(&self) -> bool {
        self.0.0.is_null()
    }

    // A receiver's type can be of std's only.
    #[co_wrapper(ctx = AioContext::main())]
    async fn co_c(self: Rc<Self>) -> bool {
        self.0.0.is_null()
    }
}

struct Sent(u8);

impl Sent {
    #[co_wrapper(ctx = self.nothing)]
    async fn co_e(&mut self) {}
}

#[co_wrapper(ctx = AioContext::main())]
async fn co_f() -> Local {
    Local(&1)
}

#[co_wrapper(ctx = AioContext::main())]
async fn co_g<T>(x: T) {
    drop(x);
}

fn main() {}
