//! Tests of the log as its users see it, on a simulated disk.

mod basics;
mod common;
mod crash;
mod damage;
mod faults;
mod model;
mod producers;
mod retention;
