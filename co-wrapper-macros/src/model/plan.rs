//! The plan of a wrapper, in which everything is resolved: the options of its mark merged with the block's, the fn that it
//! calls, and the path of the call. `check` refuses a plan, or `expand` writes it. Neither needs to know whether an
//! attribute or `declare!` has made it.
//!
//! In this crate, the *wrapper* is the fn that the macro generates, and the *target* is the fn that it calls. Each is the
//! other's *twin*. Under `#[no_co_wrapper]` it is the wrapper that is async.

use crate::model::name;
use crate::model::signature;
use crate::parse::future::{Returned, as_async};
use crate::parse::ident::{is_reserved, unraw};
use crate::parse::item::Function;
use crate::parse::options::{BlockContext, Options, SecondTwin};
use crate::parse::pieces::Declaration;
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
    /// Whether the body of the fn that the wrapper calls is so long that clippy may have counted its lines.
    pub long: bool,
    /// The span of errors about the wrapper's whole body.
    pub body_span: Span,
    /// The names that follow from the mark, or what is wrong with them. The error is `None` if it has been reported or if
    /// the mark says `skip`. Without names no wrapper is written.
    pub names: Result<Names, Option<Error>>,
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
        let block = options.block.as_deref();
        let within = block.map(|block| block.within.clone()).filter(|within| !within.is_empty());
        let within = within.or_else(|| signature::mentions_self(&function.sig).then(|| quote!(Self)));
        let free = within.is_none();
        let in_trait = block.is_some_and(|block| block.in_trait);
        let in_trait_impl = block.is_some_and(BlockContext::is_trait_impl);
        let as_async = if options.no_co { None } else { as_async(&function.sig, options.output.as_ref()) };
        let (sig, returned) = as_async.unwrap_or_else(|| (function.sig.clone(), Returned::Unknown));

        let ident = &function.sig.ident;
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
            long: function.is_long(),
            body_span: function.body_span,
        }
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
            long: false,
            body_span: end,
        }
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
            (Some(tokens), _) => {
                let message = "not a method of the type; write its name alone, as in `= read`";
                syn::parse2(tokens.clone()).map_err(|_| Error::new_spanned(tokens, message))?
            }
            (None, _) if options.no_co => name::of_blocking_target(&sig.ident)?,
            (None, None) => name::with_co(&sig.ident),
            (None, Some(affixes)) => {
                name::without_affixes(&sig.ident, affixes).map_err(|error| Error::new_spanned(&sig.ident, error))?
            }
        };
        let name = unraw(&ident);
        let link = match ty {
            Type::Path(ty) if ty.qself.is_none() => match Link::to(&ty.path) {
                Link::To(path) => Link::To(format!("{}::{name}", path.trim_start_matches("fn@"))),
                Link::None => Link::None,
            },
            _ => Link::None,
        };
        let path = quote_spanned!(ident.span()=> Self::#ident);
        Ok(Target { path, turbofish: true, alone: Some(ident), by_rule, name, link })
    }
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
