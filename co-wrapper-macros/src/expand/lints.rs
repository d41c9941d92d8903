//! The lints that a twin allows. A twin has the user's spans, so rustc and clippy judge it as the user's code. There
//! are two kinds of lints to allow. One would fire for the twin alone, and the user could do nothing about it. The
//! other would fire for both fns, and the user would see it twice. `tests/nothing_new.rs` finds lints that are missing
//! here.

use crate::model::plan::Plan;
use crate::model::signature::parameter_names;
use crate::parse::attrs;
use crate::parse::future::Returned;
use crate::parse::ident::unraw;
use crate::parse::tokens::{flat, is_punct, ungroup};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, Visibility};

/// Types, and the lints of clippy about results with such a type. Clippy does not look into the result of an async fn.
const OF_RESULTS: &[(&[&str], &[&str])] = &[
    (&["Box"], &["borrowed_box", "box_collection", "redundant_allocation", "unnecessary_box_returns", "vec_box"]),
    (&["Rc", "Arc"], &["rc_buffer", "rc_mutex", "redundant_allocation"]),
    (&["Option"], &["option_option", "ref_option"]),
    (&["Cow"], &["owned_cow"]),
    (&["LinkedList"], &["linkedlist"]),
    (&["HashMap", "HashSet", "BTreeMap", "BTreeSet"], &["mutable_key_type"]),
];

/// A type with fewer brackets is not too complex for clippy (`type_complexity`).
const COMPLEX: usize = 2;

/// More parameters are too many for clippy (`too_many_arguments`).
const MANY: usize = 7;

/// Types that are certainly neither a `Result` nor an alias of one.
const NO_RESULTS: &[&str] = &["Self", "Option", "Vec", "String", "Box", "Rc", "Arc"];

/// The lints that every twin of this signature allows, blocking or async.
pub fn of_twin(plan: &Plan, sig: &Signature) -> Vec<TokenStream> {
    let mut lints = Vec::new();
    if attrs::has(&plan.attrs, "deprecated") {
        // rustc warns of a call of a deprecated fn, even in a fn that is deprecated itself.
        lints.push(quote!(deprecated));
    }
    if attrs::has(&plan.attrs, "must_use") {
        // On an async fn the attribute adds something to the `must_use` of futures; the twin's result may have its own.
        lints.push(quote!(clippy::double_must_use));
    }
    if sig.inputs.len() > MANY {
        lints.push(quote!(clippy::too_many_arguments));
    }
    if parameter_names(sig).any(|ident| unraw(ident).starts_with('_') && !unraw(ident).starts_with("__")) {
        lints.push(quote!(clippy::used_underscore_binding));
    }
    if matches!(sig.output, ReturnType::Type(..)) {
        // With a `return` in the body it would be `needless_return`.
        lints.push(quote!(clippy::implicit_return));
    }
    if plan.long {
        lints.push(quote!(clippy::too_many_lines));
    }
    if matches!(plan.vis, Visibility::Public(_)) && !plan.declared {
        lints.push(quote!(unreachable_pub));
    }
    lints
}

/// The lints that a blocking twin of this signature allows as well. `unasked` says that a block's `suffix` or `prefix` has
/// given it its name, not its own mark.
pub fn of_blocking(plan: &Plan, sig: &Signature, unasked: bool) -> Vec<TokenStream> {
    let mut lints = Vec::new();
    if unasked {
        // The user did not ask for this fn by name, so it may stay unused.
        lints.push(quote!(dead_code));
    }
    of_result(plan, sig, &mut lints);
    if takes_references(sig, plan.in_trait) {
        lints.push(quote!(clippy::trivially_copy_pass_by_ref));
    }
    of_lifetimes(plan, sig, &mut lints);
    lints
}

fn of_result(plan: &Plan, sig: &Signature, lints: &mut Vec<TokenStream>) {
    let ReturnType::Type(_, result) = &sig.output else { return };
    let visible = plan.in_trait || !matches!(plan.vis, Visibility::Inherited);
    if visible && !attrs::has(&plan.attrs, "must_use") {
        // An async fn needs no `must_use`, because a future has one.
        lints.push(quote!(clippy::must_use_candidate));
        if sig.receiver().is_some() {
            lints.push(quote!(clippy::return_self_not_must_use));
        }
    }
    if may_be_result(result) {
        if visible {
            lints.extend([quote!(clippy::missing_errors_doc), quote!(clippy::result_unit_err)]);
        }
        lints.push(quote!(clippy::result_large_err));
    }
    let words = flat(result);
    let brackets = words.iter().filter(|tree| is_punct(tree, '<') || matches!(tree, TokenTree::Group(_)));
    if brackets.count() >= COMPLEX {
        lints.push(quote!(clippy::type_complexity));
    }
    let is_named = |ty: &&str| words.iter().any(|tree| matches!(tree, TokenTree::Ident(ident) if ident == ty));
    let found = OF_RESULTS.iter().filter(|(types, _)| types.iter().any(is_named));
    let mut names: Vec<&str> = found.flat_map(|(_, names)| *names).copied().collect();
    names.sort_unstable();
    names.dedup();
    lints.extend(names.into_iter().map(|name| {
        let name = Ident::new(name, Span::call_site());
        quote!(clippy::#name)
    }));
}

/// Whether a parameter refers to something that may be no larger than a reference. Clippy does not judge the `Self` of a
/// trait.
fn takes_references(sig: &Signature, in_trait: bool) -> bool {
    sig.inputs.iter().any(|input| match input {
        FnArg::Receiver(receiver) => !in_trait && matches!(receiver.kind, ReceiverKind::Reference(_, _, None)),
        FnArg::Typed(param) => match ungroup(&param.ty) {
            Type::Reference(ty) if ty.mutability.is_none() => {
                matches!(ungroup(&ty.elem), Type::Path(ty) if !ty.path.is_ident("str"))
            }
            _ => false,
        },
    })
}

/// The lints about names of lifetimes that a future needs and its result does not.
fn of_lifetimes(plan: &Plan, sig: &Signature, lints: &mut Vec<TokenStream>) {
    if plan.declared || sig.generics.lifetimes().next().is_none() {
        return;
    }
    lints.push(quote!(clippy::elidable_lifetime_names));
    let named = sig.generics.lifetimes().count() > plan.sig.generics.lifetimes().count();
    let future = plan.returned != Returned::Async;
    if named || future {
        lints.extend([quote!(clippy::needless_lifetimes), quote!(single_use_lifetimes)]);
    }
    if future {
        lints.extend([quote!(clippy::extra_unused_lifetimes), quote!(unused_lifetimes)]);
    }
}

fn may_be_result(ty: &Type) -> bool {
    let Type::Path(ty) = ungroup(ty) else { return false };
    let name = ty.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    name.starts_with(char::is_uppercase) && !NO_RESULTS.contains(&&*name)
}
