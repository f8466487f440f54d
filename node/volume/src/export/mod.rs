//! NBD exports.
