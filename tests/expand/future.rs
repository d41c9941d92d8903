impl Pool {
    #[co_wrapper]
    fn co_one(&self) -> impl Future<Output = u8> + '_ {
        async { 1 }
    }

    #[co_wrapper]
    fn co_two<'a>(self: Pin<&'a mut Self>) -> Pin<Box<dyn Future<Output = &'a u8> + Send + 'a>> {
        Box::pin(async { &self.0 })
    }
}
