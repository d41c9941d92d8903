//! `#[co_wrapper]`, from its tokens to its expansion: parse, check, expand. On an error the item itself comes first and
//! whole, so that nothing else breaks for the want of it.

use crate::args::Options;
use crate::context::Context;
use crate::docs::Link;
use crate::errors::Errors;
use crate::expand::{self, Returned, Subject, Target, timeout};
use crate::item::{Block, ELSEWHERE, Function, Item};
use crate::lock::{self, Lock};
use crate::mark::Names;
use crate::name::{unraw, with_affixes, without_co};
use crate::{attrs, future, outer, signature, witness};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, Signature};

/// `import` is the name that this attribute was written with, where that can be known.
pub fn co_wrapper(args: TokenStream, input: TokenStream, import: Option<String>) -> TokenStream {
    let names = Names::new(import);
    let mut errors = Errors::default();
    let options = Options::parse(args, &mut errors);
    let output = match Item::parse(input.clone()) {
        Ok(Item::Fn(function)) => of_function(options, *function, &names, &mut errors),
        Ok(Item::Block(block)) => of_block(options, block, &names, &mut errors),
        Ok(Item::Other(keyword, what)) => {
            errors.error(keyword, format!("{what} cannot have a wrapper; {ELSEWHERE}"));
            input
        }
        Err(error) => {
            errors.push(error);
            input
        }
    };
    let errors = errors.into_compile_errors();
    quote!(#output #errors)
}

fn of_block(options: Options, mut block: Block, names: &Names, errors: &mut Errors) -> TokenStream {
    lock::check_co(&options, errors);
    refuse_repeated(&mut block.attrs, names, errors);
    outer::check(&options, &block, errors);
    check_no_ctx(&options, &Context::default(), errors);
    if errors.is_empty() { outer::rewrite(options, &block, names, errors) } else { outer::without_marks(&block, names) }
}

fn of_function(options: Options, mut function: Function, names: &Names, errors: &mut Errors) -> TokenStream {
    refuse_repeated(&mut function.attrs, names, errors);
    let context = options.context.clone().unwrap_or_default();
    check_options(&options, &context, errors);
    attrs::check(&function.attrs, errors);
    signature::check(&function.sig, errors);
    check_output(&options, &function.sig, errors);
    check_self(&function.sig, &options, &context, errors);
    let as_async = future::as_async(&function.sig, options.output.as_ref());
    let is_async = as_async.is_some();
    let (sig, returned) = as_async.unwrap_or_else(|| (function.sig.clone(), Returned::Async));
    if !is_async && options.key("output").is_some() && options.output.is_none() {
        // What is wrong is the option, and it has been reported.
    } else if !is_async {
        let message = format!(
            "`{}` is not async; make it an `async fn`, or let it return `impl Future<Output = …>` or `Pin<Box<dyn Future<Output = …>>>`",
            unraw(&function.sig.ident)
        );
        errors.error(function.sig.fn_token, message);
    } else if !lock::is_faulty(&options) {
        witness::check(&sig, Lock::of(&options, &context), errors);
    }

    let mut within = Some(context.within.clone()).filter(|within| !within.is_empty());
    if within.is_none() && signature::mentions_self(&function.sig) {
        within = Some(quote!(Self));
    }
    if within.is_none() {
        signature::check_hiding(&function.sig, errors);
    }
    // A fn that was marked by mistake need not be told how its wrapper would be called.
    let wrapper = if is_async { wrapper_name(&options, &context, &function, errors) } else { None };
    let target = target(&function, within, &options);
    let attrs = &function.attrs;
    let subject = wrapper.map(|wrapper| Subject {
        attrs,
        vis: &function.vis,
        sig: &sig,
        declared: false,
        returned,
        long: function.is_long(),
        body_span: function.body_span,
        wrapper,
        target,
    });
    if let Some(subject) = &subject {
        timeout::check(subject, &options, &context, errors);
    }

    let rest = function.rest_for_rustc(errors);
    let wrappers = subject.iter().filter(|_| errors.is_empty());
    let wrappers = wrappers.flat_map(|subject| expand::calls(subject, &options, &context));
    quote! {
        #(#attrs)*
        #rest
        #(#wrappers)*
    }
}

/// `within` is `Self` or `<Self as Trait>`, if the fn is of either.
pub fn target(function: &Function, within: Option<TokenStream>, options: &Options) -> Target {
    let ident = &function.sig.ident;
    let name = unraw(ident);
    let free = within.is_none();
    let link = if options.vis.is_some() {
        Link::None
    } else {
        Link::To(if free { format!("fn@{name}") } else { format!("Self::{name}") })
    };
    let path = within.map_or_else(|| quote!(#ident), |within| quote!(#within::#ident));
    Target { path, turbofish: true, free, name, link }
}

/// The second attribute would have its own idea of everything, so it goes.
fn refuse_repeated(attrs: &mut Vec<Attribute>, names: &Names, errors: &mut Errors) {
    attrs.retain(|attr| {
        let mark = names.is_mark(attr);
        if mark {
            let message = "a second `#[co_wrapper]`; write its options into the first";
            errors.error(attr.path(), message);
        }
        !mark
    });
}

/// Only where the signature leaves it open is there something to say.
fn check_output(options: &Options, sig: &Signature, errors: &mut Errors) {
    if let Some(key) = options.key("output").filter(|_| sig.asyncness.is_some()) {
        errors.error(key, "the result of an `async fn` is known; remove `output`");
    }
}

pub fn check_no_ctx(options: &Options, context: &Context, errors: &mut Errors) {
    if let Some(key) = options.key("ctx").filter(|_| options.no_ctx && context.ctx.is_none()) {
        errors.error(key, "`ctx = none` is for a fn of a block that has a `ctx`; remove it");
    }
}

/// What a block says of all its fns, one without `self` cannot follow.
fn check_self(sig: &Signature, options: &Options, context: &Context, errors: &mut Errors) {
    let ctx = context.ctx.as_ref().filter(|_| options.key("ctx").is_none() && sig.receiver().is_none());
    if ctx.is_some_and(|ctx| signature::mentions(ctx.to_token_stream(), "self")) {
        let message = "the `ctx` of the block is of `self`, which this fn has not; give it its own, or `ctx = none`";
        errors.error(&sig.ident, message);
    }
}

fn check_options(options: &Options, context: &Context, errors: &mut Errors) {
    lock::check_co(options, errors);
    check_no_ctx(options, context, errors);
    for key in ["suffix", "prefix"] {
        if let Some(key) = options.key(key).filter(|_| options.key("name").is_some()) {
            errors.error(key, format!("`name` is the whole of the name; remove it or `{key}`"));
        }
    }
    let Some(key) = options.key("skip") else {
        return;
    };
    if context.affixes.is_empty() {
        let message =
            "only an `impl` or `trait` with a `suffix` or `prefix` has something to skip; remove the attribute";
        errors.error(key, message);
    } else if options.keys.len() > 1 {
        errors.error(key, "`skip` leaves nothing for other options to do; remove it or them");
    }
}

fn wrapper_name(options: &Options, context: &Context, function: &Function, errors: &mut Errors) -> Option<Ident> {
    let target = &function.sig.ident;
    // One that is wrong has been reported, and nothing follows from it.
    let faulty = |key, value: bool| options.key(key).is_some() && !value;
    if options.skip
        || faulty("name", options.name.is_some())
        || faulty("suffix", options.affixes.suffix.is_some())
        || faulty("prefix", options.affixes.prefix.is_some())
    {
        return None;
    }
    if let Some(name) = &options.name {
        if unraw(name) == unraw(target) {
            errors.error(name, format!("`{name}` is the async fn itself; give the wrapper another name"));
            return None;
        }
        return Some(name.clone());
    }
    let affixes = if options.affixes.is_empty() { &context.affixes } else { &options.affixes };
    let name = if affixes.is_empty() { without_co(target) } else { with_affixes(target, affixes) };
    match name {
        Ok(name) => Some(name),
        Err(message) => {
            errors.error(target, message);
            None
        }
    }
}

/// Few enough tokens for a hundred lines, which clippy lets pass by default.
const SHORT: usize = 100;

impl Function {
    /// Its body is counted, not read.
    pub fn is_long(&self) -> bool {
        fn count(tokens: TokenStream) -> usize {
            let counts = tokens.into_iter().map(|tree| match tree {
                TokenTree::Group(group) => 1 + count(group.stream()),
                _ => 1,
            });
            counts.sum()
        }
        self.rest.clone().into_iter().last().is_some_and(|body| count(body.into()) > SHORT)
    }

    /// What is re-emitted. A fault of which rustc would tell too is taken out of a refused fn: one mistake, one
    /// message.
    fn rest_for_rustc(&self, errors: &Errors) -> TokenStream {
        let is_async = self.sig.asyncness.is_some();
        let faulty = is_async && (self.sig.constness.is_some() || self.sig.variadic.is_some());
        if errors.is_empty() || !faulty {
            return self.rest.clone();
        }
        let mut sig = self.sig.clone();
        sig.constness = None;
        sig.variadic = None;
        let (vis, body) = (&self.vis, self.rest.clone().into_iter().last());
        quote!(#vis #sig #body)
    }
}
