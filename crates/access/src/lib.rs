//! The doors: tokens, identities, and who may do what.
//!
//! A token comes in, [`Doors::identify`] says whose it is, and [`may`] says what that identity is allowed to do with a
//! generation. Signed artifact links and cursors, the check of `Origin` and `Host`, and hashing live here as well, so that every
//! use of a secret is in one crate, over one crypto provider.
//!
//! Pure: no I/O, no async, no clock. The time comes in as a [`protocol::Timestamp`]. Where a token is carried (header,
//! query, first message), what a refusal looks like on each dialect, and when an open socket is closed because its
//! token ran out belong to `server` and `gateway`.

pub mod cursor;
pub mod digest;
pub mod fuzz;
pub mod identity;
pub mod link;
pub mod origin;
pub mod rights;
pub mod secret;
pub mod token;
pub mod webhook;

pub use cursor::Cursors;
pub use identity::{Door, Identity, Role, Scope, UnknownRole};
pub use link::Links;
pub use rights::{Subject, Verb, may, may_see_tenant};
pub use secret::{EmptySecret, Secret};
pub use token::{Doors, TokenError};
