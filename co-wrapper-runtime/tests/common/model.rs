//! How a loom model is run.

/// At most three forced switches from thread to thread, or `CO_WRAPPER_PREEMPTIONS`: without a bound some models take
/// hours.
pub fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let preemptions = std::env::var("CO_WRAPPER_PREEMPTIONS").map(|bound| bound.parse().expect("a number"));
    builder.preemption_bound = Some(preemptions.unwrap_or(3));
    builder.check(check);
}
