use co_wrapper::declare;

struct Disk;

impl Disk {
    async fn read(&self, off: u64) -> u64 {
        off
    }

    fn plain(&self) -> u8 {
        1
    }
}

async fn bdrv_co_size() -> u64 {
    1
}

declare! {
    fn bdrv_read(off: u64);

    fn bdrv_write() = no::such::function;

    // Another result than the async fn's.
    fn bdrv_size() -> u8;

    impl DiskNow for Disk {
        fn write(&self);

        // Another argument than the async fn's.
        fn read_now(&self, off: u8) -> u64 = read;

        // Not async.
        fn plain_now(&self) -> u8 = plain;
    }
}

fn main() {}
