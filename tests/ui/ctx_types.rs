use co_wrapper::{AioContext, co_wrapper};
use std::cell::Cell;
use std::rc::Rc;

// One that is not `Send`: one message, at the type.
#[co_wrapper(ctx = AioContext::main())]
async fn co_a(x: u8, rc: Rc<u8>) -> u8 {
    x + *rc
}

struct Disk(Cell<u8>);

impl Disk {
    #[co_wrapper(ctx = AioContext::main())]
    async fn co_b(&self) -> u8 {
        self.0.get()
    }

    #[co_wrapper(ctx = AioContext::main())]
    async fn co_c(self: Rc<Self>) -> u8 {
        self.0.get()
    }

    #[co_wrapper(ctx = self.nothing)]
    async fn co_e(&mut self) {}
}

#[co_wrapper(ctx = AioContext::main())]
async fn co_f() -> Rc<u8> {
    Rc::new(1)
}

#[co_wrapper(ctx = AioContext::main())]
async fn co_g<T>(x: T) {
    drop(x);
}

fn main() {}
