//! What a twin allows. It carries the user's spans, so that rustc and clippy judge it as the user's code; what they would
//! say of it and not of the async fn, or of both at one place, is not for the user to mend.

use super::{Call, Returned};
use crate::attrs;
use crate::signature::ungroup;
use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, ReceiverKind, ReturnType, Type, Visibility};

/// Types in a result, and what clippy has against some of their uses. It does not look into the result of an async fn.
const OF_RESULTS: &[(&[&str], &[&str])] = &[
    (&["Box"], &["borrowed_box", "box_collection", "redundant_allocation", "unnecessary_box_returns", "vec_box"]),
    (&["Rc", "Arc"], &["rc_buffer", "rc_mutex", "redundant_allocation"]),
    (&["Option"], &["option_option", "ref_option"]),
    (&["Cow"], &["owned_cow"]),
    (&["LinkedList"], &["linkedlist"]),
    (&["HashMap", "HashSet", "BTreeMap", "BTreeSet"], &["mutable_key_type"]),
];

/// So many brackets are the least in a type that is too complex for clippy.
const COMPLEX: usize = 2;

/// What is no `Result`, nor an alias of one.
const NO_RESULTS: &[&str] = &["Self", "Option", "Vec", "String", "Box", "Rc", "Arc"];

impl Call<'_> {
    /// What a blocking fn needs that its async one does not.
    pub(super) fn allows(&self) -> Vec<TokenStream> {
        let mut lints = Vec::new();
        if self.unasked {
            // Nobody asked for this one by its name, so nobody need call it.
            lints.push(quote!(dead_code));
        }
        self.of_result(&mut lints);
        if self.takes_references() {
            lints.push(quote!(clippy::trivially_copy_pass_by_ref));
        }
        self.of_lifetimes(&mut lints);
        lints
    }

    fn of_result(&self, lints: &mut Vec<TokenStream>) {
        let ReturnType::Type(_, result) = &self.sig.output else { return };
        let visible = self.in_trait || !matches!(self.vis, Visibility::Inherited);
        if visible && !attrs::has(self.subject.attrs, "must_use") {
            // A future must be used anyway, so on the async fn nobody missed the attribute.
            lints.push(quote!(clippy::must_use_candidate));
            if self.sig.receiver().is_some() {
                lints.push(quote!(clippy::return_self_not_must_use));
            }
        }
        if may_be_result(result) {
            if visible {
                lints.extend([quote!(clippy::missing_errors_doc), quote!(clippy::result_unit_err)]);
            }
            lints.push(quote!(clippy::result_large_err));
        }
        let mut words = Vec::new();
        words_of(result.to_token_stream(), &mut words);
        if words.iter().filter(|word| *word == "<" || *word == "(").count() >= COMPLEX {
            lints.push(quote!(clippy::type_complexity));
        }
        let found = OF_RESULTS.iter().filter(|(types, _)| types.iter().any(|ty| words.iter().any(|word| word == ty)));
        let mut names: Vec<&str> = found.flat_map(|(_, names)| *names).copied().collect();
        names.sort_unstable();
        names.dedup();
        lints.extend(names.into_iter().map(|name| {
            let name = proc_macro2::Ident::new(name, proc_macro2::Span::call_site());
            quote!(clippy::#name)
        }));
    }

    /// To what may be no larger than a reference. Of a trait's `Self` nobody knows.
    fn takes_references(&self) -> bool {
        self.sig.inputs.iter().any(|input| match input {
            FnArg::Receiver(receiver) => !self.in_trait && matches!(receiver.kind, ReceiverKind::Reference(_, _, None)),
            FnArg::Typed(param) => match ungroup(&param.ty) {
                Type::Reference(ty) if ty.mutability.is_none() => {
                    matches!(ungroup(&ty.elem), Type::Path(ty) if !ty.path.is_ident("str"))
                }
                _ => false,
            },
        })
    }

    /// The future may need names for lifetimes that its result does not.
    fn of_lifetimes(&self, lints: &mut Vec<TokenStream>) {
        if self.subject.declared || self.sig.generics.lifetimes().next().is_none() {
            return;
        }
        lints.push(quote!(clippy::elidable_lifetime_names));
        let named = self.sig.generics.lifetimes().count() > self.subject.sig.generics.lifetimes().count();
        let future = self.subject.returned != Returned::Async;
        if named || future {
            lints.extend([quote!(clippy::needless_lifetimes), quote!(single_use_lifetimes)]);
        }
        if future {
            lints.extend([quote!(clippy::extra_unused_lifetimes), quote!(unused_lifetimes)]);
        }
    }
}

fn may_be_result(ty: &Type) -> bool {
    let Type::Path(ty) = ungroup(ty) else { return false };
    let name = ty.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    name.starts_with(char::is_uppercase) && !NO_RESULTS.contains(&&*name)
}

/// The identifiers, and a `<` or `(` for each of those that there are.
fn words_of(tokens: TokenStream, words: &mut Vec<String>) {
    for tree in tokens {
        match tree {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == '<' => words.push("<".to_owned()),
            TokenTree::Group(group) => {
                words.push("(".to_owned());
                words_of(group.stream(), words);
            }
            _ => {}
        }
    }
}
