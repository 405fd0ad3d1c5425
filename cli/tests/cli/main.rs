//! The program as its users run it: stdout, stderr and exit codes against a real daemon.

mod bulk;
mod cash;
mod changing;
mod living;
mod money;
mod pty;
mod reading;
mod signing;
mod support;
mod terminal;
mod watching;
