#[co_wrapper]
async fn co_append<T>(to: &mut Vec<T>, all: impl Iterator<Item = &T>, by: impl Fn(&T) -> bool) -> usize {
    to.append_all(all, by).await
}
