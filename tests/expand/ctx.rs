impl Disk {
    #[co_wrapper(ctx = self.ctx)]
    pub async fn co_read(&mut self, (off, _): (u64, u8), buf: &mut [u8]) -> io::Result<()> {
        self.0.read(off, buf).await
    }
}
