impl Disk {
    #[co_wrapper(ctx = self.ctx)]
    pub async fn co_read(&mut self, (off, _): (u64, u8), buf: &mut [u8]) -> io::Result<()> {
        self.0.read(off, buf).await
    }
}

#[co_wrapper(suffix = "_blocking", ctx = self.ctx)]
impl Disk {
    #[co_wrapper(ctx = none)]
    async fn open(path: &str) -> Disk {
        Disk::of(path)
    }
}
