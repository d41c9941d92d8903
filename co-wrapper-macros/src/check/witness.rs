//! Checks witnesses (`model/witness.rs`). A witness must be that of the lock that the mark takes, and the result must not
//! borrow from it, because the wrapper releases the lock before it returns.

use crate::model::witness::{Witness, witnesses};
use crate::parse::errors::Errors;
use crate::parse::options::Options;
use crate::parse::tokens::{Borrow, borrows};
use proc_macro2::Span;
use syn::{ReturnType, Signature};

/// Checks the witnesses of a signature with a mark of these options.
pub fn check(sig: &Signature, options: &Options, errors: &mut Errors) {
    let mut witnesses = witnesses(sig);
    let Some(witness) = witnesses.next() else { return };
    for second in witnesses {
        errors.error(second.ty, "a second witness of one lock; remove it");
    }
    let Some(lock) = &options.lock else {
        if options.coroutine.is_some() {
            let take = if witness.write { "graph::write()" } else { "block_on(graph::read())" };
            let message = "a coroutine takes the lock where it needs it; remove this parameter and call";
            errors.error(witness.ty, format!("{message} `{take}` in the body"));
            return;
        }
        let mark = if witness.write { "`#[no_co_wrapper(bdrv_wrlock)]`" } else { "`bdrv_rdlock`" };
        errors.error(witness.ty, format!("a witness of a lock that the mark does not take; write {mark}"));
        return;
    };
    match (lock.is_write(), witness.write) {
        (false, true) => errors.error(witness.ty, "the mark takes the read lock; take `&GraphRead` instead"),
        (true, false) => errors.error(witness.ty, "the mark takes the write lock; take `&GraphWrite` instead"),
        _ => {}
    }
    if let Some(span) = borrowed_result(sig, &witness) {
        let message = "the result borrows the lock, which the wrapper releases before it returns; return it owned";
        errors.push(syn::Error::new(span, message));
    }
}

/// The span in the result at which it borrows the witness, by the name of the lifetime or by elision.
fn borrowed_result(sig: &Signature, witness: &Witness) -> Option<Span> {
    let ReturnType::Type(_, result) = &sig.output else { return None };
    let found = |is: &dyn Fn(&Borrow) -> bool| borrows(result).into_iter().find(is).map(|borrow| borrow.span);
    match witness.lifetime {
        Some(lifetime) if lifetime.ident == "static" => None,
        Some(lifetime) if lifetime.ident != "_" => {
            let name = lifetime.ident.to_string();
            found(&|borrow| !borrow.is_reference && borrow.is(&name))
        }
        _ => {
            // An elided lifetime in the result is that of `self`, or else that of the only parameter that borrows.
            let mut others = sig.inputs.iter().enumerate().filter(|(i, _)| *i != witness.index);
            let alone = others.all(|(_, input)| borrows(input).is_empty());
            if alone { found(&Borrow::is_elided) } else { None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_borrow_it() {
        for (text, borrows) in [
            ("async fn f(g: &GraphRead) -> &u8", true),
            ("async fn f(g: &GraphRead) -> Iter<'_, u8>", true),
            ("async fn f(x: &u8, g: &'_ GraphRead)", false),
            ("async fn f<'a>(x: &u8, g: &'a GraphRead) -> Option<&'a u8>", true),
            ("async fn f(&self, g: &GraphRead) -> &u8", false),
            ("async fn f(g: &GraphRead) -> &'static u8", false),
            ("async fn f<'a>(x: &'a u8, g: &GraphRead) -> &'a u8", false),
        ] {
            let sig: Signature = syn::parse_str(text).unwrap();
            let witness = witnesses(&sig).next().unwrap();
            assert_eq!(borrowed_result(&sig, &witness).is_some(), borrows, "{text}");
        }
    }
}
