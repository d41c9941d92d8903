use co_wrapper::declare;

struct Disk;

impl Disk {
    async fn read(&self) {}
    async fn co_write(&self) {}
}

async fn bdrv_co_read() {}

declare! {
    fn bdrv_read() {}

    async fn bdrv_write();

    fn bdrv_flush() = ;

    fn bdrv_co_read() = bdrv_co_read;

    fn bdrv_trim(&self);

    const fn bdrv_size() = bdrv_co_read;

    #[co_wrapper(mixd)]
    fn misspelt() = bdrv_co_read;

    #[co_wrapper(name = other)]
    fn named() = bdrv_co_read;

    #[co_wrapper(vis = pub)]
    fn seen() = bdrv_co_read;

    #[co_wrapper(skip)]
    fn skipped() = bdrv_co_read;

    #[co_wrapper(suffix = "_now")]
    fn read_now() = bdrv_co_read;

    #[co_wrapper(mixed)]
    #[co_wrapper]
    fn twice() = bdrv_co_read;

    #[no_mangle]
    fn symbol() = bdrv_co_read;

    fn nowhere(bdrv_co_read: u8) = 5;

    fn hidden(co_hidden: u8);
}

declare! {
    impl some::Trait for Disk {
        fn read_now(&self) = read;
    }

    impl DiskNow for Disk {
        pub fn read_now(&self) = read;
        fn read(&self) = read;
        fn far(&self) = Disk::read;
        #[co_wrapper(suffix = "_now")]
        fn write(&self);
    }

    #[co_wrapper(suffix = "_now")]
    impl DiskSuffix for Disk {
        fn read(&self);
        fn _now(&self);
    }

    #[co_wrapper(timeout = within)]
    impl DiskTimeout for Disk {
        fn write(&self);
    }
}

declare! {
    struct Other;

    fn unfinished()
}

fn main() {}
