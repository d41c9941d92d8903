impl Disk {
    /// Reads.
    #[co_wrapper(interrupt, timeout)]
    pub async fn co_read(&self, off: u64) -> io::Result<u8> {
        self.0.read(off).await
    }
}

#[co_wrapper(ctx = pool.ctx(), interrupt = drained_or_not, name = drained)]
async unsafe fn drain(pool: &Pool) {
    pool.drain().await
}
