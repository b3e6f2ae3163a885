//! Persisted messages.
