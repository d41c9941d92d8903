//! A function as Rust: the items, and the check that calls them.

use crate::function::{Form, Function, Place};
use crate::shapes::{Is, Needs};

/// A module `f<seed>` with a `run`.
pub fn module(function: &Function) -> String {
    let seed = function.seed;
    let items = items(function);
    let (original, wrapper) = names(function);
    let call = |name: &str, timeout: bool| call(function, name, timeout);
    let of_node = if function.place == Place::Generic { "Generic(5u32)" } else { "Node::new(5)" }.to_owned();
    let of_wrapper = match function.place {
        Place::OtherType => format!("B{seed}::from({of_node})"),
        _ => of_node.clone(),
    };
    let original = match function.place {
        // Both have one name, and perhaps no receiver.
        Place::OtherType => call(&original, false).replacen(&format!("B{seed}::"), "Node::", 1),
        _ => call(&original, false),
    };
    let original = if function.form == Form::Plain { original } else { format!("{original}.await") };
    let show = function.output.show;
    let shown_wrapper = |call: &str| {
        let shown = shown(function, &of_wrapper, show, call);
        shown.replacen("let shown", &format!("{}let shown", as_dyn(function)), 1)
    };
    let mut wrappers = vec![shown_wrapper(&call(&wrapper, false))];
    if function.timeout {
        let call = call(&format!("{wrapper}_timeout"), true);
        wrappers.push(shown_wrapper(&format!("{call}.unwrap()")));
    }
    if function.interrupt {
        let call = call(&format!("{wrapper}_interruptible"), false);
        wrappers.push(shown_wrapper(&format!("{call}.unwrap()")));
    }
    let mut original = shown(function, &of_node, function.output.stream.unwrap_or(show), &original);
    if function.place == Place::OtherTrait {
        // Both have one name, and only one of the traits may be in scope.
        original.insert_str(0, &format!("use inner::Trait{seed}; "));
        for wrapper in &mut wrappers {
            wrapper.insert_str(0, &format!("use inner::B{seed}; "));
        }
    }
    let wrappers: String = wrappers.iter().map(|body| format!("Box::new(|| {{ {body} }}), ")).collect();
    // A fn that is not async waits only where its stream does, and that may be an error instead.
    let waits_surely = function.form != Form::Plain || function.output.is_stream();
    format!(
        "pub mod f{seed} {{ use super::*;\n{items}\npub fn run() {{ check({seed}, {waits_surely}, || block_on(async {{ {original} }}), vec![{wrappers}]); }} }}"
    )
}

/// The async fn and its wrapper.
fn names(function: &Function) -> (String, String) {
    let seed = function.seed;
    match (function.place, function.name) {
        (Place::Suffix | Place::Module | Place::FreeSuffix | Place::TraitSuffix, _) => {
            (format!("read_{seed}"), format!("read_{seed}_blocking"))
        }
        (Place::OtherType | Place::OtherTrait, _) => (format!("read_{seed}"), format!("read_{seed}")),
        (Place::Prefix, _) => (format!("co_read_{seed}"), format!("sync_co_read_{seed}")),
        (_, 0) => (format!("co_f_{seed}"), format!("f_{seed}")),
        (_, 1) => (format!("bdrv_co_read_{seed}"), format!("bdrv_read_{seed}")),
        (_, 2) => (format!("_co_{seed}"), format!("_{seed}")),
        (_, 3) => (format!("r#co_x_{seed}"), format!("x_{seed}")),
        (_, 4) => (format!("g_{seed}_co"), format!("g_{seed}")),
        _ => (format!("plain_{seed}"), format!("blocking_{seed}")),
    }
}

fn shown(function: &Function, owned: &str, show: &str, call: &str) -> String {
    let node = match function.receiver {
        None => String::new(),
        Some(receiver) => {
            let node = receiver.value.replace("NODE", "owned");
            format!("let mut owned = {owned}; let mut node = {node}; ")
        }
    };
    let mut show = format!("show({})", show.replace('$', call));
    // Each argument that is one is another, of the type that the receiver's is.
    for n in 6..6 + show.matches("NODE").count() {
        show = show.replacen("NODE", &owned.replace("(5", &format!("({n}")), 1);
    }
    let show = if function.is_unsafe { format!("unsafe {{ {show} }}") } else { show };
    format!("{node}let shown = {show}; shown")
}

/// Makes a `dyn` of the node, where the wrapper is in a trait that has one. Not always.
fn as_dyn(function: &Function) -> String {
    let Some(receiver) = function.receiver.filter(|_| function.place == Place::OtherTrait && function.name < 4) else {
        return String::new();
    };
    let of_dyn = format!("dyn B{}", function.seed);
    match receiver.text.trim_start_matches("mut ").strip_prefix("self: ") {
        Some(ty) => format!("let mut node: {} = node; ", ty.replace("Self", &of_dyn)),
        None if receiver.text.contains("mut") => format!("let node: &mut {of_dyn} = &mut node; "),
        None => format!("let node: &{of_dyn} = &node; "),
    }
}

fn call(function: &Function, name: &str, timeout: bool) -> String {
    let turbofish: Vec<String> = function
        .parameters
        .iter()
        .filter_map(|(shape, _)| shape.generic)
        .map(|(_, _, turbofish)| turbofish.to_owned())
        .collect();
    let turbofish = if turbofish.is_empty() { String::new() } else { format!("::<{}>", turbofish.join(", ")) };
    let mut arguments: Vec<&str> =
        function.parameters.iter().map(|(shape, _)| shape.argument).filter(|argument| !argument.is_empty()).collect();
    if timeout {
        arguments.push("LONG");
    }
    let other = format!("B{}::", function.seed);
    let through = match (function.receiver, function.place) {
        (Some(_), _) => "node.",
        (None, Place::OtherType) => &other,
        (None, Place::Generic) => "Generic::<u32>::",
        (None, place) if place.has_self() => "Node::",
        (None, Place::Module) => "inner::",
        (None, Place::Declared) if name == names(function).0 => "target::",
        _ => "",
    };
    format!("{through}{name}{turbofish}({})", arguments.join(", "))
}

/// Options that stand on the function.
fn options(function: &Function) -> String {
    let mut options = Vec::new();
    let (_, wrapper) = names(function);
    if function.name == 5
        && !function.place.has_affix()
        && !matches!(function.place, Place::Declared | Place::Extension | Place::OtherType | Place::OtherTrait)
    {
        options.push(format!("name = {wrapper}"));
    }
    if function.mixed {
        options.push("mixed".to_owned());
    }
    if function.timeout {
        options.push("timeout".to_owned());
    }
    if function.interrupt {
        options.push("interrupt".to_owned());
    }
    if function.ctx {
        options.push("ctx = other()".to_owned());
    }
    options.join(", ")
}

/// The result, where the form leaves it open.
fn output(function: &Function) -> Option<String> {
    let open = matches!(function.form, Form::Alias | Form::Builder);
    let declared = matches!(function.place, Place::Declared | Place::Extension);
    (open && !declared).then(|| format!("output = {}", unit(function)))
}

fn unit(function: &Function) -> String {
    if function.output.ty.is_empty() { "()".to_owned() } else { of_stream(function, function.output.ty) }
}

/// What else is known of a stream, for every `^` and `~`.
fn of_stream(function: &Function, text: &str) -> String {
    text.replace('^', if function.ctx { " + Send" } else { "" }).replace('~', function.bound())
}

fn mark(options: &str) -> String {
    if options.is_empty() { "#[co_wrapper] ".to_owned() } else { format!("#[co_wrapper({options})] ") }
}

/// What a signature is written for.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Original,
    /// In a trait, without a body: without patterns.
    Bodiless,
    /// For `declare!`.
    Wrapper,
}

fn signature(function: &Function, name: &str, of: Of) -> String {
    let mut generics = Vec::new();
    let mut predicates = Vec::new();
    if function.is_any(Is::Named) {
        generics.push("'a".to_owned());
    }
    let mut inputs: Vec<String> = Vec::new();
    if let Some(receiver) = function.receiver {
        let text =
            if of == Of::Bodiless { receiver.text.replace("mut self", "self") } else { receiver.text.to_owned() };
        let text = if receiver.text.starts_with('&') { receiver.text.to_owned() } else { text };
        inputs.push(text);
        if function.place == Place::Default && receiver.by_value {
            predicates.push("Self: Sized".to_owned());
        }
    }
    for (i, (shape, name)) in function.parameters.iter().enumerate() {
        if let Some((param, bounds, _)) = shape.generic {
            let param = number(param, i);
            // What travels to another context.
            let sent = if function.ctx && !bounds.is_empty() { " + Send + Sync" } else { "" };
            let bounds = &format!("{bounds}{sent}");
            if bounds.is_empty() {
                generics.push(param);
            } else if function.where_clause && !bounds.contains("?Sized") {
                predicates.push(format!("{param}: {bounds}"));
                generics.push(param);
            } else {
                generics.push(format!("{param}: {bounds}"));
            }
        }
        let pattern = if of == Of::Bodiless {
            let attr = shape.pattern.rfind("] ").filter(|_| shape.pattern.starts_with('#')).map_or(0, |at| at + 2);
            format!("{}p{i}", &shape.pattern[..attr])
        } else {
            number(shape.pattern, i).replace('$', name)
        };
        let sent = if function.ctx && shape.ty.starts_with("impl ") { " + Send" } else { "" };
        inputs.push(format!("{pattern}: {}{sent}", number(shape.ty, i)));
    }
    let generics = if generics.is_empty() { String::new() } else { format!("<{}>", generics.join(", ")) };
    let unit = unit(function);
    let bound = function.bound();
    let is_opaque = function.output.needs == Needs::Opaque && function.output.stream.is_none();
    let opaque = if is_opaque { bound } else { "" };
    let output = match (of, function.form) {
        (Of::Wrapper, _) | (_, Form::Async | Form::Plain) if function.output.ty.is_empty() => String::new(),
        (Of::Wrapper, _) | (_, Form::Async | Form::Plain) => format!(" -> {unit}{opaque}"),
        (_, Form::ImplFuture) => format!(" -> impl Future<Output = {unit}>{bound}"),
        (_, Form::Boxed) => format!(" -> Pin<Box<dyn Future<Output = {unit}>{bound}>>"),
        (_, Form::BoxFuture) => format!(" -> BoxFuture<{}, {unit}>", function.lifetime()),
        (_, Form::Alias) => format!(" -> Alias<{}, {unit}>", function.lifetime()),
        (_, Form::Builder) => format!(" -> Builder<{}, {unit}>", function.lifetime()),
    };
    let asyncness = if of != Of::Wrapper && function.form == Form::Async { "async " } else { "" };
    let unsafety = if function.is_unsafe { "unsafe " } else { "" };
    let predicates = if predicates.is_empty() { String::new() } else { format!(" where {}", predicates.join(", ")) };
    format!("{asyncness}{unsafety}fn {name}{generics}({}){output}{predicates}", inputs.join(", "))
}

/// A number for every `%`.
fn number(text: &str, i: usize) -> String {
    text.replace('%', &i.to_string())
}

fn body(function: &Function) -> String {
    let mut body = String::from("let mut h = 0u64; ");
    let mut mix = |number: &str| body.push_str(&format!("h = h.wrapping_mul(31).wrapping_add({number}); "));
    if let Some(receiver) = function.receiver {
        mix(receiver.body);
    }
    // A fn that is not async leaves the waiting to its stream.
    let waits = function.form != Form::Plain;
    let half = function.parameters.len() / 2;
    for (i, (shape, name)) in function.parameters.iter().enumerate() {
        if i == half && waits {
            mix("{ wait().await; 1 }");
        }
        mix(&number(shape.body, i).replace('$', name));
    }
    if function.parameters.is_empty() && waits {
        mix("{ wait().await; 1 }");
    }
    let output = of_stream(function, function.output.body);
    body.push_str(&output.replace("named", function.named().unwrap_or_default()));
    match function.form {
        Form::Async | Form::Plain => body,
        Form::ImplFuture => format!("async move {{ {body} }}"),
        Form::Boxed | Form::BoxFuture | Form::Alias => format!("Box::pin(async move {{ {body} }})"),
        Form::Builder => format!("Builder(Box::pin(async move {{ {body} }}))"),
    }
}

fn items(function: &Function) -> String {
    let (original, wrapper) = names(function);
    let options = options(function);
    let output = output(function);
    let own = output.as_ref().map(|output| mark(output)).unwrap_or_default();
    let all: Vec<&str> = [&*options].into_iter().chain(output.as_deref()).filter(|option| !option.is_empty()).collect();
    let mark = mark(&all.join(", "));
    let vis = function.vis;
    let seed = function.seed;
    let async_fn = format!("{} {{ {} }}", signature(function, &original, Of::Original), body(function));
    let declared = signature(function, &wrapper, Of::Wrapper);
    let bodiless = signature(function, &original, Of::Bodiless);
    let sent = if function.ctx { " + Send + Sync" } else { "" };
    let optional_mark = if all.is_empty() { "" } else { &*mark };
    let block = |affix: &str| if options.is_empty() { affix.to_owned() } else { format!("{affix}, {options}") };
    match function.place {
        Place::Free => format!("{mark}{vis}{async_fn}"),
        Place::Macro => {
            let async_fn = async_fn.replacen(&format!("fn {original}"), "fn $name", 1);
            format!(
                "macro_rules! made {{ ($vis:vis $name:ident) => {{ {mark}$vis {async_fn} }}; }} made!({vis}{original});"
            )
        }
        Place::Declared => format!(
            "pub mod target {{ use super::*; pub {async_fn} }} declare! {{ {optional_mark}{vis}{declared} = target::{original}; }}"
        ),
        Place::Method => format!("impl Node {{ {mark}{vis}{async_fn} }}"),
        Place::Block => format!("#[co_wrapper] impl Node {{ {mark}{vis}{async_fn} }}"),
        Place::Suffix => {
            format!("#[co_wrapper({})] impl Node {{ {own}{vis}{async_fn} }}", block("suffix = \"_blocking\""))
        }
        Place::Module => format!(
            "#[co_wrapper({})] pub mod inner {{ use super::*; {own}pub {async_fn} }}",
            block("suffix = \"_blocking\"")
        ),
        Place::FreeSuffix => {
            let options = [&["suffix = \"_blocking\""], &*all].concat().join(", ");
            format!("#[co_wrapper({options})] {vis}{async_fn}")
        }
        Place::TraitSuffix => format!(
            "#[co_wrapper({0})] pub trait Trait{seed}: Get{sent} {{ {bodiless}; }} #[co_wrapper({0})] impl Trait{seed} for Node {{ {async_fn} }}",
            block("suffix = \"_blocking\"")
        ),
        Place::Prefix => format!("#[co_wrapper(prefix = \"sync_\")] impl Node {{ {optional_mark}{vis}{async_fn} }}"),
        Place::Generic => {
            format!("#[co_wrapper] impl<T: Copy + Into<u64> + From<u8>{sent}> Generic<T> {{ {mark}{vis}{async_fn} }}")
        }
        Place::Trait => format!(
            "#[co_wrapper] pub trait Trait{seed}: Get{sent} {{ {mark}{bodiless}; }} impl Trait{seed} for Node {{ {async_fn} }}"
        ),
        Place::Default => format!(
            "#[co_wrapper] pub trait Trait{seed}: Get{sent} {{ {mark}{async_fn} }} impl Trait{seed} for Node {{}}"
        ),
        Place::AsyncTrait => format!(
            "#[async_trait(?Send)] #[co_wrapper] pub trait Trait{seed}: Get{sent} {{ {mark}{bodiless}; }} #[async_trait(?Send)] impl Trait{seed} for Node {{ {async_fn} }}"
        ),
        Place::InAsyncTrait => format!(
            "#[co_wrapper] #[async_trait(?Send)] pub trait Trait{seed}: Get{sent} {{ {mark}{bodiless}; }} #[async_trait(?Send)] impl Trait{seed} for Node {{ {async_fn} }}"
        ),
        Place::OtherType => format!(
            "#[derive(co_wrapper::Blocking)] pub struct B{seed}(Node); \
             impl Debug for B{seed} {{ fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{ self.0.fmt(f) }} }} \
             #[co_wrapper({})] impl Node {{ {own}{vis}{async_fn} }}",
            block(&format!("type = B{seed}"))
        ),
        Place::OtherTrait => {
            let sent = if function.ctx { ": Send + Sync" } else { "" };
            let other = format!("trait = B{seed}{sent}");
            // The options of all of them, or its own.
            let (of_block, own) = if function.where_clause { (block(&other), "") } else { (other, optional_mark) };
            format!(
                "pub mod inner {{ use super::*; #[co_wrapper({of_block})] pub trait Trait{seed}: Get{} {{ {own}{bodiless}; }} impl Trait{seed} for Node {{ {async_fn} }} }}",
                sent.replace(':', " +"),
            )
        }
        Place::Extension => format!(
            "impl Node {{ pub {async_fn} }} declare! {{ pub impl Trait{seed} for Node {{ {optional_mark}{declared} = {original}; }} }}"
        ),
    }
}
