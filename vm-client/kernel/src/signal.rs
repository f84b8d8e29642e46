//! Signals (signal(7)): queues, actions, sending, delivery and the frames on the user stack.

mod action;
mod queue;
mod send;

pub use action::{Action, AltStack, DefaultAction, Handler, SigHand, default_action, sa};
pub use linux_abi::siginfo::SigInfo;
pub use linux_abi::signal::{SigSet, Signal};
pub use queue::SigQueue;
