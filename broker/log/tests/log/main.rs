//! Tests of the log as its users see it, on a simulated disk.

mod basics;
mod common;
mod crash;
mod damage;
mod faults;
mod journal;
mod local;
mod local_crash;
mod model;
mod producers;
mod retention;
mod sealed;
mod seed;
