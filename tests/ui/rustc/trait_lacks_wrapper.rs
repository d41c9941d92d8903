use co_wrapper::co_wrapper;

trait Driver {
    async fn co_read(&self);
}

struct Disk;

impl Driver for Disk {
    #[co_wrapper]
    async fn co_read(&self) {}
}

fn main() {}
