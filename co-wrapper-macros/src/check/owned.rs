//! The arguments and result of a blocking fn with an async twin. The call may outlive its caller's frame, so each must
//! be owned, or be cloned from behind one reference.

use crate::model::signature::never;
use crate::model::witness::is_witness;
use crate::parse::errors::Errors;
use crate::parse::tokens::{borrows, ungroup};
use proc_macro2::Span;
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, TypeReference};

const BY_MUT: &str = "`&mut` does not outlive a call that is dropped; take it by value and return it";

/// Everything that outlives the call's frame must be owned. Returns whether the result is.
pub fn check(sig: &Signature, errors: &mut Errors) -> bool {
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => match &receiver.kind {
                ReceiverKind::Typed(_, ty) => match ungroup(ty) {
                    Type::Reference(TypeReference { mutability: None, elem, .. }) => refuse_borrows(elem, errors),
                    ty => refuse_borrows(ty, errors),
                },
                ReceiverKind::Reference(_, _, Some(_)) => errors.error(receiver, BY_MUT),
                _ => {}
            },
            // The wrapper supplies it.
            FnArg::Typed(param) if is_witness(&param.ty) => {}
            FnArg::Typed(param) => match ungroup(&param.ty) {
                Type::Reference(TypeReference { mutability: Some(_), .. }) => errors.error(&param.ty, BY_MUT),
                // What the reference points to is cloned; what that borrows in turn is not.
                Type::Reference(ty) => refuse_borrows(&ty.elem, errors),
                ty => refuse_borrows(ty, errors),
            },
        }
    }
    if let Some(never) = never(sig) {
        errors.error(never, "a fn that returns `!` leaves nothing to await; call it from a bottom half");
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Some(span) = borrow(ty)
    {
        let message = "the result must not borrow, for the arguments are gone by then; return it owned";
        errors.push(syn::Error::new(span, message));
        // Not a witness either: that has been reported.
        return false;
    }
    true
}

fn refuse_borrows(ty: &Type, errors: &mut Errors) {
    if let Some(span) = borrow(ty) {
        let message = "this borrow does not outlive a call that is dropped; take it owned";
        errors.push(syn::Error::new(span, message));
    }
}

/// The first `&` or lifetime in a type, `'static` apart.
fn borrow(ty: &Type) -> Option<Span> {
    borrows(ty).into_iter().find(|borrow| !borrow.is("static")).map(|borrow| borrow.span)
}
