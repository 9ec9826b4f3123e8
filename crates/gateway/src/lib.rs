//! The ears: watchers, their cursors, and the transports they listen on.
