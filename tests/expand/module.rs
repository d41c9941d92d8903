#[co_wrapper(suffix = "_blocking", mixed)]
mod disk {
    use std::io;

    pub async fn open(path: &str) -> io::Result<Disk> {
        Disk(path.len())
    }

    impl Disk {
        pub async fn size(&self) {}
    }

    // The twin is the trait's own.
    impl Driver for Disk {
        async fn size(&self) {}
    }
}

#[co_wrapper(suffix = "_blocking")]
async fn single() {}
