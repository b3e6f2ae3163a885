//! Tests of the log as its users see it, on a simulated disk.

mod basics;
mod common;
mod damage;
mod model;
