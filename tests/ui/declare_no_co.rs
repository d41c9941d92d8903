use co_wrapper::declare;

fn bdrv_open() {}

declare! {
    #[no_co_wrapper]
    fn bdrv_co_open();

    #[no_co_wrapper]
    async fn bdrv_opened();

    #[no_co_wrapper]
    async fn bdrv_open() = bdrv_open;

    #[no_co_wrapper(mixed, name = other, skip)]
    async fn bdrv_co_a() = bdrv_open;

    #[no_co_wrapper]
    #[co_wrapper]
    async fn bdrv_co_b() = bdrv_open;

    #[no_co_wrapper(bdrv_rdlock)]
    #[no_co_wrapper]
    async fn bdrv_co_c() = bdrv_open;

    #[no_co_wrapper]
    async fn bdrv_co_d(x: &mut u8, y: Option<&u8>) -> &u8 = bdrv_open;

    #[no_co_wrapper(bdrv_rdlock)]
    async fn bdrv_co_e(graph: &GraphWrite) = bdrv_open;

    #[no_co_wrapper]
    async fn bdrv_co_f(&self) = bdrv_open;

    #[no_co_wrapper(bdrv_rdlock, bdrv_wrlock)]
    async fn bdrv_co_g() = bdrv_open;

    async fn bdrv_co_h() = bdrv_open;
}

struct Disk;

declare! {
    #[no_co_wrapper]
    impl DiskTwin for Disk {
        async fn co_open(&self);
    }

    impl DiskNow for Disk {
        #[no_co_wrapper]
        fn co_open(&self);
        #[no_co_wrapper]
        async fn opened(&self);
        #[no_co_wrapper]
        async fn close(&self) = close;
        #[no_co_wrapper(suffix = "_now")]
        async fn co_read(&self);
    }
}

declare! {
    #[co_wrapper(bdrv_rdlock)]
    impl DiskLocked for Disk {
        #[no_co_wrapper]
        async fn co_unlocked(&self, graph: &GraphRead);
    }
}

fn main() {}
