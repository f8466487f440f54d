//! The application service layer.
