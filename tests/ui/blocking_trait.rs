use co_wrapper::co_wrapper;

#[co_wrapper(trait = BlockingNode)]
trait Node: Sized {
    type Item;

    async fn open(path: &str) -> u8;

    async fn close(self);

    async fn copied<T: From<u8>>(&self) -> u8;

    async fn given(&self, f: impl Fn() -> u8) -> u8;

    async fn each(&self) -> impl Iterator<Item = u8>;

    async fn item(&self) -> Option<Self::Item>;

    async fn is_same(&self, other: &Self) -> bool;

    #[co_wrapper(suffix = "_blocking")]
    async fn suffixed(&self);
}

struct Disk;

#[co_wrapper(trait = BlockingDisk)]
impl Disk {
    async fn size(&self) -> u8 {
        1
    }
}

trait Reader {
    async fn read(&self);
}

#[co_wrapper(trait = BlockingReader)]
impl Reader for Disk {
    async fn read(&self) {}
}

#[co_wrapper(trait = BlockingEmpty)]
trait Empty {
    fn nothing(&self);
}

#[co_wrapper(trait)]
trait Nameless {
    async fn read(&self);
}

#[co_wrapper(trait = BlockingFn)]
async fn free() {}

fn main() {}
