use co_wrapper::co_wrapper;

struct Disk;

impl Disk {
    // Nothing in this signature tells that it is a method; `#[co_wrapper]` on the `impl` would.
    #[co_wrapper]
    async fn co_open(path: &str) -> usize {
        path.len()
    }
}

fn main() {}
