//! The server as a process of its own: killed, started by systemd, and called by those who mean it no good.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod hostile;
mod systemd;
