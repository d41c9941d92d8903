use co_wrapper::co_wrapper;

#[co_wrapper(skip)]
async fn co_c() {}

struct Disk;

#[co_wrapper]
impl Disk {
    #[co_wrapper(skip)]
    async fn co_d(&self) {}
}

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    #[co_wrapper(skip, mixed)]
    async fn co_e(&self) {}
}

fn main() {}
