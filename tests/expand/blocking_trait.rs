/// A node of the graph.
#[co_wrapper(trait = BlockingNode: Send)]
pub trait Node<S>: Send
where
    S: Storage,
{
    /// Reads.
    async fn read(&self, storage: &S, off: u64) -> io::Result<Vec<u8>>;

    #[co_wrapper(skip)]
    async fn open(name: &str) -> Self;
}
