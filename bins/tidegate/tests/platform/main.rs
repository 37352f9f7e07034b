//! The whole platform, end to end: the built program, real processes, real sockets, kill -9.
//!
//! Each test has ports and a data directory of its own, and leaves nothing running, also when
//! it fails. Waits have a generous deadline; nothing here asserts how long something takes.

mod crash;
mod foreign;
mod http;
mod lifecycle;
mod mistakes;
mod processes;
mod recorded;
mod sleep;
mod static_apps;
mod support;
