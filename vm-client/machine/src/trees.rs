//! Trees of files that the host gives: those a page hands in, and those on a web server.

mod data;
mod web;

pub use data::DataTree;
pub use web::WebTree;
