//! hearth: host.
