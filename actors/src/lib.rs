//! hearth: actors.
