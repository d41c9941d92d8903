//! One random function: what it is made of, which of that goes together, and what can be taken away.

use crate::rng::Rng;
use crate::shapes::{Is, Needs, OUTPUTS, Output, PARAMETERS, RECEIVERS, Receiver, STREAMS, Shape};

#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    Free,
    /// Made by `macro_rules!`.
    Macro,
    /// `declare! { fn … = path; }`
    Declared,
    Method,
    /// A marked method in a marked `impl`.
    Block,
    Suffix,
    Prefix,
    /// In a module with a `suffix`.
    Module,
    /// With a `suffix` of its own.
    FreeSuffix,
    /// A method of `Generic<T>`.
    Generic,
    Trait,
    /// In a trait with a `suffix`, whose impl has it too.
    TraitSuffix,
    /// In a trait, with a body.
    Default,
    /// In a trait that `#[async_trait]` expands before us.
    AsyncTrait,
    /// And after us.
    InAsyncTrait,
    /// `declare! { impl Trait for Node { … } }`
    Extension,
    /// In an `impl` with a `type`: the twin is of another type.
    OtherType,
    /// In a trait with a `trait`: the twin is in that one, which `dyn` can be of.
    OtherTrait,
}

const PLACES: &[Place] = &[
    Place::Free,
    Place::Macro,
    Place::Declared,
    Place::Method,
    Place::Block,
    Place::Suffix,
    Place::Prefix,
    Place::Module,
    Place::FreeSuffix,
    Place::Generic,
    Place::Trait,
    Place::TraitSuffix,
    Place::Default,
    Place::AsyncTrait,
    Place::InAsyncTrait,
    Place::Extension,
    Place::OtherType,
    // Little of the grammar goes there.
    Place::OtherTrait,
    Place::OtherTrait,
    Place::OtherTrait,
];

#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Async,
    /// Not async: it returns a stream at once.
    Plain,
    ImplFuture,
    Boxed,
    /// `BoxFuture<'_, R>`
    BoxFuture,
    /// An alias whose result the mark names.
    Alias,
    /// What becomes a future when it is awaited, likewise.
    Builder,
}

const FORMS: &[Form] = &[
    Form::Async,
    Form::Async,
    Form::Async,
    Form::Async,
    Form::ImplFuture,
    Form::Boxed,
    Form::BoxFuture,
    Form::Alias,
    Form::Builder,
];

/// Names of parameters: plain ones, and such as careless expansions use themselves.
const STEMS: &[&str] = &[
    "x",
    "off",
    "s",
    "co",
    "ret",
    "self_",
    "args",
    "r#type",
    "r#match",
    "__self",
    "__cw_args",
    "__cw_0",
    "__cw_arg",
    "__cw_co",
    "_x",
    "entry",
    "timeout",
    "poll_co",
];

pub const EDITIONS: [&str; 3] = ["2018", "2021", "2024"];

#[derive(Clone)]
pub struct Function {
    pub seed: u64,
    pub place: Place,
    pub form: Form,
    pub receiver: Option<&'static Receiver>,
    /// Each with its name.
    pub parameters: Vec<(&'static Shape, String)>,
    pub output: &'static Output,
    pub name: usize,
    pub vis: &'static str,
    pub mixed: bool,
    pub timeout: bool,
    pub interrupt: bool,
    pub ctx: bool,
    pub is_unsafe: bool,
    /// Bounds stand in a where clause.
    pub where_clause: bool,
}

impl Function {
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        loop {
            let function = Self::any(seed, &mut rng);
            if function.is_valid() {
                return function;
            }
        }
    }

    /// Not always one that there can be.
    fn any(seed: u64, rng: &mut Rng) -> Self {
        let place = *rng.pick(PLACES);
        let mut parameters: Vec<(&Shape, String)> = Vec::new();
        for _ in 0..[0, 1, 1, 2, 2, 3, 4, 6, 9][rng.below(9)] {
            let stem = *rng.pick(STEMS);
            let taken = parameters.iter().any(|(_, name)| name == stem);
            let name = if taken { format!("x{}", parameters.len()) } else { stem.to_owned() };
            parameters.push((rng.pick(PARAMETERS), name));
        }
        let output = if rng.one_in(7) { rng.pick(STREAMS) } else { rng.pick(OUTPUTS) };
        let is_plain = output.stream.is_some() && rng.one_in(3);
        Function {
            seed,
            place,
            form: if is_plain { Form::Plain } else { *rng.pick(FORMS) },
            receiver: (place.has_self() && !rng.one_in(4)).then(|| rng.pick(RECEIVERS)),
            parameters,
            output,
            name: rng.below(6),
            vis: ["", "pub ", "pub(crate) "][rng.below(3)],
            mixed: rng.one_in(3),
            timeout: rng.one_in(4),
            ctx: rng.one_in(5),
            is_unsafe: rng.one_in(8),
            where_clause: rng.one_in(3),
            interrupt: rng.one_in(4),
        }
    }

    pub fn edition(&self) -> &'static str {
        EDITIONS[(self.seed % 3) as usize]
    }

    pub fn is_any(&self, is: Is) -> bool {
        self.receiver.is_some_and(|receiver| receiver.is.contains(&is))
            || self.parameters.iter().any(|(shape, _)| shape.is.contains(&is))
    }

    fn is_owned(&self) -> bool {
        self.receiver.is_none_or(|receiver| receiver.is.contains(&Is::Owned))
            && self.parameters.iter().all(|(shape, _)| shape.is.contains(&Is::Owned))
    }

    /// Whatever is borrowed is of the lifetime `'a`, and no type parameter might borrow.
    fn borrows_named(&self) -> bool {
        let is_either = |is: &[Is]| is.contains(&Is::Owned) || is.contains(&Is::Named);
        !self.is_owned()
            && !self.has_types()
            && self.receiver.is_none_or(|receiver| is_either(receiver.is))
            && self.parameters.iter().all(|(shape, _)| is_either(shape.is))
    }

    fn owns_unknown_self(&self) -> bool {
        (self.place.is_trait() || self.place == Place::Generic)
            && self.receiver.is_some_and(|receiver| receiver.is.contains(&Is::Owned))
    }

    /// The lifetime of a boxed type that holds the arguments.
    pub fn lifetime(&self) -> &'static str {
        if self.borrows_named() { "'a" } else { "'static" }
    }

    /// What an opaque or boxed type that holds the arguments says of its lifetime.
    pub fn bound(&self) -> &'static str {
        if self.borrows_named() { " + 'a" } else { "" }
    }

    fn captures_all(&self) -> bool {
        self.edition() == "2024" || self.place.is_trait()
    }

    /// The name of a parameter `&'a str`.
    pub fn named(&self) -> Option<&str> {
        let named = self.parameters.iter().find(|(shape, _)| shape.ty == "&'a str");
        named.map(|(_, name)| &**name)
    }

    fn has_types(&self) -> bool {
        let of_type = |shape: &Shape| shape.generic.is_some_and(|(name, ..)| name.starts_with('T'));
        self.parameters.iter().any(|(shape, _)| of_type(shape) || shape.ty.contains("impl "))
    }

    fn is_bounded(&self) -> bool {
        self.parameters.iter().any(|(shape, _)| shape.ty == "impl Debug + '_")
    }

    pub fn is_valid(&self) -> bool {
        let place = self.place;
        let in_trait = place.is_trait();
        let declared = matches!(place, Place::Declared | Place::Extension);
        let of_self = self.is_any(Is::OfSelf);
        let output = match self.output.needs {
            Needs::Nothing => true,
            // Before edition 2024 a fn's opaque result captures no lifetime that it does not name.
            // Nor does one know that a type of a lifetime's bound outlives what it is returned for.
            Needs::Opaque if self.is_bounded() => false,
            Needs::Opaque => !in_trait && !declared && (self.captures_all() || self.is_owned() || self.borrows_named()),
            Needs::Lender => self.receiver.is_some_and(|receiver| receiver.lends),
            Needs::Named => self.named().is_some(),
            Needs::Node => place.has_self() && !in_trait && place != Place::Generic,
        };
        // What a declaration returns is what it says, and its stream stays one.
        let stream = self.output.stream.is_none() || !declared;
        let form = match self.form {
            Form::Async => true,
            _ if self.is_any(Is::Elided) => false,
            Form::Plain => self.output.stream.is_some(),
            // What a declaration calls is a future.
            Form::Builder if declared => false,
            _ if self.output.needs == Needs::Opaque || place.is_async_trait() => false,
            _ if self.parameters.iter().any(|(shape, _)| shape.pattern.starts_with("ref")) => false,
            // A `Self` that the future owns need not live as long as `'a`, unless one knows the type.
            Form::ImplFuture if self.owns_unknown_self() => {
                !self.borrows_named() && (self.captures_all() || self.is_owned())
            }
            Form::ImplFuture => self.captures_all() || self.is_owned() || self.borrows_named(),
            Form::Boxed | Form::BoxFuture | Form::Alias | Form::Builder => {
                !in_trait && !self.has_types() && place != Place::Generic && (self.is_owned() || self.borrows_named())
            }
        };
        let elided = !declared || !self.is_any(Is::Elided);
        let ctx = !self.ctx || !self.is_any(Is::NotSend);
        // Two shapes that `#[async_trait]` itself does not accept.
        let refused = |shape: &Shape| shape.pattern.starts_with("#[cfg") || shape.ty.contains("+ '_");
        // And a name that it uses itself.
        let refuses = self.parameters.iter().any(|(shape, name)| refused(shape) || name == "__self");
        let form = form && !(place.is_async_trait() && refuses);
        // `Self` is another type in the twin, and is converted where it may be.
        let other_type = place != Place::OtherType
            || self
                .parameters
                .iter()
                .all(|(shape, _)| !shape.is.contains(&Is::OfSelf) || shape.is.contains(&Is::Converted))
                && !self.output.ty.contains("&Self")
                && self
                    .receiver
                    .is_none_or(|receiver| !["Rc", "Pin"].iter().any(|pointer| receiver.text.contains(pointer)));
        // What `dyn` can call.
        let is_opaque = |shape: &Shape| shape.ty.contains("impl ");
        let other_trait = place != Place::OtherTrait
            || !of_self
                && !self.output.ty.contains("Self")
                && self.receiver.is_some_and(|receiver| !receiver.by_value && !receiver.text.contains(": &"))
                && self.parameters.iter().all(|(shape, _)| shape.generic.is_none() && !is_opaque(shape));
        // A method that shows nowhere that it is one needs something around it.
        let method = place != Place::Method || self.receiver.is_some() || of_self || self.output.ty.contains("Self");
        let selfless = place.has_self() || !of_self && self.receiver.is_none();
        output
            && stream
            && form
            && other_type
            && other_trait
            && elided
            && ctx
            && method
            && selfless
            // There, `Self` may have no size.
            && !(in_trait && self.is_any(Is::HasSelf))
            && !(of_self && place == Place::Generic)
    }

    /// The smallest form of it that still fails.
    pub fn smallest<E>(self, mut fails: impl FnMut(&Function) -> Result<bool, E>) -> Result<Function, E> {
        let mut smallest = self;
        'smaller: loop {
            for candidate in smallest.smaller() {
                if fails(&candidate)? {
                    smallest = candidate;
                    continue 'smaller;
                }
            }
            return Ok(smallest);
        }
    }

    /// Smaller ones, of which one may fail as this did.
    fn smaller(&self) -> Vec<Function> {
        let mut smaller = Vec::new();
        let mut with = |change: &dyn Fn(&mut Function)| {
            let mut function = self.clone();
            change(&mut function);
            if function.is_valid() {
                smaller.push(function);
            }
        };
        for i in 0..self.parameters.len() {
            with(&|function| drop(function.parameters.remove(i)));
            // A parameter of type `Self` and its place keep each other.
            with(&|function| {
                drop(function.parameters.remove(i));
                (function.place, function.receiver, function.output) = (Place::Free, None, &OUTPUTS[0]);
                function.form = Form::Async;
            });
        }
        if !std::ptr::eq(self.output, &raw const OUTPUTS[0]) {
            with(&|function| function.output = &OUTPUTS[0]);
        }
        if self.receiver.is_some() {
            with(&|function| function.receiver = None);
        }
        if self.place != Place::Free {
            with(&|function| (function.place, function.receiver) = (Place::Free, None));
            // `Self` in the result may be all that keeps it in its place.
            with(&|function| {
                (function.place, function.receiver, function.output) = (Place::Free, None, &OUTPUTS[0]);
            });
        }
        if self.form != Form::Async {
            with(&|function| function.form = Form::Async);
        }
        if self.name != 0 {
            with(&|function| function.name = 0);
        }
        let flags: [fn(&mut Function) -> &mut bool; 6] = [
            |f| &mut f.mixed,
            |f| &mut f.timeout,
            |f| &mut f.interrupt,
            |f| &mut f.ctx,
            |f| &mut f.is_unsafe,
            |f| &mut f.where_clause,
        ];
        for flag in flags {
            if *flag(&mut self.clone()) {
                with(&|function| *flag(function) = false);
            }
        }
        smaller
    }
}

impl Place {
    pub fn is_trait(self) -> bool {
        matches!(self, Place::Trait | Place::TraitSuffix | Place::Default | Place::OtherTrait) || self.is_async_trait()
    }

    /// The twin's name comes from a `suffix` or `prefix`.
    pub fn has_affix(self) -> bool {
        matches!(self, Place::Suffix | Place::Prefix | Place::Module | Place::FreeSuffix | Place::TraitSuffix)
    }

    pub fn is_async_trait(self) -> bool {
        matches!(self, Place::AsyncTrait | Place::InAsyncTrait)
    }

    pub fn has_self(self) -> bool {
        !matches!(self, Place::Free | Place::Macro | Place::Declared | Place::Module | Place::FreeSuffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render;
    use std::convert::Infallible;

    #[test]
    fn a_seed_is_one_function() {
        for seed in 0..500 {
            let function = Function::random(seed);
            assert_eq!((function.seed, function.is_valid()), (seed, true));
            assert_eq!(render::module(&function), render::module(&Function::random(seed)));
        }
    }

    /// Whatever is not to blame goes: here a parameter of one type is, and a timeout.
    #[test]
    fn what_fails_is_made_small() {
        let to_blame = |function: &Function| {
            function.timeout && function.parameters.iter().any(|(shape, _)| shape.ty == "View<'_>")
        };
        let failing: Vec<Function> = (0..5000).map(Function::random).filter(to_blame).collect();
        assert!(failing.len() > 20);
        for function in failing {
            let seed = function.seed;
            let smallest = function.smallest(|function| Ok::<_, Infallible>(to_blame(function)));
            let Ok(smallest) = smallest;
            assert!(to_blame(&smallest) && smallest.is_valid());
            assert_eq!((smallest.seed, smallest.parameters.len()), (seed, 1));
            assert!(smallest.place == Place::Free && smallest.form == Form::Async && smallest.receiver.is_none());
            assert!(!smallest.ctx && !smallest.mixed && !smallest.is_unsafe && smallest.name == 0);
        }
    }
}
