//! Names that begin with `__cw_` are ours: a variable of ours cannot be called like a constant that is in scope.

use co_wrapper::co_wrapper;

#[allow(non_upper_case_globals)]
const __cw_args: u8 = 0;

#[co_wrapper]
async fn co_none() {}

fn main() {}
