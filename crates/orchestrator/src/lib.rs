//! The hands: dispatch, leases, timers and worker sessions around the pure engine.
