//! What a blocking and an async twin have in common: the twin's signature, the struct of packed arguments, and the fn that
//! unpacks them and calls the other fn. `blocking` and `asynchronous` decide how the arguments get there.

use crate::expand::conversion;
use crate::model::plan::{Names, Pair, Plan};
use crate::model::signature::{self, Slot};
use crate::model::witness::{self, Place};
use crate::parse::ident::{Taken, unraw, upper_camel_case};
use crate::parse::mark::facade;
use crate::parse::tokens::located;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Lifetime, Signature};

pub struct Packing<'a> {
    pub plan: &'a Plan,
    pub names: &'a Names,
    /// The twin's own signature.
    pub sig: Signature,
    pub slots: Vec<Slot>,
    /// The place of the lock's guard among the arguments, if the fn that is called takes it.
    witness: Option<Place>,
    pub taken: Taken,
    /// The span of errors about the call.
    pub span: Span,
    pub krate: TokenStream,
    /// `BdrvReadArgs`
    args_struct: Ident,
    /// The fn that unpacks the arguments: `bdrv_co_read_entry` or `bdrv_read_bh`.
    pub unpack: Ident,
    /// Its parameter for the packed arguments.
    pub args: Ident,
    /// Its parameter for the closure that calls the other fn.
    call: Ident,
}

impl<'a> Packing<'a> {
    /// The parts of the twin that is called `wrapper`. Errors about the call point at `span`.
    pub fn new(plan: &'a Plan, names: &'a Names, wrapper: &Ident, span: Span) -> Self {
        let Plan { options, sig, .. } = plan;
        let krate = facade(options.krate.as_ref(), span);
        let lock = options.lock.as_ref().and_then(|lock| lock.expr.as_ref());
        let mut taken = Taken::default();
        for tokens in [sig as &dyn ToTokens, wrapper, &names.target.path, &krate, &options.ctx, &lock] {
            taken.all_in(tokens);
        }
        let in_trait = plan.in_trait && !options.no_co;
        let mut sig = signature::blocking(sig, wrapper, plan.declared, in_trait, &mut taken);
        let mut slots = signature::slots(&sig, &mut taken);
        if plan.converts() {
            conversion::of_arguments(&sig, &mut slots, &krate);
        }
        let witness = witness::take(&mut sig, &mut slots);
        let (unpack, call) = if options.no_co { ("bh", "__cw_call") } else { ("entry", "__cw_co") };
        Packing {
            args_struct: taken.fresh(&format!("{}Args", upper_camel_case(&unraw(wrapper)))),
            unpack: taken.fresh(&format!("{}_{unpack}", names.target.name)),
            args: taken.fresh("__cw_args"),
            call: taken.fresh(call),
            plan,
            names,
            sig,
            slots,
            witness,
            taken,
            span,
            krate,
        }
    }

    /// The struct of the packed arguments. `field` makes the type of a field from that of its argument.
    pub fn args_struct(&self, field: impl Fn(&Ident) -> TokenStream) -> TokenStream {
        let owned = if self.plan.options.no_co { ", owned" } else { "" };
        let doc = format!(" The packed arguments of [`{}`]{owned}.", unraw(&self.sig.ident));
        let (name, generics) = (&self.args_struct, self.generics());
        let fields = self.slots.iter().zip(self.types()).map(|(slot, ty)| {
            let (name, ty) = (&slot.field, field(&ty));
            quote!(#name: #ty)
        });
        quote! {
            #[doc = #doc]
            struct #name #generics {
                #(#fields,)*
            }
        }
    }

    /// The fn that unpacks the arguments and calls the other fn. `unwrapped` takes an argument out of its field.
    pub fn unpack(&self, unwrapped: Option<TokenStream>) -> TokenStream {
        let (doc, result) = if self.plan.options.coroutine.is_some() {
            (" Unpacks the arguments and calls the fn. Runs as a coroutine.", "R")
        } else if self.plan.options.no_co {
            (" Unpacks the arguments and calls the fn. Runs as a bottom half of the main context.", "R")
        } else {
            (" Unpacks the arguments and makes the future. Runs where the future is polled.", "Fut")
        };
        let result = Ident::new(result, Span::call_site());
        let Packing { unpack, args_struct, args, call, krate, .. } = self;
        let (generics, types) = (self.generics(), self.types());
        let fields = self.slots.iter().map(|slot| &slot.field);
        let fields = fields.map(|field| quote!(#args.#field #unwrapped));
        quote! {
            #[doc = #doc]
            fn #unpack<#(#types,)* #result>(
                #args: #args_struct #generics,
                #call: impl #krate::__private::FnOnce(#(#types),*) -> #result,
            ) -> #result {
                #call(#(#fields),*)
            }
        }
    }

    /// `A0`, `A1`, …: a type parameter for each argument's type, which rustc infers.
    fn types(&self) -> Vec<Ident> {
        (0..self.slots.len()).map(|n| format_ident!("A{n}", span = Span::call_site())).collect()
    }

    fn generics(&self) -> Option<TokenStream> {
        let types = self.types();
        (!types.is_empty()).then(|| quote!(<#(#types),*>))
    }

    /// `BdrvReadArgs { __self: self, off }`. `pack` makes the value of a field from its argument. If a `#[cfg]` has removed the
    /// parameter, the value is `absent`.
    pub fn packed(
        &self,
        pack: impl Fn(usize, &Slot) -> TokenStream,
        absent: impl Fn(&Slot) -> TokenStream,
    ) -> TokenStream {
        let name = located(&self.args_struct, self.span);
        let fields = self.slots.iter().enumerate().map(|(i, slot)| {
            let (field, value) = (&slot.field, pack(i, slot));
            let packed = if *field == value.to_string() { value } else { quote!(#field: #value) };
            let Some(cfg) = &slot.cfg else { return packed };
            let absent = absent(slot);
            quote!(#[cfg(#cfg)] #packed, #[cfg(not(#cfg))] #field: #absent)
        });
        quote_spanned!(self.span=> #name { #(#fields),* })
    }

    /// The lifetimes that the call must name. Those of a fn that is elsewhere are unknown, so none are named.
    pub fn told_lifetimes(&self) -> Vec<Lifetime> {
        let Plan { declared, options, sig, .. } = self.plan;
        if *declared || options.no_co { Vec::new() } else { signature::told_lifetimes(sig) }
    }

    /// The path of the fn that is called.
    pub fn path(&self) -> TokenStream {
        let target = &self.names.target;
        let path = &target.path;
        let turbofish = signature::turbofish(&self.plan.sig, &self.told_lifetimes()).filter(|_| target.turbofish);
        quote_spanned!(self.span=> #path #turbofish)
    }

    /// The arguments of the call: one for each slot, in order, and the `guard` in the place of the witness.
    pub fn arguments(&self, arguments: impl Iterator<Item = TokenStream>, guard: TokenStream) -> Vec<TokenStream> {
        let cfgs = self.slots.iter().map(|slot| &slot.cfg);
        let mut arguments: Vec<_> = cfgs.zip(arguments).map(|(cfg, argument)| under(cfg.as_ref(), argument)).collect();
        if let Some(Place { index, cfg }) = &self.witness {
            arguments.insert(*index, under(cfg.as_ref(), guard));
        }
        arguments
    }

    /// What the runtime is told about the wrapper, for panics and hang reports.
    pub fn wrapper(&self) -> TokenStream {
        let (krate, mixed) = (&self.krate, self.plan.options.mixed);
        let (mut name, mut target) = (unraw(&self.sig.ident), self.names.target.name.clone());
        if let Some(Pair { blocking, of, .. }) = &self.plan.pair {
            // They may have one name.
            (name, target) = (format!("{blocking}::{name}"), format!("{of}::{target}"));
        }
        quote_spanned!(self.span=> &#krate::__private::Wrapper { name: #name, target: #target, mixed: #mixed })
    }
}

fn under(cfg: Option<&TokenStream>, argument: TokenStream) -> TokenStream {
    let cfg = cfg.iter();
    quote!(#(#[cfg(#cfg)])* #argument)
}
