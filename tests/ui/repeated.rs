use co_wrapper::co_wrapper;

#[co_wrapper]
#[co_wrapper(mixed)]
async fn co_a() {}

#[co_wrapper]
#[::co_wrapper::co_wrapper]
async fn co_b() {}

struct Disk;

#[co_wrapper]
#[co_wrapper(suffix = "_blocking")]
impl Disk {
    async fn read(&self) {}

    #[co_wrapper]
    async fn co_write(&self) {}
}

fn main() {}
