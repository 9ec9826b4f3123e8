//! The house: HTTP surface, artifacts, configuration, metrics and the wiring of all parts.
