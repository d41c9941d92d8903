use co_wrapper::co_wrapper;

mod reexport {
    pub use co_wrapper::*;
    pub use co_wrapper::__private;
}

trait Driver {
    async fn co_read(&self);
}

struct Marked;

#[co_wrapper(crate = crate::reexport)]
impl Driver for Marked {
    #[co_wrapper]
    async fn co_read(&self) {}
}

struct Suffixed;

#[co_wrapper(suffix = "_blocking", crate = crate::reexport)]
impl Driver for Suffixed {
    async fn co_read(&self) {}
}

struct OneFn;

impl Driver for OneFn {
    #[co_wrapper(crate = crate::reexport)]
    async fn co_read(&self) {}
}

struct Named;

impl Driver for Named {
    #[co_wrapper(name = now)]
    async fn co_read(&self) {}
}

fn main() {}
