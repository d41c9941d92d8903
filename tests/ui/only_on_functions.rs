use co_wrapper::co_wrapper;

struct Disk;

#[co_wrapper(name = read)]
impl Disk {
    #[co_wrapper]
    async fn co_read(&self) {}
}

#[co_wrapper(vis = pub, suffix = "_blocking")]
impl Disk {
    async fn write(&self) {}
}

#[co_wrapper(skip)]
impl Disk {
    #[co_wrapper]
    async fn co_trim(&self) {}
}

fn main() {}
