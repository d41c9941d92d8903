//! The graph lock in a mark: which lock it is, and which marks may take it.

use crate::args::Options;
use crate::context::Context;
use crate::errors::Errors;
use proc_macro2::Ident;
use syn::Expr;

/// `bdrv_rdlock`, `bdrv_rdlock = self.graph` or `bdrv_wrlock`.
#[derive(Clone)]
pub struct Lock {
    pub key: Ident,
    /// If it is not the process's one.
    pub expr: Option<Expr>,
}

impl Lock {
    /// A mark's own, else the block's.
    pub fn of<'a>(options: &'a Options, context: &'a Context) -> Option<&'a Lock> {
        options.lock.as_ref().or(context.lock.as_ref())
    }

    pub fn is_write(&self) -> bool {
        self.key == "bdrv_wrlock"
    }
}

/// A lock was asked for that cannot be taken; what would follow from it has not to be told.
pub fn is_faulty(options: &Options) -> bool {
    options.key("bdrv_wrlock").is_some() || options.key("bdrv_rdlock").is_some() && options.lock.is_none()
}

/// The same of `#[no_co_wrapper]`.
pub fn is_faulty_no_co(options: &Options) -> bool {
    let keys = options.keys.iter().filter(|key| *key == "bdrv_rdlock" || *key == "bdrv_wrlock");
    keys.count() > usize::from(options.lock.is_some())
}

/// In `#[co_wrapper]`.
pub fn check_co(options: &Options, errors: &mut Errors) {
    if let Some(key) = options.key("bdrv_wrlock") {
        errors.error(key, "a coroutine cannot take the write lock; write `bdrv_rdlock`, or use `#[no_co_wrapper]`");
    } else {
        check_feature(options, cfg!(feature = "graph"), errors);
    }
}

/// In `#[no_co_wrapper]`.
pub fn check_no_co(options: &Options, errors: &mut Errors) {
    let key = |name| options.keys.iter().position(|key| key == name);
    if let (Some(read), Some(write)) = (key("bdrv_rdlock"), key("bdrv_wrlock")) {
        let second = &options.keys[read.max(write)];
        errors.error(second, "`bdrv_rdlock` and `bdrv_wrlock` cannot both be held; remove one");
        return;
    }
    match options.lock.as_ref().and_then(|lock| lock.expr.as_ref()) {
        Some(expr) => {
            errors.error(expr, "a bottom half of the main context takes the graph's own lock; remove the value");
        }
        None => check_feature(options, cfg!(feature = "graph"), errors),
    }
}

/// The runtime has the lock only with its feature; without it nothing that is expanded here would be found.
fn check_feature(options: &Options, graph: bool, errors: &mut Errors) {
    if let Some(lock) = options.lock.as_ref().filter(|_| !graph) {
        let key = &lock.key;
        errors.error(key, format!("`{key}` needs the graph lock; enable the feature `graph` of co-wrapper"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature() {
        for (text, faults) in [("bdrv_rdlock", 1), ("bdrv_rdlock = self.graph, mixed", 1), ("mixed", 0)] {
            let mut errors = Errors::default();
            let options = Options::parse(text.parse().unwrap(), &mut errors);
            check_feature(&options, true, &mut errors);
            assert!(errors.is_empty(), "{text}");
            check_feature(&options, false, &mut errors);
            let errors = errors.into_compile_errors().to_string();
            assert_eq!(errors.matches("enable the feature `graph`").count(), faults, "{text}: {errors}");
        }
    }
}
