//! The plan of a wrapper, in which everything is resolved: the options of its mark merged with the block's, the fn that it
//! calls, and the path of the call. `check` refuses a plan, or `expand` writes it. Neither needs to know whether an
//! attribute or `declare!` has made it.
//!
//! In this crate, the *wrapper* is the fn that the macro generates, and the *target* is the fn that it calls. Each is the
//! other's *twin*. Under `#[no_co_wrapper]` it is the wrapper that is async.

use crate::model::blocking_type::{moved, moved_expr};
use crate::model::name;
use crate::model::signature;
use crate::parse::future::{Returned, as_async};
use crate::parse::ident::{is_reserved, unraw};
use crate::parse::item::Function;
use crate::parse::mark::facade;
use crate::parse::options::{BlockContext, Options, SecondTwin};
use crate::parse::pieces::Declaration;
use crate::parse::tokens::ungroup;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Path, Signature, Type, Visibility};

pub struct Plan {
    pub options: Options,
    /// The attributes of the fn that the wrapper calls. If only the wrapper is declared, they are those of the declaration.
    pub attrs: Vec<Attribute>,
    /// The wrapper's visibility.
    pub vis: Visibility,
    /// The signature of the fn that has `attrs`. If that returns a future, this is the signature of the `async fn` that it
    /// stands for.
    pub sig: Signature,
    pub returned: Returned,
    /// Whether `declare!` has made the plan. Then the fn that the wrapper calls is elsewhere.
    pub declared: bool,
    /// Whether the wrapper is a free function.
    pub free: bool,
    pub in_trait: bool,
    pub in_trait_impl: bool,
    /// If the wrapper is a method of another type or trait.
    pub pair: Option<Pair>,
    /// Whether the body of the fn that the wrapper calls is so long that clippy may have counted its lines.
    pub long: bool,
    /// The span of errors about the wrapper's whole body.
    pub body_span: Span,
    /// The names that follow from the mark, or what is wrong with them. The error is `None` if it has been reported or if
    /// the mark says `skip`. Without names no wrapper is written.
    pub names: Result<Names, Option<Error>>,
}

/// A blocking type or trait and its async one, as messages call them.
pub struct Pair {
    pub blocking: String,
    pub of: String,
    /// Whether it is a type. Then `Self` is another one in the wrapper, and is converted.
    pub converts: bool,
}

pub struct Names {
    pub wrapper: Ident,
    /// The name of the wrapper with a timeout, if the mark asks for one.
    pub timeout: Option<Ident>,
    /// The name of the interruptible wrapper, if the mark asks for one.
    pub interrupt: Option<Ident>,
    pub target: Target,
}

/// The fn that the wrapper calls.
pub struct Target {
    /// `Self::bdrv_co_read`
    pub path: TokenStream,
    /// Whether the call passes on the wrapper's type parameters. The user's own path may have type arguments already.
    pub turbofish: bool,
    /// The name of the fn, for declarations whose path is only a name.
    pub alone: Option<Ident>,
    /// Whether the name was derived from the wrapper's.
    pub by_rule: bool,
    pub name: String,
    pub link: Link,
}

/// How the wrapper's documentation links to the fn that it calls.
pub enum Link {
    To(String),
    /// No link is written if rustdoc could not resolve it, or if it could lead from a public item to a private one, of
    /// which rustdoc warns.
    None,
}

impl Plan {
    /// The plan of the wrapper of a marked fn.
    pub fn of_function(options: Options, function: &Function) -> Self {
        Plan::of_signature(options, function, &function.sig)
    }

    fn of_signature(options: Options, function: &Function, sig: &Signature) -> Self {
        let block = options.block.as_deref();
        let within = block.map(|block| block.within.clone()).filter(|within| !within.is_empty());
        let within = within.or_else(|| signature::mentions_self(sig).then(|| quote!(Self)));
        let free = within.is_none();
        let in_trait = block.is_some_and(|block| block.in_trait);
        let in_trait_impl = block.is_some_and(BlockContext::is_trait_impl);
        let as_async = if options.no_co { None } else { as_async(sig, options.output.as_ref()) };
        let ident = &sig.ident;
        let (sig, returned) = as_async.unwrap_or_else(|| (sig.clone(), Returned::Unknown));

        let name = unraw(ident);
        let link = match options.vis {
            Some(_) => Link::None,
            None if free => Link::To(format!("fn@{name}")),
            None => Link::To(format!("Self::{name}")),
        };
        let path = within.map_or_else(|| quote!(#ident), |within| quote!(#within::#ident));
        let target = Target { path, turbofish: true, alone: None, by_rule: false, name, link };
        let wrapper = if options.no_co {
            name::of_async_twin(&options, ident)
        } else if returned == Returned::Unknown {
            // A fn that should not be marked needs no error about the name of its wrapper.
            Err(None)
        } else {
            name::of_wrapper(&options, ident)
        };
        Plan {
            names: wrapper.map(|wrapper| Names::new(wrapper, target, &options)),
            attrs: function.attrs.clone(),
            vis: options.vis.as_ref().unwrap_or(&function.vis).clone(),
            options,
            sig,
            returned,
            declared: false,
            free,
            in_trait,
            in_trait_impl,
            pair: None,
            long: function.is_long(),
            body_span: function.body_span,
        }
    }

    /// The plan of the wrapper of a fn of `impl of`, in the impl of the blocking type.
    pub fn in_blocking_type(mut options: Options, function: &Function, of: &Type) -> Self {
        move_exprs(&mut options, &function.sig, &of.to_token_stream());
        let mut plan = Plan::of_signature(options, function, &moved(&function.sig, of));
        plan.pair = plan.options.blocking.as_ref().map(|blocking| Pair {
            blocking: told(blocking),
            of: told(of),
            converts: true,
        });
        if let Ok(Names { target, .. }) = &mut plan.names {
            let ident = &plan.sig.ident;
            target.path = quote!(<#of>::#ident);
            if !matches!(target.link, Link::None) {
                target.link = Link::to_method(of, &target.name);
            }
        }
        plan
    }

    /// The plan of the wrapper of a fn of `trait of`, in the blocking trait.
    pub fn in_blocking_trait(options: Options, function: &Function, of: &Ident) -> Self {
        let mut plan = Plan::of_function(options, function);
        let of = unraw(of);
        if let Ok(Names { target, .. }) = &mut plan.names
            && !matches!(target.link, Link::None)
        {
            target.link = Link::To(format!("{of}::{}", target.name));
        }
        let blocking = plan.options.blocking_trait.as_ref().map(|blocking| unraw(&blocking.ident));
        plan.pair = blocking.map(|blocking| Pair { blocking, of, converts: false });
        plan
    }

    /// The plan of a method that is declared for the blocking type `ty`.
    pub fn of_blocking_declaration(mut options: Options, declaration: Declaration, ty: &Type) -> Self {
        let Declaration { attrs, vis, sig, target, end } = declaration;
        let krate = facade(options.krate.as_ref(), Span::call_site());
        move_exprs(&mut options, &sig, &quote!(<Self as #krate::Blocking>::Async));
        let ident = match target {
            Some(tokens) => method_name(tokens),
            None => Ok(sig.ident.clone()),
        };
        let target = ident.map(|ident| Target {
            path: quote_spanned!(ident.span()=> <<Self as #krate::Blocking>::Async>::#ident),
            turbofish: true,
            alone: None,
            by_rule: false,
            name: unraw(&ident),
            // The async type has no name here.
            link: Link::None,
        });
        let blocking = told(ty);
        Plan {
            names: target.map(|target| Names::new(sig.ident.clone(), target, &options)).map_err(Some),
            options,
            attrs,
            vis,
            sig,
            returned: Returned::Async,
            declared: true,
            free: false,
            in_trait: false,
            in_trait_impl: false,
            pair: Some(Pair { of: format!("<{blocking} as Blocking>::Async"), blocking, converts: true }),
            long: false,
            body_span: end,
        }
    }

    pub fn converts(&self) -> bool {
        self.pair.as_ref().is_some_and(|pair| pair.converts)
    }

    /// The plan of a declared function or, if there is a `ty`, of a method that is declared for that type.
    pub fn of_declaration(options: Options, declaration: Declaration, ty: Option<&Type>) -> Self {
        let Declaration { attrs, vis, sig, target, end } = declaration;
        let target = match ty {
            Some(ty) => Target::of_method(target, &options, &sig, ty),
            None => Target::of_function(target, &options, &sig),
        };
        let in_trait = ty.is_some();
        Plan {
            names: target.map(|target| Names::new(sig.ident.clone(), target, &options)).map_err(Some),
            options,
            attrs,
            vis,
            sig,
            returned: Returned::Async,
            declared: true,
            free: !in_trait,
            in_trait,
            in_trait_impl: false,
            pair: None,
            long: false,
            body_span: end,
        }
    }
}

/// Lets `self` and `Self` in the expressions of a mark be those of the async type `of`.
fn move_exprs(options: &mut Options, sig: &Signature, of: &TokenStream) {
    let krate = facade(options.krate.as_ref(), Span::call_site());
    let lock = options.lock.as_mut().and_then(|lock| lock.expr.as_mut());
    for expr in options.ctx.iter_mut().chain(lock) {
        *expr = moved_expr(expr, of, sig.receiver(), &krate);
    }
}

/// A type's path, without its generic arguments.
fn told(ty: &Type) -> String {
    match ungroup(ty) {
        Type::Path(ty) => ty.path.segments.iter().map(|segment| unraw(&segment.ident)).collect::<Vec<_>>().join("::"),
        ty => ty.to_token_stream().to_string(),
    }
}

impl Target {
    /// The target of a declared function: the path after its `=`, or the name that is derived from its own.
    fn of_function(written: Option<TokenStream>, options: &Options, sig: &Signature) -> syn::Result<Self> {
        let by_rule = written.is_none();
        let path: Path = match written {
            Some(tokens) => {
                let message = "not the path of an async fn; write one, as in `= block::co_read`";
                let span = tokens.span();
                syn::parse2(tokens).map_err(|_| Error::new(span, message))?
            }
            None if options.no_co => name::of_blocking_target(&sig.ident)?.into(),
            None => name::with_co(&sig.ident).into(),
        };
        Ok(Target {
            turbofish: path.segments.iter().all(|segment| segment.arguments.is_none()),
            path: path.to_token_stream(),
            alone: path.get_ident().cloned(),
            by_rule,
            name: path.segments.last().map(|segment| unraw(&segment.ident)).unwrap_or_default(),
            link: Link::to(&path),
        })
    }

    /// The target of a declared method: the name after its `=`, or the one that is derived from its own.
    fn of_method(written: Option<TokenStream>, options: &Options, sig: &Signature, ty: &Type) -> syn::Result<Self> {
        let by_rule = written.is_none();
        let affixes = options.block.as_ref().map(|block| &block.options.affixes).filter(|affixes| !affixes.is_empty());
        let ident: Ident = match (written, affixes) {
            (Some(tokens), _) => method_name(tokens)?,
            (None, _) if options.no_co => name::of_blocking_target(&sig.ident)?,
            (None, None) => name::with_co(&sig.ident),
            (None, Some(affixes)) => {
                name::without_affixes(&sig.ident, affixes).map_err(|error| Error::new_spanned(&sig.ident, error))?
            }
        };
        let name = unraw(&ident);
        let link = Link::to_method(ty, &name);
        let path = quote_spanned!(ident.span()=> Self::#ident);
        Ok(Target { path, turbofish: true, alone: Some(ident), by_rule, name, link })
    }
}

/// The name after the `=` of a declared method.
fn method_name(tokens: TokenStream) -> syn::Result<Ident> {
    let message = "not a method of the type; write its name alone, as in `= read`";
    syn::parse2(tokens.clone()).map_err(|_| Error::new_spanned(tokens, message))
}

impl Link {
    /// The link to `a::b::<T>::c` is `fn@a::b::c`.
    fn to(path: &Path) -> Self {
        let segments: Vec<String> = path.segments.iter().map(|segment| unraw(&segment.ident)).collect();
        let leading = if path.leading_colon.is_some() { "::" } else { "" };
        // Rustdoc cannot resolve `$crate`.
        if segments.iter().any(|segment| segment.starts_with('$')) {
            return Link::None;
        }
        Link::To(format!("fn@{leading}{}", segments.join("::")))
    }

    fn to_method(ty: &Type, name: &str) -> Self {
        match ty {
            Type::Path(ty) if ty.qself.is_none() => match Link::to(&ty.path) {
                Link::To(path) => Link::To(format!("{}::{name}", path.trim_start_matches("fn@"))),
                Link::None => Link::None,
            },
            _ => Link::None,
        }
    }
}

impl Names {
    fn new(wrapper: Ident, target: Target, options: &Options) -> Self {
        let second = |twin: &Option<SecondTwin>, suffix| {
            twin.as_ref().filter(|_| !options.no_co).map(|twin| {
                twin.name.clone().unwrap_or_else(|| {
                    let name = format!("{}_{suffix}", unraw(&wrapper));
                    debug_assert!(!is_reserved(&name));
                    Ident::new(&name, wrapper.span())
                })
            })
        };
        let (timeout, interrupt) = (second(&options.timeout, "timeout"), second(&options.interrupt, "interruptible"));
        Names { wrapper, timeout, interrupt, target }
    }
}
