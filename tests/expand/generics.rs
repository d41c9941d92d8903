#[co_wrapper(name = fill)]
async unsafe fn fill_async<'a, T: ?Sized + Fill<'a>, U, const N: usize>(
    with: &'a T,
    more: impl Iterator<Item = [U; N]>,
) -> U
where
    U: Default,
{
    with.fill(more).await
}
