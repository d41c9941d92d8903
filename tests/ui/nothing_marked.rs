use co_wrapper::co_wrapper;

struct Disk;

#[co_wrapper]
impl Disk {
    async fn co_read(&self) {}
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    fn plain(&self) {}
}

#[co_wrapper]
trait Driver {
    async fn co_read(&self);
}

fn main() {}
