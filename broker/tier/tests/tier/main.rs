//! The tier against a store that does as it is told: what goes in comes out, and damage stays where it is.

mod bench;
mod damage;
mod hold;
mod owner;
mod read;
mod retain;
mod sweep;
mod topic_objects;
mod write;
