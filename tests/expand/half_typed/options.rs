#[co_wrapper(mixed, nam)]
async fn bdrv_co_read(off: u64) -> u8 {
    1
}

impl Disk {
    #[co_wrapper(ctx = self.)]
    async fn co_read(&self) -> u8 {
        self.
    }
}
