//! The wire contract in Rust: messages, clients and servers made from
//! `proto/headwater/**/*.proto`.
//!
//! Everything in `src/gen` is generated and committed, so that a build needs no protocol compiler.
//! After a change of a `.proto` file run `cargo xtask codegen`; a test fails if that was forgotten.
//! Fields of type `bytes` are [`bytes::Bytes`], so that a batch passes through without a copy.
//!
//! This crate holds no logic. What the messages mean stands in the `.proto` files; their
//! comments are the documentation below.

/// The public API: what clients of any language talk.
pub mod v1 {
    #![allow(
        clippy::all,
        missing_docs,
        unreachable_pub,
        rustdoc::all,
        reason = "generated code; its style is the generator's"
    )]
    include!("gen/headwater.v1.rs");
}

/// Between brokers, and from the operator to them.
pub mod internal {
    /// The first version of it.
    pub mod v1 {
        #![allow(
            clippy::all,
            missing_docs,
            unreachable_pub,
            rustdoc::all,
            reason = "generated code; its style is the generator's"
        )]
        include!("gen/headwater.internal.v1.rs");
    }
}

/// All of the public contract as an encoded `google.protobuf.FileDescriptorSet`, imports included: what
/// server reflection answers with.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");
