use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_read(co_read: u8) -> u8 {
    co_read
}

#[co_wrapper]
async fn co_size<const co_size: usize>() -> usize {
    co_size
}

struct Disk;

impl Disk {
    // A method is called through `Self`, which no parameter hides.
    #[co_wrapper]
    async fn co_read(&self, co_read: u8) -> u8 {
        co_read
    }
}

fn main() {}
