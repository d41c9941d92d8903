//! The expansion of one function, in the order in which it is read: the wrapper; in its body the struct of packed
//! arguments, the entry that unpacks them, and the call of the runtime. One file each.
//!
//! ```text
//! // Input
//! #[co_wrapper]
//! async fn bdrv_co_read(&self, off: u64) -> Result { … }
//!
//! // Output
//! async fn bdrv_co_read(&self, off: u64) -> Result { … }
//! #[track_caller]
//! fn bdrv_read(&self, off: u64) -> Result {
//!     struct BdrvReadArgs<A0, A1> { __self: A0, off: A1 }
//!     fn bdrv_co_read_entry<…>(…) -> Fut { … }
//!     ::co_wrapper::__private::poll_co(…)
//! }
//! ```
//!
//! Arguments travel, futures don't: the struct may cross to another thread, and the entry makes the future there. The
//! struct is generic over the inferred type of each argument, so that no type of the user's is ever spelled a second
//! time.

mod args_struct;
mod call;
mod entry;
mod wrapper;

use crate::args::{Context, Options};
use crate::attribute::krate;
use crate::item::Function;
use crate::name::{Taken, unraw, upper_camel_case};
use crate::signature::{self, Slot};
use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::{Signature, Visibility};

/// What the async fn is called through.
pub enum Within {
    /// `Self` or `<Self as Trait>`.
    Block(TokenStream),
    Module,
}

/// All that the expansion of one function is made of.
pub struct Call<'a> {
    function: &'a Function,
    /// The wrapper's own signature.
    sig: Signature,
    vis: &'a Visibility,
    /// The wrapper may be seen where the async fn may not.
    own_vis: bool,
    within: Within,
    in_trait: bool,
    slots: Vec<Slot>,
    mixed: bool,
    krate: TokenStream,
    /// `BdrvReadArgs`
    args_struct: Ident,
    /// `bdrv_co_read_entry`
    entry: Ident,
    /// The packed arguments, in the hands of the entry.
    args: Ident,
    /// The async fn, in the hands of the entry.
    co: Ident,
}

impl<'a> Call<'a> {
    pub fn new(
        function: &'a Function,
        wrapper: Ident,
        within: Within,
        options: &'a Options,
        context: &Context,
    ) -> Self {
        let mut taken = Taken::default();
        taken.all_in(function.sig.to_token_stream());
        taken.one(&wrapper);
        if let Within::Block(path) = &within {
            taken.all_in(path.clone());
        }
        let krate = krate(options.krate.as_ref().or(context.krate.as_ref()));
        taken.all_in(krate.clone());

        let sig = signature::blocking(&function.sig, &wrapper, context.in_trait, &mut taken);
        let slots = signature::slots(&sig, &mut taken);
        let camel = upper_camel_case(&unraw(&wrapper));
        let target = unraw(&function.sig.ident);
        Call {
            vis: options.vis.as_ref().unwrap_or(&function.vis),
            own_vis: options.vis.is_some(),
            mixed: options.mixed || context.mixed,
            args_struct: taken.fresh(&format!("{camel}Args")),
            entry: taken.fresh(&format!("{target}_entry")),
            args: taken.fresh("__cw_args"),
            co: taken.fresh("__cw_co"),
            function,
            sig,
            within,
            in_trait: context.in_trait,
            slots,
            krate,
        }
    }
}

impl ToTokens for Call<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.wrapper());
    }
}
