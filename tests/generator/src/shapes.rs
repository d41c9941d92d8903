//! The grammar's words: parameters, receivers and results. A shape is text; `$` in it is the parameter's name, `%` its
//! number. In a stream, `^` is that it is `Send` where it has to be, and `~` the lifetime of what it may hold.

/// A parameter: how it is written, what is given for it, and what the body makes a number of.
pub struct Shape {
    pub pattern: &'static str,
    pub ty: &'static str,
    /// In the call; empty where `#[cfg]` takes the parameter away.
    pub argument: &'static str,
    /// An expression of type `u64`.
    pub body: &'static str,
    /// A generic parameter: its name, its bounds, and what a turbofish names.
    pub generic: Option<(&'static str, &'static str, &'static str)>,
    pub is: &'static [Is],
}

/// What a shape needs or rules out.
#[derive(Clone, Copy, PartialEq)]
pub enum Is {
    /// May not cross threads.
    NotSend,
    /// Without any lifetime, so that a future of it needs none.
    Owned,
    /// Speaks of `Self`. In an argument, `NODE` is one.
    OfSelf,
    /// Has a `Self` by value in it.
    HasSelf,
    /// Speaks of `Self` in a way that a blocking type's twin converts.
    Converted,
    /// Of the lifetime `'a`.
    Named,
    /// Elides what only an `async fn` may.
    Elided,
}

use Is::{Converted, Elided, HasSelf, Named, NotSend, OfSelf, Owned};

const fn shape(
    pattern: &'static str,
    ty: &'static str,
    argument: &'static str,
    body: &'static str,
    is: &'static [Is],
) -> Shape {
    Shape { pattern, ty, argument, body, generic: None, is }
}

const fn generic(
    (name, bounds, turbofish): (&'static str, &'static str, &'static str),
    pattern: &'static str,
    ty: &'static str,
    argument: &'static str,
    body: &'static str,
    is: &'static [Is],
) -> Shape {
    Shape { pattern, ty, argument, body, generic: Some((name, bounds, turbofish)), is }
}

pub static PARAMETERS: &[Shape] = &[
    shape("$", "u8", "7", "u64::from($)", &[Owned]),
    shape("mut $", "u32", "9", "{ $ += 1; u64::from($) }", &[Owned]),
    shape("_", "u16", "3", "1", &[Owned]),
    shape("(a%, b%)", "(u8, u8)", "(1, 2)", "u64::from(a% + b%)", &[Owned]),
    shape("(a%, mut b%, _)", "(u8, u8, String)", "(1, 2, text(3))", "{ b% += 1; u64::from(a% + b%) }", &[Owned]),
    shape("Point { x: a%, y: b% }", "Point", "Point { x: 3, y: 4 }", "u64::from(a% ^ b%)", &[Owned]),
    shape("Point { x: a%, .. }", "Point", "Point { x: 3, y: 4 }", "u64::from(a%)", &[Owned]),
    shape("$ @ (a%, _)", "(u8, u8)", "(5, 6)", "u64::from($.1 + a%)", &[Owned]),
    shape("[a%, b%]", "[u8; 2]", "[8, 9]", "u64::from(a% + b%)", &[Owned]),
    shape("Unit", "Unit", "Unit", "2", &[Owned]),
    shape("&a%", "&u8", "&11", "u64::from(a%)", &[]),
    shape("ref $", "String", "text(4)", "$.len() as u64", &[Owned]),
    shape("$", "&str", "\"abc\"", "$.len() as u64", &[]),
    shape("$", "&mut [u8]", "&mut [1, 2, 3]", "{ $[0] += 1; sum($) }", &[]),
    shape("mut $", "&[&str]", "&[\"a\", \"bc\"]", "{ $ = &$[1..]; $[0].len() as u64 }", &[]),
    shape("$", "(&str, &mut u8)", "(\"ab\", &mut 3)", "{ *$.1 += 1; $.0.len() as u64 + u64::from(*$.1) }", &[]),
    shape("$", "View<'_>", "View(\"view\")", "$.0.len() as u64", &[]),
    shape("$", "Option<View<'_>>", "Some(View(\"v\"))", "$.map_or(0, |view| view.0.len() as u64)", &[]),
    shape("$", "Cow<'_, str>", "Cow::Borrowed(\"cow\")", "$.len() as u64", &[]),
    shape("$", "&'a str", "\"named\"", "$.len() as u64", &[Named]),
    shape("$", "&'a &'a [u8]", "&&[1, 2][..]", "sum($)", &[Named]),
    shape("$", "impl Fn(u8) -> u8", "|x| x + 1", "u64::from($(2))", &[Owned]),
    shape(
        "mut $",
        "impl FnMut(u8) -> u8",
        "{ let mut n = 0; move |x| { n += x; n } }",
        "u64::from($(2) + $(3))",
        &[Owned],
    ),
    shape("$", "&dyn Fn(u8) -> u8", "&|x| x * 2", "u64::from($(2))", &[NotSend]),
    shape("$", "&(dyn Debug + Sync + '_)", "&5u8", "format!(\"{:?}\", $).len() as u64", &[]),
    shape(
        "$",
        "Box<dyn for<'x> Fn(&'x str) -> &'x str + '_>",
        "Box::new(|x| &x[1..])",
        "$(\"abc\").len() as u64",
        &[NotSend],
    ),
    shape("$", "fn(u8) -> u8", "double", "u64::from($(4))", &[Owned]),
    shape("$", "for<'x> fn(&'x str) -> &'x str", "tail", "$(\"abcd\").len() as u64", &[Owned]),
    shape(
        "$",
        "&mut (impl Iterator<Item = u8> + ?Sized)",
        "&mut vec![1, 2].into_iter()",
        "$.map(u64::from).sum::<u64>()",
        &[NotSend],
    ),
    shape("mut $", "impl Iterator<Item = &u8>", "[1, 2].iter()", "u64::from(*$.next().unwrap())", &[Elided]),
    shape("$", "impl Into<View<'_>>", "View(\"into\")", "$.into().0.len() as u64", &[Elided]),
    shape("$", "impl Debug + '_", "&5u8", "debug($)", &[Elided]),
    shape(
        "(a%, b%)",
        "(impl Iterator<Item = (&u8, View<'_>)>, &u8)",
        "(vec![(&1, View(\"v\"))].into_iter(), &2)",
        "a%.map(|(x, view)| u64::from(*x) + view.0.len() as u64).sum::<u64>() + u64::from(*b%)",
        &[Elided, NotSend],
    ),
    shape(
        "$",
        "&mut (impl Iterator<Item = Box<dyn Fn(&u8) -> u8 + '_>> + ?Sized)",
        "&mut vec![Box::new(|x: &u8| x + 1) as Box<dyn Fn(&u8) -> u8>].into_iter()",
        "$.map(|f| u64::from(f(&1))).sum::<u64>()",
        &[Elided, NotSend],
    ),
    shape("$", "Rc<Cell<u8>>", "Rc::new(Cell::new(6))", "u64::from($.get())", &[NotSend, Owned]),
    shape("$", "*const u8", "std::ptr::null()", "u64::from($.is_null())", &[NotSend, Owned]),
    shape("$", "Arc<dyn Debug + Send + Sync>", "Arc::new(1)", "format!(\"{:?}\", $).len() as u64", &[Owned]),
    shape("$", "[u8; LEN + 1]", "[1, 2, 3]", "sum(&$)", &[Owned]),
    shape("$", "Wide<{ LEN * 2 }>", "[1, 2, 3, 4]", "sum(&$)", &[Owned]),
    shape("$", "Result<u8, ()>", "Ok(4)", "u64::from($.unwrap())", &[Owned]),
    shape("#[cfg(any())] $", "NoSuchType", "", "0", &[Owned]),
    shape("#[cfg(all())] $", "u8", "21", "u64::from($)", &[Owned]),
    shape("#[cfg_attr(all(), cfg(any()))] $", "NoSuchType", "", "0", &[Owned]),
    shape("#[allow(unused_variables)] $", "u8", "1", "4", &[Owned]),
    shape("$", "&Self", "&NODE", "$.get()", &[OfSelf, Converted]),
    shape("$", "&mut Self", "&mut NODE", "{ $.bump(); $.get() }", &[OfSelf, Converted]),
    shape("$", "Self", "NODE", "$.get()", &[OfSelf, HasSelf, Converted, Owned]),
    shape("mut $", "Box<Self>", "Box::new(NODE)", "{ $.bump(); $.get() }", &[OfSelf, HasSelf, Converted, Owned]),
    shape(
        "$",
        "Option<Arc<Self>>",
        "Some(Arc::new(NODE))",
        "$.map_or(1, |node| node.get() + Arc::strong_count(&node) as u64)",
        &[OfSelf, HasSelf, Converted, Owned],
    ),
    shape("$", "Option<&Self>", "Some(&NODE)", "$.map_or(1, |node| node.get())", &[OfSelf, Converted]),
    shape(
        "(a%, b%)",
        "(Self, &mut Self)",
        "(NODE, &mut NODE)",
        "{ b%.bump(); a%.get() + b%.get() }",
        &[OfSelf, HasSelf, Converted],
    ),
    shape(
        "$",
        "Vec<Result<Self, u8>>",
        "vec![Ok(NODE), Err(3), Ok(NODE)]",
        "$.into_iter().map(|node| node.map_or_else(u64::from, |node| node.get())).sum::<u64>()",
        &[OfSelf, HasSelf, Converted, Owned],
    ),
    shape("$", "[&Self; 2]", "[&NODE, &NODE]", "$[0].get() + $[1].get()", &[OfSelf]),
    shape("$", "fn(&Self) -> u64", "Node::get", "1", &[OfSelf]),
    generic(("T%", "Into<u64>", "u8"), "$", "T%", "5", "$.into()", &[Owned]),
    generic(("T%", "Copy + Into<u64>", "u8"), "[a%, _]", "[T%; 2]", "[5, 6]", "a%.into()", &[Owned]),
    generic(("T%", "?Sized + AsRef<[u8]> + Sync", "str"), "$", "&T%", "\"bytes\"", "sum($.as_ref())", &[]),
    generic(
        ("T%", "for<'x> Fn(&'x str) -> &'x str", "_"),
        "$",
        "T%",
        "|x: &str| &x[2..]",
        "$(\"abc\").len() as u64",
        &[Owned],
    ),
    generic(("T%", "Default + Debug", "bool"), "$", "u8", "1", "u64::from($) + debug(T%::default())", &[Owned]),
    generic(("const C%: usize", "", "3"), "$", "[u8; C%]", "[1, 2, 3]", "sum(&$)", &[Owned]),
    generic(("const C%: u8", "", "9"), "$", "u8", "2", "u64::from($ + C%)", &[Owned]),
    generic(("T%", "Sum", "Three"), "$", "&[T%]", "&[Three, Three]", "Sum::sum($)", &[]),
];

/// How `self` is written, and how a value for it is.
pub struct Receiver {
    pub text: &'static str,
    pub value: &'static str,
    /// Called as a method on this kind of value, with the digest of what is left of it.
    pub body: &'static str,
    pub is: &'static [Is],
    /// What borrows from it can be returned.
    pub lends: bool,
    pub by_value: bool,
}

const fn receiver(text: &'static str, value: &'static str, body: &'static str, is: &'static [Is]) -> Receiver {
    Receiver { text, value, body, is, lends: false, by_value: false }
}

pub static RECEIVERS: &[Receiver] = &[
    Receiver { by_value: true, ..receiver("self", "NODE", "self.get()", &[Owned]) },
    Receiver { by_value: true, ..receiver("mut self", "NODE", "{ self.bump(); self.get() }", &[Owned]) },
    Receiver { lends: true, ..receiver("&self", "NODE", "self.get()", &[]) },
    Receiver { lends: true, ..receiver("&mut self", "NODE", "{ self.bump(); self.get() }", &[]) },
    Receiver { lends: true, ..receiver("&'a self", "NODE", "self.get()", &[Named]) },
    Receiver { lends: true, ..receiver("&'a mut self", "NODE", "{ self.bump(); self.get() }", &[Named]) },
    receiver("self: Arc<Self>", "Arc::new(NODE)", "self.get() + Arc::strong_count(&self) as u64", &[Owned]),
    receiver("self: Rc<Self>", "Rc::new(NODE)", "self.get()", &[NotSend, Owned]),
    receiver("self: Box<Self>", "Box::new(NODE)", "self.get()", &[Owned]),
    receiver("mut self: Box<Self>", "Box::new(NODE)", "{ self.bump(); self.get() }", &[Owned]),
    receiver("self: Pin<&mut Self>", "Pin::new(&mut NODE)", "self.get()", &[]),
    receiver("self: &Rc<Self>", "Rc::new(NODE)", "self.get()", &[NotSend]),
];

/// What is returned, made of the digest `h`.
pub struct Output {
    pub ty: &'static str,
    pub body: &'static str,
    /// What makes something that can be shown of it: `$` is the call.
    pub show: &'static str,
    /// Of a stream, which the wrapper makes an iterator of: what shows the same of the original's result.
    pub stream: Option<&'static str>,
    pub needs: Needs,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Needs {
    Nothing,
    /// An opaque type, which a trait and a declaration cannot have.
    Opaque,
    /// `&self` or the like.
    Lender,
    /// A parameter `&'a str`.
    Named,
    /// `Self` is `Node`.
    Node,
}

const fn output(ty: &'static str, body: &'static str, needs: Needs) -> Output {
    Output { ty, body, show: "$", stream: None, needs }
}

const ALONE: &str = "collect($).await";
const IN_RESULT: &str = "match $ { Ok(stream) => Ok(collect(stream).await), Err(error) => Err(error) }";
const IN_OPTION: &str = "match $ { Some(stream) => Some(collect(stream).await), None => None }";

impl Output {
    /// A stream alone, which is there whatever the digest.
    pub fn is_stream(&self) -> bool {
        self.stream == Some(ALONE)
    }
}

/// A stream alone.
const fn stream(ty: &'static str, body: &'static str, needs: Needs) -> Output {
    Output { show: "$.collect::<Vec<_>>()", stream: Some(ALONE), ..output(ty, body, needs) }
}

/// A stream in a `Result` or an `Option`.
const fn stream_in(original: &'static str, ty: &'static str, body: &'static str, needs: Needs) -> Output {
    Output { show: "$.map(|iter| iter.collect::<Vec<_>>())", stream: Some(original), ..output(ty, body, needs) }
}

pub static OUTPUTS: &[Output] = &[
    output("u64", "h", Needs::Nothing),
    output("", "note(h)", Needs::Nothing),
    output("()", "note(h)", Needs::Nothing),
    output("Result<u64, String>", "if h % 2 == 0 { Ok(h) } else { Err(h.to_string()) }", Needs::Nothing),
    output("io::Result<Option<(u64, String)>>", "Ok(Some((h, h.to_string())))", Needs::Nothing),
    output("[u64; LEN]", "[h, h + 1]", Needs::Nothing),
    output("Box<dyn Debug + Send>", "Box::new(h) as Box<dyn Debug + Send>", Needs::Nothing),
    Output {
        show: "$.collect::<Vec<_>>()",
        ..output("impl Iterator<Item = u64>", "vec![h].into_iter()", Needs::Opaque)
    },
    output("impl Debug + Send", "h", Needs::Opaque),
    output("&Self", "{ note(h); &*self }", Needs::Lender),
    output("io::Result<(&Self, u64)>", "Ok((&*self, h))", Needs::Lender),
    output("&'a str", "{ note(h); named }", Needs::Named),
    output("Option<(View<'a>, u64)>", "Some((View(named), h))", Needs::Named),
    output("Self", "Node::new(h)", Needs::Node),
    output("Vec<Self>", "vec![Node::new(h)]", Needs::Node),
    output("Box<Self>", "Box::new(Node::new(h))", Needs::Node),
    output("Result<Arc<Self>, ()>", "if h % 3 == 0 { Err(()) } else { Ok(Arc::new(Node::new(h))) }", Needs::Node),
    output("(u64, Option<Self>)", "(h, if h % 3 == 0 { None } else { Some(Node::new(h)) })", Needs::Node),
    output(
        "Result<Vec<Self>, (String, Box<Self>)>",
        "if h % 2 == 0 { Ok(vec![Node::new(h), Node::new(1)]) } else { Err((h.to_string(), Box::new(Node::new(h)))) }",
        Needs::Node,
    ),
];

/// Streams.
pub static STREAMS: &[Output] = &[
    stream("impl Stream<Item = u64>^~", "items(vec![h, h + 1, 5])", Needs::Opaque),
    stream_in(
        IN_RESULT,
        "Result<impl Stream<Item = (u64, String)>^~, String>",
        "if h % 3 == 0 { Err(h.to_string()) } else { Ok(items(vec![(h, h.to_string())])) }",
        Needs::Opaque,
    ),
    stream(
        "Pin<Box<dyn Stream<Item = u64>^>>",
        "Box::pin(items(vec![h, 2])) as Pin<Box<dyn Stream<Item = u64>^>>",
        Needs::Nothing,
    ),
    stream(
        "Box<dyn Stream<Item = u64> + Unpin^>",
        "Box::new(items(vec![h])) as Box<dyn Stream<Item = u64> + Unpin^>",
        Needs::Nothing,
    ),
    stream(
        "BoxStream<'static, io::Result<u64>>",
        "Box::pin(items(vec![Ok(h), Ok(7)])) as BoxStream<'static, io::Result<u64>>",
        Needs::Nothing,
    ),
    stream(
        "Pin<Box<dyn Stream<Item = &'a str>^ + 'a>>",
        "{ note(h); Box::pin(items(vec![named, &named[1..]])) as Pin<Box<dyn Stream<Item = &'a str>^ + 'a>> }",
        Needs::Named,
    ),
    stream(
        "Pin<Box<dyn Stream<Item = &Self>^ + '_>>",
        "{ note(h); Box::pin(items(vec![&*self])) as Pin<Box<dyn Stream<Item = &Self>^ + '_>> }",
        Needs::Lender,
    ),
    stream_in(
        IN_RESULT,
        "io::Result<Pin<Box<dyn Stream<Item = u64>^>>>",
        "if h % 3 == 0 { Err(io::ErrorKind::NotFound.into()) } \
         else { Ok(Box::pin(items(vec![h, h])) as Pin<Box<dyn Stream<Item = u64>^>>) }",
        Needs::Nothing,
    ),
    stream_in(
        IN_OPTION,
        "Option<BoxStream<'static, u64>>",
        "if h % 3 == 0 { None } else { Some(Box::pin(items(vec![h])) as BoxStream<'static, u64>) }",
        Needs::Nothing,
    ),
];
