//! The doors: tokens, identities, and who may do what.
