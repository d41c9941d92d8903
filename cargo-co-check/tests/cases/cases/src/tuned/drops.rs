//! Destructors that flush.

use super::calls::case;

case!(bad_drop {} {
    let _guard = Guard(1);
});
case!(bad_drop_in_vec {} {
    let _guards = vec![Some(Box::new(Guard(1)))];
});
case!(bad_drop_of_last_arc {} {
    let guard = std::sync::Arc::new(Guard(1));
    drop(guard);
});
case!(bad_drop_after_await {} {
    let _guard = Guard(1);
    yield_once().await;
});
case!(bad_drop_of_cancelled_future {
    async fn never() {
        let _guard = Guard(1);
        std::future::pending::<()>().await;
    }
} {
    let mut future = Box::pin(never());
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
});
case!(ok_forgotten {} {
    std::mem::forget(Guard(1));
});
case!(ok_returned {
    async fn make() -> Guard {
        let guard = Guard(1);
        yield_once().await;
        guard
    }
} {
    std::mem::forget(make().await);
});
case!(ok_dropped_on_thread {} {
    let guard = Guard(1);
    std::thread::spawn(move || drop(guard)).join().unwrap();
});
