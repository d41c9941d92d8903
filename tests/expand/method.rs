impl<T> BlockDev<T> {
    #[co_wrapper(mixed)]
    #[must_use]
    #[inline]
    pub(crate) async fn bdrv_co_read(&self, mut off: u64, (a, _): (u8, u8), _: u8) -> io::Result<&T> {
        off += 1;
        self.read(off, a).await
    }
}
