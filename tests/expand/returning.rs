#[co_wrapper(suffix = "_blocking")]
impl Disk {
    pub fn read<'a>(&'a self, off: u64) -> BoxFuture<'a, io::Result<&'a [u8]>> {
        self.0.read(off).boxed()
    }

    #[co_wrapper(output = io::Result<u64>)]
    fn size(&self) -> SizeBuilder<'_> {
        SizeBuilder(self)
    }

    // Like `#[async_trait]` leaves it.
    fn flush<'life0, 'life1, 'async_trait>(
        &'life0 self,
        how: &'life1 (impl 'async_trait + Flush),
    ) -> ::core::pin::Pin<Box<dyn ::core::future::Future<Output = ()> + ::core::marker::Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: ::core::marker::Sync + 'async_trait,
    {
        Box::pin(async move { how.flush(&self.0).await })
    }
}
