//! Signals (signal(7)): queues, actions, sending, delivery and the frames on the user stack.
//!
//! A signal is sent with `Kernel::send_signal_{task,group,pgrp}` ([`send`]), waits in a [`SigQueue`] of the thread or the
//! process, and takes effect when the task is about to go back to guest code ([`deliver`]).

mod action;
pub(crate) mod deliver;
mod describe;
mod fpstate;
pub(crate) mod frame_i386;
mod queue;
pub(crate) mod send;

pub use action::{Action, AltStack, DefaultAction, Handler, SigHand, default_action, sa};
pub use linux_abi::siginfo::SigInfo;
pub use linux_abi::signal::{SigSet, Signal};
pub use queue::SigQueue;
