use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_a<T: NoSuchTrait>(x: T) {
    drop(x);
}

#[co_wrapper]
async fn co_b<T>(x: T) -> T
where
    T: Clone + Missing,
{
    x
}

#[co_wrapper]
async fn co_e(x: &'a u8) -> u8 {
    *x
}

fn main() {}
