//! The cases, by what they are about. None of them knows which server it runs against, but for what only one of them has.

use std::pin::Pin;

use stream_tests::world::{Setup, Target, World};

mod access;
mod ends;
mod frames;
mod guest;
mod reads;
mod tiers;
mod urgency;

/// What runs against each server.
pub struct Case {
    /// `MODULE::CASE`.
    pub name: &'static str,
    /// How the server is set up.
    pub setup: Setup,
    /// Whether it damages the store or the server.
    pub own: bool,
    /// Servers that have nothing to be tried.
    pub not_on: &'static [Target],
    /// The case.
    pub run: for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Writes down cases: `MODULE: SETUP { shared CASE, own CASE, own CASE not on [TARGET] }`.
macro_rules! cases {
    ($module:ident: $($setup:ident { $($kind:ident $case:ident $(not on [$($target:ident),*])?),* $(,)? })*) => {
        /// The cases of this module.
        pub const CASES: &[crate::cases::Case] = &[$($(crate::cases::Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            setup: stream_tests::world::Setup::$setup,
            own: cases!(@ $kind),
            not_on: &[$($(stream_tests::world::Target::$target),*)?],
            run: |world| Box::pin($case(world)),
        },)*)*];
    };
    (@ own) => { true };
    (@ shared) => { false };
}
use cases;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let modules = [frames::CASES, access::CASES, reads::CASES, urgency::CASES, tiers::CASES, ends::CASES, guest::CASES];
    modules.into_iter().flatten()
}
