use co_wrapper::co_wrapper;

struct Packed<T: Copy>(T);

// In a signature, what breaks its own bound is told of once. In bodies rustc asks again wherever a value of such a type
// is, at that place: in the user's, and as in any fn written by hand, at the wrapper's parameter and at its call.

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
