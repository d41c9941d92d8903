use co_wrapper::co_wrapper;

struct Packed<T: Copy>(T);

// In a signature, what breaks its own bound is told of once. Of a parameter it is told again for the wrapper's body, at
// three places; a twin written by hand is told of it at its call alone.

#[co_wrapper]
async fn co_result() -> u8
where
    Packed<String>: Clone,
{
    1
}

#[co_wrapper]
async fn co_argument(x: Packed<String>) {
    let _ = x;
}

fn main() {}
