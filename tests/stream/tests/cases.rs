//! The cases, by what they are about. None of them knows which server it runs against, but for what only one of them has.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;

use stream_tests::world::{Setup, Target, World};

mod access;
mod ends;
mod frames;
mod guest;
mod publishing;
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
    /// Whether it mostly waits, and runs beside the others.
    pub apart: bool,
    /// Servers that have nothing to be tried.
    pub not_on: &'static [Target],
    /// The case.
    pub run: for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Writes down cases: `MODULE: SETUP { shared CASE, apart CASE, own CASE, own CASE not on [TARGET] }`.
macro_rules! cases {
    ($module:ident: $($setup:ident { $($kind:ident $case:ident $(not on [$($target:ident),*])?),* $(,)? })*) => {
        /// The cases of this module.
        pub const CASES: &[crate::cases::Case] = &[$($(crate::cases::Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            setup: stream_tests::world::Setup::$setup,
            own: cases!(@ own $kind),
            apart: cases!(@ apart $kind),
            not_on: &[$($(stream_tests::world::Target::$target),*)?],
            run: |world| Box::pin($case(world)),
        },)*)*];
    };
    (@ own own) => { true };
    (@ apart apart) => { true };
    (@ $question:ident $kind:ident) => { false };
}
use cases;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let servers = [frames::CASES, access::CASES, reads::CASES, urgency::CASES, tiers::CASES, ends::CASES];
    servers.into_iter().chain([guest::CASES, publishing::CASES]).flatten()
}

/// A program of this workspace, which a run of all tests has built before.
fn program(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("has a name");
    let program = test.ancestors().nth(2).expect("lies in target/PROFILE/deps").join(name);
    if !program.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "--quiet", "-p", package, "--bin", name]).status();
        assert!(built.is_ok_and(|status| status.success()), "{name} cannot be built");
    }
    program
}
